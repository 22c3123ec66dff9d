"""The states of a run in files that are small enough to be carried from machine to machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from molgeo.runtime.whole_file import replacing

PART_BYTES: Final = 13 * 2**20
"""Of a state's file; larger ones are cut."""

EXPORTED: Final = ("state_dict", "callbacks", "epoch", "global_step", "pytorch-lightning_version")
"""What an export needs of the best state, from which no run goes on."""


def pack(folder: Path) -> None:
    """Leave the averaged weights of ``best.ckpt``, and cut states that are too large.

    A whole file is deleted once all its parts are written, so a kill leaves one or the other.
    """
    best = folder / "best.ckpt"
    if best.exists():
        content = torch.load(best, map_location="cpu", weights_only=True)
        with replacing(best) as part:
            torch.save({name: content[name] for name in EXPORTED if name in content}, part)
    for path in (best, folder / "last.ckpt"):
        if not path.exists() or path.stat().st_size <= PART_BYTES:
            continue
        content = path.read_bytes()
        starts = range(0, len(content), PART_BYTES)
        for number, start in enumerate(starts, 1):
            piece = path.with_name(f"{path.name}.{number:02d}-of-{len(starts):02d}")
            piece.write_bytes(content[start : start + PART_BYTES])
        path.unlink()


def unpack(folder: Path) -> None:
    """Put together what `pack` has cut. Parts beside a whole file are older than it.

    Raises:
        ValueError: a part is missing.
    """
    for path in (folder / "best.ckpt", folder / "last.ckpt"):
        parts = sorted(folder.glob(f"{path.name}.[0-9][0-9]-of-[0-9][0-9]"))
        if parts and not path.exists():
            total = int(parts[0].name[-2:])
            if len(parts) != total:
                raise ValueError(
                    f"{path}: expected {total} parts, got {len(parts)}; carry them all"
                )
            with replacing(path) as whole:
                whole.write_bytes(b"".join(part.read_bytes() for part in parts))
        for part in parts:
            part.unlink()
