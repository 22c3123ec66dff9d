"""Prepared data on disk: flat tensors with a JSON header, in one safetensors file."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from molgeo.runtime.whole_file import replacing


def write_tensors(tensors: Mapping[str, Tensor], header: Mapping[str, Any], path: Path) -> None:
    """Write a file, all or nothing.

    Args:
        tensors: contiguous, by name.
        header: plain JSON values, found again as the metadata ``molgeo``.
        path: of the file.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    content = safetensors.torch.save(dict(tensors), metadata={"molgeo": json.dumps(header)})
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(
            errno.ENOSPC,
            f"disk full: {len(content) / 1e6:.0f} MB are needed; choose a folder with --data-dir",
            str(path.parent),
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `write_tensors` wrote: tensors by name, and the header."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["molgeo"])
        return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
