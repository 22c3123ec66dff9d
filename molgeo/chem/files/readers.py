"""Any input as a stream of rows: SMILES, standard input, files and Python objects."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rdkit import Chem

from molgeo.chem.electrons import SPIN_KEYS, spin_reason, whole_charge
from molgeo.chem.files.ase_files import from_ase
from molgeo.chem.files.formats import FORMATS, SUFFIXES, format_of
from molgeo.chem.files.reading import DEFAULT, Reading
from molgeo.chem.files.sdf import from_rdkit
from molgeo.chem.files.sources import STDIN, check_sources, locate, names_no_file
from molgeo.chem.files.structure_rows import stripped, structure_row
from molgeo.chem.files.tables import read_frame
from molgeo.chem.files.text import STDIN_NAME, stdin_lines
from molgeo.chem.molecule import (
    BadRow,
    InputError,
    Molecule,
    Row,
    SmilesRow,
    from_arrays,
)
from molgeo.chem.parsing import smiles_fault, without_surrogates

__all__ = ["STDIN", "SUFFIXES", "check_sources", "is_single", "locate", "read", "read_all"]


def read(source: Any, reading: Reading = DEFAULT) -> Iterator[Row]:
    """Rows of one input, one at a time, in constant memory.

    Args:
        source: a SMILES or InChI, ``-`` for lines of them from standard input, the name of a file,
            a `pathlib.Path`, a DataFrame with a column of them, `ase.Atoms`, PyG ``Data`` or
            ``Batch`` (``z``, ``pos`` in Å), an RDKit ``Mol``, a pair ``(z, pos)``, or a `Molecule`.
            None of them is changed.
        reading: what the user says about it.

    Yields:
        Molecules, SMILES that need coordinates, and bad rows, in the order of the input.

    Raises:
        InputError: the whole input cannot be read, or is empty.
    """
    for row in _rows(source, reading):
        finished = _finished(row, reading)
        if isinstance(finished, Molecule) and reading.each_conformer:
            yield from finished.conformers()
        else:
            yield finished


def _rows(source: Any, reading: Reading) -> Iterator[Row]:
    if _is_frame(source):
        yield from _whole(read_frame(source, "DataFrame", reading), "the DataFrame")
    elif not isinstance(source, str | Path):
        yield from _from_object(source)
    elif source == STDIN:
        yield from _whole(_from_stdin(reading), "standard input")
    else:
        path = locate(source, reading)
        format = None if path is None else format_of(path, reading)
        if path is None or format is None:
            yield _argument(str(source), reading)
        else:
            yield from _whole(format.read(path, reading), str(path))


def _argument(text: str, reading: Reading) -> Row:
    """A word that is no file."""
    if os.path.isdir(text) and not any(map(str.isalnum, text)):  # . and / are no SMILES
        return BadRow(text, "", text, f"{text[:80]} is a folder, not a file or a SMILES")
    if names_no_file(text):
        message = f"no such file, and not a valid SMILES: {text[:80]}"
        return BadRow(text, "", text, message)
    return structure_row(text, "", text, reading)


def _from_stdin(reading: Reading) -> Iterator[Row]:
    name = reading.input_format or "smi"
    lines = FORMATS[name].lines
    if lines is None:
        raise InputError(f"standard input: {name} cannot be read from there: give a file")
    yield from lines(stdin_lines(), STDIN_NAME, reading)


def _finished(row: Row, reading: Reading) -> Row:
    """A row of any reader as it goes on: of a SMILES that may be parsed, as text to be written."""
    if isinstance(row, SmilesRow):
        fault = smiles_fault(row.smiles, reading.max_smiles_length)
        if fault is not None:
            row = BadRow(row.input, row.name, row.smiles, fault, extra=row.extra)
        elif reading.strip_salts:
            row = stripped(row)
    texts = {key: getattr(row, key, "") or "" for key in ("input", "name", "smiles", "message")}
    changed: dict[str, Any] = {
        key: clean for key, text in texts.items() if (clean := without_surrogates(text)) is not text
    }
    if not all(_is_clean(part) for pair in row.extra.items() for part in pair):
        changed["extra"] = {_clean(key): _clean(value) for key, value in row.extra.items()}
    return replace(row, **changed) if changed else row


def _is_clean(part: Any) -> bool:
    return not isinstance(part, str) or part.isascii()


def _clean(part: Any) -> Any:
    return without_surrogates(part) if isinstance(part, str) else part


def _is_frame(source: Any) -> bool:
    """Whether an object is a pandas DataFrame, without importing pandas."""
    return type(source).__name__ == "DataFrame" and hasattr(source, "itertuples")


def read_all(sources: Any, reading: Reading = DEFAULT) -> Iterator[Row]:
    """Rows of one input or of any iterable of inputs, which is consumed as rows are needed."""
    if is_single(sources):
        yield from read(sources, reading)
        return
    for source in sources:
        yield from read(source, reading)


def is_single(source: Any) -> bool:
    """Whether an object is one input, not an iterable of inputs."""
    if _is_frame(source) or isinstance(source, str | Path | Chem.Mol | bytes | Mapping):
        return True
    if hasattr(source, "pos") or _is_pair(source):
        return True
    return hasattr(source, "numbers") or not isinstance(source, Iterable)


def _whole(rows: Iterator[Row], origin: str) -> Iterator[Row]:
    """Rows of a stream that must have at least one; where it breaks off, a bad row says so."""
    n = 0
    try:
        for row in rows:
            n += 1
            yield row
    except InputError:
        raise
    except Exception as error:  # a broken file, or whatever a library meets in it
        known = isinstance(error, OSError | EOFError | zlib.error)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        if not n:
            raise InputError(f"{origin}: cannot be read: {reason}") from error
        yield BadRow(origin, message=f"reading stopped after {n} rows: {reason}")
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
        table = ", a table as a pandas.DataFrame" if isinstance(source, Mapping) else ""
        message = (
            f"cannot read a {kind}: expected a SMILES, the name of a file, ase.Atoms, PyG Data "
            f"with z and pos, an RDKit Mol or a pair (z, pos){table}"
        )
        yield BadRow(repr(source)[:80], message=message)


def _from_data(data: Any, input: str) -> Molecule | BadRow:
    """PyG's ``Data``; ``smiles``, ``name``, charge and spin are taken along where they are."""
    if data.z is None or data.pos is None:
        missing = "z" if data.z is None else "pos"
        return BadRow(
            input, message=f"{input} has no {missing}: expected z (atoms,) and pos (atoms, 3)"
        )
    smiles, name = (getattr(data, key, None) for key in ("smiles", "name"))
    smiles, name = smiles if isinstance(smiles, str) else None, "" if name is None else str(name)
    said = {key: getattr(data, key, None) for key in ("charge", *SPIN_KEYS)}
    try:
        charge = 0 if said["charge"] is None else whole_charge(said.pop("charge"))
    except ValueError as error:
        return BadRow(input, name, smiles, str(error))
    molecule = from_arrays(data.z, data.pos, charge=charge, smiles=smiles, name=name, input=input)
    spins = {key: value for key, value in said.items() if key in SPIN_KEYS and value is not None}
    reasons = [reason for key, value in spins.items() if (reason := spin_reason(key, value))]
    if not reasons or isinstance(molecule, BadRow):
        return molecule
    return replace(molecule, open_shell=reasons[0])
