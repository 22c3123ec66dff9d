"""The file of a checkpoint and the text in it: what is looked at before any of it is believed."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from pathlib import Path
from typing import Any, Final

import pydantic_core
import safetensors
import torch
from torch import Tensor

from molgeo.runtime.errors import InputError
from molgeo.runtime.plain_text import one_line

KEY: Final = "molgeo"
"""Of the header in the file's metadata."""

MOST_BYTES: Final = 2**31
MOST_HEADER_BYTES: Final = 2**21
MOST_TENSORS: Final = 2048
"""Bounds on honest files, whose headers are of some ten thousand bytes and tensors a hundred."""

SEAL: Final = "header_sha256"
"""Key of the checksum of all other keys of a header."""

MOST_CHARACTERS: Final = 2**20
"""Of the text of a header."""

_FOREIGN: Final = {
    b"PK\x03\x04": "a zip archive, as PyTorch saves states of training",
    b"\x80": "a pickle, which may run any code and is never opened",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"version https://git-lfs": "a pointer of Git LFS: `git lfs pull` fetches the file itself",
    b"<": "a page of HTML or XML, perhaps of a failed download",
}
"""First bytes → what they tell."""


class CheckpointError(InputError):
    """A file that cannot be used as a checkpoint; the message is one line and says why.

    Args:
        message: of any length and origin; `molgeo.runtime.plain_text` makes it fit for a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

    @classmethod
    def of(cls, path: Path, reason: object) -> CheckpointError:
        """An error that names the file, but never so long that the reason is lost."""
        return cls(f"{one_line(path, 100)}: {reason}")


def read(path: Path, weights: bool = True) -> tuple[str, dict[str, Tensor]]:
    """Read the text of a checkpoint's header, and its tensors by name if they are wanted.

    Raises:
        CheckpointError: it is no safetensors file of bounded size, or not one of molgeo's.
    """
    try:
        _check(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if KEY not in metadata:
                raise CheckpointError.of(path, "a safetensors file, but not a molgeo checkpoint")
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise CheckpointError.of(path, _too_many(len(names)))
            tensors = {name: file.get_tensor(name) for name in names} if weights else {}
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError.of(path, "cannot be read: permission denied") from error
    except Exception as error:  # of a library that was given bytes from a stranger
        raise CheckpointError.of(
            path,
            "not a whole safetensors file, perhaps truncated or damaged "
            f"({one_line(error, 100) or type(error).__name__})",
        ) from error
    if reason := fault(tensors):
        raise CheckpointError.of(path, reason)
    return metadata[KEY], tensors


def fault(tensors: dict[str, Any]) -> str:
    """Why no checkpoint can hold these tensors; "" if one can."""
    if len(tensors) > MOST_TENSORS:
        return _too_many(len(tensors))
    for name, tensor in tensors.items():
        is_tensor = isinstance(tensor, Tensor)
        if is_tensor and tensor.dtype in (torch.float32, torch.float64) and tensor.numel():
            continue
        what = f"{tensor.dtype} of shape {tuple(tensor.shape)}" if is_tensor else type(tensor)
        return f"tensor {one_line(name, 60)!r}: expected float32 or float64, got {what}"
    return ""


def _too_many(n: int) -> str:
    return f"expected at most {MOST_TENSORS:,} tensors, got {n:,}"


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def parse(content: str) -> Any:
    """The value of a JSON text from anyone: strict, and of bounded length and depth.

    Raises:
        ValueError: it is too long or too deep, no JSON, or has numbers that JSON does not have.
    """
    if len(content) > MOST_CHARACTERS:
        raise ValueError(
            f"header: expected at most {MOST_CHARACTERS:,} characters, got {len(content):,}"
        )
    return pydantic_core.from_json(content, allow_inf_nan=False)


def seal(header: dict[str, Any]) -> str:
    """A header as JSON text that ends in the SHA-256 of the rest.

    One text, because safetensors writes several metadata keys in random order, and the same model
    should be the same file.
    """
    checksum = hashlib.sha256(json.dumps(header, allow_nan=False).encode()).hexdigest()
    return json.dumps({**header, SEAL: checksum}, allow_nan=False)


def finite(value: Any) -> Any:
    """A header's value with null in place of the numbers that JSON lacks: NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check(path: Path) -> None:
    """Refuse what is no file, no safetensors file, or too large, by its first bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise CheckpointError.of(
            path, "its path is not UTF-8, which safetensors cannot open: rename it"
        ) from None
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise CheckpointError(
            f"model: '{one_line(path, 100)}' is a folder, expected a .safetensors file"
        )
    if not stat.S_ISREG(about.st_mode):  # a pipe would wait for a writer
        raise CheckpointError.of(path, "a pipe or a device, expected a file")
    if about.st_size > MOST_BYTES:
        raise CheckpointError.of(
            path, f"expected at most {MOST_BYTES:,} bytes, got {about.st_size:,}"
        )
    with path.open("rb") as file:
        start = file.read(32)
        file.seek(0)
        length = int.from_bytes(file.read(8), "little")
    # A safetensors file goes on with JSON.
    if start[8:9] != b"{":
        foreign = (what for first, what in _FOREIGN.items() if start.startswith(first))
        what = next(foreign, "perhaps truncated or damaged" if start else "it is empty")
        raise CheckpointError.of(path, f"not a whole safetensors file, {what}")
    if length > MOST_HEADER_BYTES and length + 8 <= about.st_size:
        raise CheckpointError.of(
            path, f"expected a header of at most {MOST_HEADER_BYTES:,} bytes, got {length:,}"
        )
