"""How many rows inputs will give, as far as that can be told at once: for the time that is left."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

_PIECE: Final = 1 << 20


def expected_rows(inputs: Sequence[str]) -> int | None:
    """Rows of inputs, roughly; None if one of them does not tell, such as standard input.

    Args:
        inputs: SMILES, ``-`` or names of files.
    """
    counts = [_rows(name) for name in inputs]
    known = [n for n in counts if n is not None]
    return sum(known) if len(known) == len(counts) else None


def _rows(name: str) -> int | None:
    path = Path(name)
    try:
        if name == "-" or not os.path.exists(name):
            return None if name == "-" else 1
        count = _COUNTERS.get(path.suffix.lower())
        if count is None or not path.is_file():
            return None
        with path.open("rb") as file:
            return count(file)
    except (OSError, ValueError):
        return None


def _lines(file: BinaryIO) -> int:
    n, last = 0, b"\n"
    while piece := file.read(_PIECE):
        n += piece.count(b"\n")
        last = piece[-1:]
    return n + (last != b"\n")


def _table(file: BinaryIO) -> int:
    return max(0, _lines(file) - 1)


def _records(file: BinaryIO) -> int:
    """Of an SDF: ends of records; one more if text follows the last."""
    n, rest = 0, b""
    for line in file:
        if line.startswith(b"$$$$"):
            n, rest = n + 1, b""
        elif not rest:
            rest = line.strip()
    return n + bool(rest)


def _frames(file: BinaryIO) -> int:
    """Of an xyz: each says how many lines it has."""
    n = 0
    while (line := file.readline()).strip():
        for _ in range(int(line) + 1):
            if not file.readline():  # a number of atoms may be any
                break
        n += 1
    return n


_COUNTERS: Final[dict[str, Callable[[BinaryIO], int]]] = {
    ".smi": _lines,
    ".smiles": _lines,
    ".ism": _lines,
    ".can": _lines,
    ".inchi": _lines,
    ".txt": _lines,
    ".csv": _table,
    ".tsv": _table,
    ".tab": _table,
    ".xyz": _frames,
    ".extxyz": _frames,
    ".sdf": _records,
    ".sd": _records,
    ".mol": lambda _: 1,
}
