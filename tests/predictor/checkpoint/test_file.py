"""Files that are no checkpoints, refused by what they are."""

import gzip
import os
import stat
from pathlib import Path

import pytest
import torch
from checkpoint_files import refused

from molgeo.predictor.checkpoint import CheckpointError, file, load, read_header


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "it is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"<!DOCTYPE html><title>404</title>", "failed download"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"CCO ethanol\n" * 10, "perhaps truncated or damaged"),
        (bytes(64), "perhaps truncated or damaged"),
        (b"\xff" * 64, "perhaps truncated or damaged"),
    ],
)
def test_other_files(tmp_path, content, match):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    refused(path, f"not a whole safetensors file, .*{match}")


def test_what_pytorch_and_gzip_write(path, tmp_path):
    state = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}}, state)
    refused(state, "a zip archive, as PyTorch saves")
    packed = tmp_path / "small.safetensors.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    refused(packed, "unpack it first")


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "pipe.safetensors"
    os.mkfifo(path)
    refused(path, "a pipe or a device")
    refused(Path("/dev/null"), "a pipe or a device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_closed_file(path):
    path.chmod(stat.S_IWUSR)
    refused(path, "permission denied")


def test_permission_denied(path, monkeypatch):
    def fail(*_, **__):
        raise PermissionError("permission denied")

    monkeypatch.setattr(file.safetensors, "safe_open", fail)
    refused(path, "cannot be read: permission denied")


@pytest.mark.parametrize("claimed", [2**21 + 1, 2**30])
def test_a_header_without_bound(tmp_path, claimed):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as sparse:
        sparse.write(claimed.to_bytes(8, "little") + b"{")
        sparse.truncate(claimed + 100)
    refused(path, "expected a header of at most 2,097,152 bytes")


def test_a_file_without_bound(tmp_path):
    path = tmp_path / "large.safetensors"
    with path.open("wb") as sparse:
        sparse.write((100).to_bytes(8, "little") + b"{")
        sparse.truncate(2**40)
    refused(path, "expected at most 2,147,483,648 bytes")


@pytest.mark.parametrize("claimed", [0, 1, 2, 10**6, 2**63, 2**64 - 1])
def test_a_header_of_another_length(path, claimed):
    path.write_bytes(claimed.to_bytes(8, "little") + path.read_bytes()[8:])
    refused(path, "not a whole safetensors file")


@pytest.mark.parametrize(
    "name", ["Å 水.safetensors", "[bold].safetensors", "a\x1b[31m\n.safetensors"]
)
def test_any_name_that_a_file_can_have(path, tmp_path, name):
    other = tmp_path / name
    path.rename(other)
    assert load(other).name == other.stem
    assert read_header(other).data == "QM9"


def test_a_name_that_is_not_utf_8(path, tmp_path):
    other = path.rename(tmp_path / "\udcff.safetensors")
    with pytest.raises(CheckpointError, match=r"\\udcff.*: its path is not UTF-8.*rename"):
        load(other)
