"""The kinds of files that are read, by their endings and by the name that a user may give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from molgeo.chem.files.ase_files import read_db, read_traj
from molgeo.chem.files.reading import Reading
from molgeo.chem.files.sdf import read_sdf, sdf_records
from molgeo.chem.files.sdf_fields import field_names, labelled
from molgeo.chem.files.smiles import (
    read_smi,
    read_txt,
    smiles_lines,
    text_columns,
    text_lines,
    title_columns,
)
from molgeo.chem.files.structures import (
    cif_structures,
    mol2_records,
    pdb_records,
    poscar_structures,
)
from molgeo.chem.files.tables import (
    read_csv,
    read_parquet,
    read_table,
    read_tsv,
    table_columns,
    tsv_columns,
    tsv_lines,
)
from molgeo.chem.files.text import Lines, open_text
from molgeo.chem.files.xyz import read_xyz, xyz_frames
from molgeo.chem.molecule import Row


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        endings: of its files; text files may be gzipped.
        read: rows of a file.
        lines: rows of text and the name of its origin; None for a kind that is not read from
            standard input.
        kept: names of the columns or fields that come along, from lines that stay to be read;
            None for a kind that has none.
    """

    endings: tuple[str, ...]
    read: Callable[[Path, Reading], Iterator[Row]]
    lines: Callable[[Lines, str, Reading], Iterator[Row]] | None = None
    kept: Callable[[Lines, str, Reading], Sequence[str]] | None = None


_XYZ: Final = (lambda path, _: read_xyz(path), lambda lines, origin, _: xyz_frames(lines, origin))
_SDF: Final = (
    lambda path, reading: labelled(read_sdf(path), reading),
    lambda lines, origin, reading: labelled(sdf_records(lines, origin), reading),
    field_names,
)


def _text(endings: tuple[str, ...], rows: Callable[[Iterable[str], str], Iterator[Row]]) -> Format:
    """A kind of text file that has structures only."""

    def read(path: Path, reading: Reading) -> Iterator[Row]:
        with open_text(path) as file:
            yield from rows(file, str(path))

    return Format(endings, read, lambda lines, origin, reading: rows(lines, origin))


FORMATS: Final[dict[str, Format]] = {
    "smi": Format(
        (".smi", ".smiles", ".ism", ".can", ".inchi"), read_smi, smiles_lines, title_columns
    ),
    "csv": Format((".csv",), read_csv, read_table, table_columns),
    "tsv": Format((".tsv", ".tab"), read_tsv, tsv_lines, tsv_columns),
    "txt": Format((".txt",), read_txt, text_lines, text_columns),
    "parquet": Format((".parquet",), read_parquet),
    "xyz": Format((".xyz",), *_XYZ),
    "extxyz": Format((".extxyz",), *_XYZ),
    "sdf": Format((".sdf", ".sd"), *_SDF),
    "mol": Format((".mol",), *_SDF),
    "pdb": _text((".pdb", ".ent"), pdb_records),
    "mol2": _text((".mol2",), mol2_records),
    "cif": _text((".cif",), cif_structures),
    "poscar": _text((".poscar", ".contcar", ".vasp"), poscar_structures),
    "db": Format((".db",), lambda path, _: read_db(path)),
    "traj": Format((".traj",), lambda path, _: read_traj(path)),
}
"""What can be read, by the names that ``--input-format`` takes."""

_BINARY: Final = ("parquet", "db", "traj")

_BY_ENDING: Final = {
    **{ending: name for name, one in FORMATS.items() for ending in one.endings},
    **{
        f"{ending}.gz": name
        for name, one in sorted(FORMATS.items())
        for ending in one.endings
        if name not in _BINARY
    },
}

SUFFIXES: Final = tuple(_BY_ENDING)
"""Endings of the files that can be read."""


def format_of(path: Path, reading: Reading) -> Format | None:
    """The format that a user says, else that of a file's ending; None if neither tells it."""
    name = reading.input_format or _BY_ENDING.get(ending(path))
    return None if name is None else FORMATS[name]


def ending(path: Path) -> str:
    """The ending of a file's name in small letters; with what is before a ``.gz``.

    The name POSCAR or CONTCAR is an ending too.
    """
    if path.name.upper().removesuffix(".GZ") in ("POSCAR", "CONTCAR"):
        return f".{path.name.lower()}"
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(suffixes if suffixes[-1:] == [".gz"] else suffixes[-1:])
