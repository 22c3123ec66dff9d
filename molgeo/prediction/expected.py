"""How many rows inputs will give, as far as that can be told at once: for the time that is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from molgeo.chem.files.formats import FORMATS, format_of


def expected_rows(inputs: Sequence[str]) -> int | None:
    """Rows of inputs, roughly; None if one of them does not tell, such as standard input.

    Args:
        inputs: SMILES, ``-`` or names of files.
    """
    known = [n for name in inputs if (n := _rows(name)) is not None]
    return sum(known) if len(known) == len(inputs) else None


def _rows(name: str) -> int | None:
    if name == "-":
        return None
    try:
        if not os.path.exists(name):
            return 1  # a SMILES
        format = format_of(Path(name))
        own = (count for one, count in _COUNTERS.items() if format is FORMATS[one])
        count = None if format is None else format.count or next(own, None)
        if count is None or name.lower().endswith(".gz") or not os.path.isfile(name):
            return None
        with open(name, "rb") as file:
            return count(file)
    except (OSError, ValueError):
        return None


def _lines(file: BinaryIO) -> int:
    return sum(1 for _ in file)


def _table(file: BinaryIO) -> int:
    return max(0, _lines(file) - 1)


def _records(file: BinaryIO) -> int:
    """Of an SDF: ends of records; one more if text follows the last."""
    n, rest = 0, False
    for line in file:
        is_end = line.startswith(b"$$$$")
        n, rest = n + is_end, not is_end and (rest or bool(line.strip()))
    return n + rest


def _frames(file: BinaryIO) -> int:
    """Of an xyz: each frame says how many lines it has."""
    n = 0
    while (line := file.readline()).strip():
        for _ in range(int(line) + 1):
            if not file.readline():  # a number of atoms may be any
                break
        n += 1
    return n


_COUNTERS: Final[dict[str, Callable[[BinaryIO], int]]] = {
    **dict.fromkeys(("smi", "txt"), _lines),
    **dict.fromkeys(("csv", "tsv"), _table),
    **dict.fromkeys(("xyz", "extxyz"), _frames),
    **dict.fromkeys(("sdf", "mol"), _records),
}
"""Molgeo's format of files → counts the rows of one."""
