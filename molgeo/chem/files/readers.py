"""Any input as rows: SMILES, standard input, files and Python objects.

`read` is the one reader of molgeo: prediction, simulation and training take their molecules from
it. Each row of an input becomes one of three values, in the order of the input:

* `Molecule`: atoms with coordinates,
* `SmilesRow`: a SMILES that still needs coordinates (`molgeo.chem.building.build` makes them),
* `BadRow`: what cannot be read, with the reason; it never stops the others.

All three have ``name``, ``input`` (``file:line`` or ``file:record``, from 1) and ``extra``: what
else the input says, as a mapping from name to value. With ``ReadOptions(keep_columns=True)`` that
is everything, such as the targets of a training set:

* tables (csv, tsv, parquet, DataFrame): the other columns by their titles. Cells of text files are
  text as it stands there, "" if empty; cells of a DataFrame keep their types,
* SDF: the data fields, as text,
* PyG's ``Data``: its single numbers and texts; of a row of several, such as ``y``, each by its
  place: ``y_0``,
* extxyz, ASE's databases and trajectories, `ase.Atoms`: single values of ``info``, of key-value
  pairs and of a calculator's results (``energy``); no arrays.

    for row in read("data.csv", ReadOptions(keep_columns=True)):
        if isinstance(row, BadRow): print(row.input, row.message)
        else: value = float(row.extra["logS"])
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rdkit import Chem

from molgeo.chem.files.formats import DEFAULT, ReadOptions, format_of, formats
from molgeo.chem.files.locating import STDIN, check_sources, locate, names_no_file
from molgeo.chem.molecule import (
    BadRow,
    Molecule,
    Row,
    SmilesRow,
    bad,
    from_arrays,
    is_pair,
)
from molgeo.chem.parsing import smiles_fault, structure_row, without_surrogates
from molgeo.runtime.errors import InputError

__all__ = ["STDIN", "ReadOptions", "check_sources", "is_single", "kept_columns", "read", "read_all"]

MOST_VALUES: Final = 100  # of a row of PyG's ``Data`` that are taken along
N_ROWS: Final = 100  # rows of an input that are looked at to know what comes along


def read(source: Any, options: ReadOptions = DEFAULT) -> Iterator[Row]:
    """Rows of one input, one at a time, in constant memory.

    Args:
        source: a SMILES or InChI, ``-`` for lines of them from standard input, the name of a file,
            a `pathlib.Path`, a DataFrame with a column of them, `ase.Atoms`, PyG ``Data`` or
            ``Batch`` (``z``, ``pos`` in Å), a `molgeo.data.molecules.Batch`, an RDKit ``Mol``, a
            pair ``(z, pos)``, or a `Molecule`. None of them is changed.
        options: what the user says about it.

    Yields:
        Molecules, SMILES that need coordinates, and bad rows, in the order of the input; what
        comes along is in their ``extra``.

    Raises:
        InputError: the whole input cannot be read, or is empty.
    """
    for row in _rows(source, options):
        finished = _finished(row, options)
        if isinstance(finished, Molecule) and options.each_conformer:
            yield from finished.conformers()
        else:
            yield finished


def read_all(sources: Any, options: ReadOptions = DEFAULT) -> Iterator[Row]:
    """Rows of one input or of any iterable of inputs, which is consumed as rows are needed."""
    for source in [sources] if is_single(sources) else sources:
        yield from read(source, options)


def kept_columns(sources: Iterable[Any], options: ReadOptions) -> list[str]:
    """Names in ``extra`` of the first rows of files and of standard input, which stay to be read.

    Args:
        sources: as in `read`; others than names of files are left out. So are named pipes, as what
            was read of them would be gone.
        options: as in `read`.

    Raises:
        InputError: a file that cannot be read, or a table without a column of structures.
    """
    names: dict[str, None] = {}
    options = replace(options, say=None)
    for source in sources:
        if not isinstance(source, str | Path):
            continue
        if source == STDIN:
            rows = _from_stdin(options, stays=True)
        else:
            path = locate(source, options)
            rows = iter(()) if path is None or not path.is_file() else _from_file(path, options)
        for row in itertools.islice(rows, N_ROWS):
            names |= dict.fromkeys(map(_clean, row.extra))
    return list(names)


def is_single(source: Any) -> bool:
    """Whether an object is one input, not an iterable of inputs."""
    if isinstance(source, str | Path | bytes | Mapping) or not isinstance(source, Iterable):
        return True
    is_structure = hasattr(source, "pos") or hasattr(source, "numbers") or is_pair(source)
    return is_structure or _is_frame(source)


def _rows(source: Any, options: ReadOptions) -> Iterator[Row]:
    if _is_frame(source):
        from molgeo.chem.files.tables import read_frame

        rows = read_frame(source, "DataFrame", options)
        yield from _whole(rows, "DataFrame", options, "the DataFrame")
    elif isinstance(source, Molecule | SmilesRow | BadRow):
        yield source
    elif not isinstance(source, str | Path):
        yield from _from_object(source, options)
    elif source == STDIN:
        yield from _from_stdin(options)
    else:
        path = locate(source, options)
        yield from [_argument(str(source), options)] if path is None else _from_file(path, options)


def _argument(text: str, options: ReadOptions) -> Row:
    """A word that is no file."""
    if os.path.isdir(text) and not any(map(str.isalnum, text)):  # . and / are no SMILES
        return BadRow(text, "", text, f"{text[:80]} is a folder, not a file or a SMILES")
    if names_no_file(text):
        message = f"no such file, and not a valid SMILES: {text[:80]}"
        return BadRow(text, "", text, message)
    return structure_row(text, "", text, options.max_smiles_length)


def _from_stdin(options: ReadOptions, *, stays: bool = False) -> Iterator[Row]:
    """Rows of standard input; of its first lines, which stay to be read, if ``stays``."""
    from molgeo.chem.files.text import STDIN_NAME, Lines, stdin_lines

    name = options.input_format or "smi"
    format = formats()[name]
    if not format.is_text:
        raise InputError(f"standard input: {name} cannot be read from there: give a file")
    lines = Lines(stdin_lines().preview()) if stays else stdin_lines()
    items = format.rows(lines, STDIN_NAME, options)
    return _whole(items, STDIN_NAME, options, "standard input")


def _from_file(path: Path, options: ReadOptions) -> Iterator[Row]:
    return _whole(_opened(path, options), str(path), options, str(path))


def _opened(path: Path, options: ReadOptions) -> Iterator[Any]:
    """What the reader of a file's format yields."""
    from molgeo.chem.files.text import Lines, open_text

    format = format_of(path, options)
    if format is None:
        return
    if not format.is_text:
        yield from format.rows(path, str(path), options)
        return
    with open_text(path) as file:
        yield from format.rows(Lines(file), str(path), options)


def _whole(items: Iterable[Any], origin: str, options: ReadOptions, called: str) -> Iterator[Row]:
    """Rows of a stream that must have at least one; a bad row says why it breaks off.

    Readers from outside may give objects, which become rows here.
    """
    n = 0
    try:
        for n, item in enumerate(items, start=1):
            if isinstance(item, Molecule | SmilesRow | BadRow):
                yield item
            else:
                yield from _from_object(item, options, f"{origin}:{n}")
    except InputError:
        raise
    except Exception as error:  # a broken file, or whatever a library meets in it
        known = isinstance(error, OSError | EOFError | zlib.error)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        if not n:
            raise InputError(f"{called}: cannot be read: {reason}") from error
        yield BadRow(called, message=f"reading stopped after {n} rows: {reason}")
    if not n:
        raise InputError(f"{called} is empty: it has no molecules")


def _from_object(source: Any, options: ReadOptions, input: str = "") -> Iterator[Row]:
    """Rows of a Python object, which is left as it is; an unknown kind is a bad row."""
    from molgeo.chem.files.ase_files import from_ase
    from molgeo.chem.files.rdkit_files import from_rdkit

    kind = input or type(source).__name__
    if isinstance(source, Chem.Mol):
        row = from_rdkit(source, kind)
        yield replace(row, extra=source.GetPropsAsDict()) if options.keep_columns else row
    elif is_pair(source):
        yield from_arrays(*source, input=input or "(z, pos)")
    elif hasattr(source, "to_data_list"):  # a PyG Batch
        for data in source.to_data_list():
            yield from _from_object(data, options, input)
    elif getattr(source, "ptr", None) is not None:
        yield from _from_batch(source, kind)
    elif hasattr(source, "numbers") and hasattr(source, "positions"):
        yield from_ase(source, kind, options)
    elif _is_smiles_data(source):
        extra = _attributes(source) if options.keep_columns else {}
        name = str(getattr(source, "name", None) or "")
        yield structure_row(source.smiles, name, kind, options.max_smiles_length, extra)
    elif hasattr(source, "z") and hasattr(source, "pos"):
        found = _from_data(source, kind)
        yield replace(found, extra=_attributes(source)) if options.keep_columns else found
    else:
        table = ", a table as a pandas.DataFrame" if isinstance(source, Mapping) else ""
        message = (
            f"cannot read a {type(source).__name__}: expected a SMILES, the name of a file, "
            f"ase.Atoms, PyG Data with z and pos, an RDKit Mol or a pair (z, pos){table}"
        )
        yield BadRow(input or repr(source)[:80], message=message)


def _from_batch(batch: Any, input: str) -> Iterator[Molecule | BadRow]:
    """Molecules of a `molgeo.data.molecules.Batch`."""
    for m, (first, end) in enumerate(itertools.pairwise(batch.ptr.tolist())):
        known: dict[str, Any] = {"input": input}
        if batch.pbc is not None:
            known |= {"cell": batch.cell[m].numpy(), "pbc": tuple(batch.pbc[m].tolist())}
        yield from_arrays(batch.z[first:end], batch.pos[first:end], **known)


def _from_data(data: Any, input: str) -> Molecule | BadRow:
    """PyG's ``Data``; ``smiles``, ``name``, charge and spin come along if they are there."""
    from molgeo.chem.electrons import SPIN_KEYS, spin_reason, whole_charge

    if data.z is None or data.pos is None:
        missing = "z" if data.z is None else "pos"
        return BadRow(
            input, message=f"{input} has no {missing}: expected z (atoms,) and pos (atoms, 3)"
        )
    smiles, name = (getattr(data, key, None) for key in ("smiles", "name"))
    smiles, name = smiles if isinstance(smiles, str) else None, "" if name is None else str(name)
    said = {key: getattr(data, key, None) for key in SPIN_KEYS}
    spins = (spin_reason(key, value) for key, value in said.items() if value is not None)
    known: dict[str, Any] = {
        "name": name,
        "smiles": smiles,
        "open_shell": next(filter(None, spins), ""),
    }
    charge = getattr(data, "charge", None)
    try:
        known["charge"] = 0 if charge is None else whole_charge(charge)
    except ValueError as error:
        return BadRow(input, name, smiles, str(error))
    return from_arrays(data.z, data.pos, input=input, **known)


def _is_smiles_data(data: Any) -> bool:
    """Whether PyG's ``Data`` is of a SMILES without coordinates, as those of MoleculeNet are."""
    is_of_smiles = hasattr(data, "edge_index") and isinstance(getattr(data, "smiles", None), str)
    return is_of_smiles and getattr(data, "pos", None) is None


def _attributes(data: Any) -> dict[str, Any]:
    """Single values of PyG's ``Data``, and those of short rows by their places from 0."""
    stored = data.to_dict() if hasattr(data, "to_dict") else vars(data)
    found: dict[str, Any] = {}
    for name, value in stored.items():
        if isinstance(value, str | bool | int | float):
            found[name] = value
        elif hasattr(value, "numel") and name not in ("z", "pos"):
            n = value.numel()
            if n == 1:
                found[name] = value.item()
            elif n <= MOST_VALUES and max(value.shape) == n:
                numbers = value.flatten().tolist()
                found |= {f"{name}_{k}": number for k, number in enumerate(numbers)}
    return found


def _finished(row: Row, options: ReadOptions) -> Row:
    """A row of any reader as it goes on: its SMILES may be parsed, its text can be written."""
    if isinstance(row, SmilesRow):
        fault = smiles_fault(row.smiles, options.max_smiles_length)
        if fault is not None:
            row = bad(row, fault)
        elif options.strip_salts and "." in row.smiles:
            from molgeo.chem.salts import stripped

            row = stripped(row)
    changed: dict[str, Any] = {
        key: clean
        for key in ("input", "name", "smiles", "message")
        if (clean := _clean(text := getattr(row, key, ""))) is not text
    }
    if any(_clean(part) is not part for pair in row.extra.items() for part in pair):
        changed["extra"] = {_clean(key): _clean(value) for key, value in row.extra.items()}
    return replace(row, **changed) if changed else row


def _clean(part: Any) -> Any:
    return without_surrogates(part) if isinstance(part, str) else part


def _is_frame(source: Any) -> bool:
    """Whether an object is a pandas DataFrame, without importing pandas."""
    return type(source).__name__ == "DataFrame" and hasattr(source, "itertuples")
