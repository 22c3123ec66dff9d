"""Any input as a stream of rows: SMILES, standard input, files and Python objects."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from rdkit import Chem

from molgeo.chem.geometry_files import (
    from_ase,
    from_rdkit,
    read_db,
    read_sdf,
    read_traj,
    read_xyz,
)
from molgeo.chem.molecule import BadRow, InputError, Molecule, Row, SmilesRow, from_arrays
from molgeo.chem.smiles_files import read_csv, read_smi, read_stdin

_READERS: Final[dict[str, Callable[[Path], Iterator[Row]]]] = {
    ".smi": read_smi,
    ".csv": read_csv,
    ".xyz": read_xyz,
    ".extxyz": read_xyz,
    ".sdf": read_sdf,
    ".mol": read_sdf,
    ".db": read_db,
    ".traj": read_traj,
}
_GZIPPED: Final = {f"{suffix}.gz" for suffix in (".smi", ".csv", ".xyz", ".extxyz", ".sdf", ".mol")}

SUFFIXES: Final = (*_READERS, *sorted(_GZIPPED))
"""Endings of the files that can be read."""

STDIN: Final = "-"


def read(source: Any) -> Iterator[Row]:
    """Rows of one input, one at a time, in constant memory.

    Args:
        source: a SMILES, ``-`` for SMILES lines from standard input, the name of a file, a
            `pathlib.Path`, `ase.Atoms`, PyG ``Data`` or ``Batch`` (``z``, ``pos`` in Å), an RDKit
            ``Mol``, a pair ``(z, pos)``, or a `Molecule`. None of them is changed.

    Yields:
        Molecules, SMILES that need coordinates, and bad rows, in the order of the input.

    Raises:
        InputError: the whole input cannot be read, or is empty.
    """
    if not isinstance(source, str | Path):
        yield from _from_object(source)
    elif source == STDIN:
        yield from _whole(read_stdin(), "standard input")
    else:
        path = locate(source)
        if path is None:
            yield SmilesRow(str(source).strip(), input=str(source))
        else:
            yield from _whole(_READERS[_suffix(path).removesuffix(".gz")](path), str(path))


def read_all(sources: Any) -> Iterator[Row]:
    """Rows of one input or of any iterable of inputs, which is consumed as rows are needed."""
    if is_single(sources):
        yield from read(sources)
        return
    for source in sources:
        yield from read(source)


def is_single(source: Any) -> bool:
    """Whether an object is one input, not an iterable of inputs."""
    if isinstance(source, str | Path | Chem.Mol) or hasattr(source, "pos") or _is_pair(source):
        return True
    return hasattr(source, "numbers") or not isinstance(source, Iterable)


def check_sources(sources: Iterable[Any]) -> None:
    """Find inputs that cannot be read before any work starts.

    Args:
        sources: as in `read`; only names of files are looked at.

    Raises:
        InputError: the first that cannot be read.
    """
    for source in sources:
        if isinstance(source, str | Path) and source != STDIN:
            path = locate(source)
            if path is not None and _is_blank(path):
                raise InputError(f"{path} is empty: it has no molecules")


def locate(source: str | Path) -> Path | None:
    """The file that an input names, or None where it is a SMILES.

    Args:
        source: what a user gave; a name that exists on disk is a file.

    Returns:
        A path to a readable file of a known kind, or None.

    Raises:
        InputError: a file that is not there, is not readable or has an unknown ending.
    """
    text = os.fspath(source)
    path = Path(text)
    if os.path.exists(text) and not os.path.isdir(text):
        if _suffix(path) not in SUFFIXES:
            raise InputError(
                f"{path} is a file with an unknown ending: expected one of {', '.join(SUFFIXES)} "
                "(a SMILES of that name can be given on standard input)"
            )
        if not os.access(text, os.R_OK):
            raise InputError(f"{path}: no permission to read it")
        return path
    if isinstance(source, Path) or _suffix(path) in SUFFIXES:
        what = "is a folder" if os.path.isdir(text) else "there is no such file"
        raise InputError(f"{path}: {what}; give one of {', '.join(SUFFIXES)}, or a SMILES")
    return None


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def _is_blank(path: Path) -> bool:
    """Whether a regular file has no text; from a pipe, what is looked at would be lost."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return len(head) < 4096 and not head.strip()


def _whole(rows: Iterator[Row], origin: str) -> Iterator[Row]:
    """Rows of a stream that must have at least one; where it breaks off, a bad row says so."""
    n = 0
    try:
        for row in rows:
            n += 1
            yield row
    except (OSError, EOFError, zlib.error) as error:
        if not n:
            raise InputError(f"{origin}: cannot be read: {error}") from error
        yield BadRow(origin, message=f"reading stopped after {n} rows: {error}")
    if not n:
        raise InputError(f"{origin} is empty: it has no molecules")


def _is_pair(source: Any) -> bool:
    """``(z, pos)``: two arrays or lists, where other tuples hold inputs."""
    if not (isinstance(source, tuple) and len(source) == 2):
        return False
    return all(
        hasattr(part, "__len__")
        and not isinstance(part, str | Path | tuple)
        and not hasattr(part, "numbers")
        and not hasattr(part, "pos")
        for part in source
    )


def _from_object(source: Any) -> Iterator[Row]:
    """Rows of a Python object; an unknown kind is a bad row."""
    kind = type(source).__name__
    if isinstance(source, Molecule | SmilesRow | BadRow):
        yield source
    elif isinstance(source, Chem.Mol):
        yield from_rdkit(source, kind)
    elif _is_pair(source):
        yield from_arrays(*source, input="(z, pos)")
    elif hasattr(source, "to_data_list"):  # a PyG Batch
        for data in source.to_data_list():
            yield from _from_object(data)
    elif hasattr(source, "numbers") and hasattr(source, "positions"):
        yield from_ase(source, kind)
    elif hasattr(source, "z") and hasattr(source, "pos"):
        yield _from_data(source, kind)
    else:
        message = (
            f"cannot read a {kind}: expected a SMILES, the name of a file, ase.Atoms, PyG Data "
            "with z and pos, an RDKit Mol or a pair (z, pos)"
        )
        yield BadRow(repr(source)[:80], message=message)


def _from_data(data: Any, input: str) -> Molecule | BadRow:
    """PyG's ``Data``; ``smiles``, ``name`` and ``charge`` are taken along where they are."""
    if data.z is None or data.pos is None:
        missing = "z" if data.z is None else "pos"
        return BadRow(
            input, message=f"{input} has no {missing}: expected z (atoms,) and pos (atoms, 3)"
        )
    smiles, name, charge = (getattr(data, key, None) for key in ("smiles", "name", "charge"))
    return from_arrays(
        data.z,
        data.pos,
        charge=0 if charge is None else round(float(charge)),
        smiles=smiles if isinstance(smiles, str) else None,
        name="" if name is None else str(name),
        input=input,
    )
