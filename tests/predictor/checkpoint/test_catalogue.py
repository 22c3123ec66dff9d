"""What a name of a model stands for, and that what is shipped is what was shipped."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from checkpoint_files import refused

from molgeo.predictor import checkpoint
from molgeo.predictor.checkpoint import CheckpointError, catalogue, find, load, shipped

CHECKPOINTS = Path(checkpoint.__file__).parents[3] / "checkpoints"


@pytest.fixture
def wheel(path, tmp_path, monkeypatch):
    """An installation that ships one model, ``mine-qm9``; its file."""
    package = tmp_path / "molgeo"
    file = package / "_checkpoints" / "mine-qm9.safetensors"
    file.parent.mkdir(parents=True)
    shutil.copy(path, file)
    (file.parent / "mine-qm9.md").write_text("A card is not a model.")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (package / "checkpoints.sha256").write_text(f"{digest}  {file.name}\n")
    monkeypatch.setattr(catalogue.resources, "files", lambda name: package)
    catalogue.digests.cache_clear()
    yield file
    catalogue.digests.cache_clear()


def test_shipped_models_are_found_by_name(wheel):
    assert shipped()["mine-qm9"] == wheel
    assert find("mine-qm9") == wheel
    assert "mine-qm9.md" not in shipped()
    assert load("mine-qm9").name == "mine-qm9"
    with pytest.raises(CheckpointError, match=r"mine-qm8.*mine-qm9.*did you mean 'mine-qm9'"):
        find("mine-qm8")


def test_the_digests_are_those_of_the_folder():
    found = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in CHECKPOINTS.glob("*.safetensors")
    }
    assert catalogue.digests() == found, "run `make checksums`"
    assert {Path(name).stem for name in found} <= set(shipped())


def test_a_shipped_file_that_was_altered_is_refused(wheel):
    wheel.write_bytes(wheel.read_bytes().replace(b"QM9", b"QM8"))
    with pytest.raises(CheckpointError, match="not the file that was shipped: its SHA-256 differs"):
        load("mine-qm9")


def test_a_whole_checkpoint_in_place_of_a_shipped_one_is_refused(wheel, path):
    other = checkpoint.load(path)
    checkpoint.save_checkpoint(other, wheel, {"data": "other"})
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load("mine-qm9")
    assert load(wheel).header.data == "other", "by its path it is any checkpoint"


def test_a_file_beside_the_shipped_ones_is_refused_by_name(wheel):
    shutil.copy(wheel, wheel.with_name("new-qm9.safetensors"))
    with pytest.raises(CheckpointError, match="make checksums"):
        load("new-qm9")
    assert load(wheel.with_name("new-qm9.safetensors")).name == "new-qm9"


@pytest.mark.parametrize("name", ["mine-qm9", "mine-qm9.safetensors"])
def test_a_shipped_name_wins_over_a_file_of_the_working_folder_and_says_so(
    wheel, tmp_path, monkeypatch, name
):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("notes")
    assert find(f"./{name}") == Path(name)
    with pytest.warns(UserWarning, match=f"'mine-qm9' is the shipped model.*'./{name}'"):
        assert find("mine-qm9") == wheel


def test_a_folder_of_a_shipped_name_is_none(wheel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine-qm9").mkdir()
    refused("./mine-qm9", "is a folder")
    assert find("mine-qm9") == wheel


def test_any_other_name_may_be_a_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small").write_bytes(path.read_bytes())
    assert find("small") == Path("small")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("", "expected a name or a path, got ''"),
        ("no\nfile", "'no file' is neither a file nor a shipped model"),
        ("\x1b[31m", r"'\\x1b\[31m' is neither"),
        ("a\0b", "neither"),
        ("\udcff\ud800", "neither"),
        ("x" * 300, "x…x+'.*(neither|too long)"),
        ("x/" * 3000, "(neither|too long)"),
    ],
)
def test_names_of_nothing(name, match):
    for function in (find, load):
        with pytest.raises(CheckpointError, match=match) as caught:
            function(name)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) <= 300


def test_a_link_to_itself(tmp_path):
    loop = tmp_path / "loop.safetensors"
    os.symlink(loop, loop)
    refused(loop, "neither a file nor a shipped model")


def test_everything_shipped_passes_its_self_test():
    for name in shipped():
        assert load(name).properties
