"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from molgeo.runtime.errors import InputError


@contextmanager
def replacing(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Write a file beside its place, and put it there once it is whole.

    What was there before stays if anything is raised, or if the process is killed.

    Args:
        path: of the file.
        part: where it is written, in the same folder; None for a name of this process's own. A name
            that the next run takes too leaves nothing behind after a kill, but is for one process.

    Yields:
        The path to write to, in the same folder.
    """
    part = part or path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def is_same_file(path: str | Path, other: str | Path) -> bool:
    """Whether two names are of one file that is there; a name may be of none, such as a SMILES."""
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)


def new_file(name: str, endings: tuple[str, ...], force: bool, option: str = "output") -> Path:
    """The path of an output, refused before any work is done for it.

    Args:
        name: of the file.
        endings: one of which it must have, such as ``.extxyz``.
        force: a file that is there will be replaced.
        option: that names it, for messages.

    Raises:
        InputError: another ending, or a folder that is not there.
        FileExistsError: the file is there.
    """
    path = Path(name)
    if path.suffix.lower() not in endings:
        raise InputError(f"{option}: expected a name that ends in {', '.join(endings)}, got {path}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no such folder")
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists: --force replaces it, or give another name")
    return path
