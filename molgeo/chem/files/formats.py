"""Which files are read: one line per format, in `FORMATS`. Here a file format is added.

A format is the endings of its files and a function that makes rows of them:

    def read_gro(lines, origin, options):
        for atoms in ase.io.iread(io.StringIO("".join(lines)), format="gromacs"):
            yield atoms

    FORMAT = Format((".gro",), read_gro)

Inside molgeo that is a module beside this one and a line in `FORMATS`. A package of your own needs
no change in molgeo: its ``pyproject.toml`` names the format as an entry point, and in a script
``register("gro", FORMAT)`` does the same:

    [project.entry-points."molgeo.readers"]
    gro = "my_package.gro:FORMAT"

A format from outside takes the place of the one that has its name or its endings.
"""

from __future__ import annotations

import functools
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from molgeo.chem.parsing import MAX_SMILES_LENGTH

ENTRY_POINTS: Final = "molgeo.readers"  # the group of entry points in which packages name formats


@dataclass(frozen=True)
class ReadOptions:
    """What a user says about how inputs are read.

    Attributes:
        input_format: of standard input and of all files, one of `formats`; None for lines of SMILES
            on standard input and for what the ending of a file says.
        smiles_column: title of the column of SMILES or InChI in tables, or its number from 1; None
            to find it by titles and contents.
        smiles_option: the option that names this column, for messages.
        name_column: the same for names; the field of names in an SDF.
        keep_columns: True to take along all columns of a table, all fields of an SDF and all values
            of ``info`` in extxyz and ASE's files; None for the column that identifies a molecule,
            and for all columns of a DataFrame.
        strip_salts: of a SMILES with several fragments take the largest one, neutralised.
        max_smiles_length: characters up to which a SMILES is read.
        say: is called with one line about each table: which columns were taken; and of an xyz with
            three more numbers per atom, which are not read.
        each_conformer: one row per conformer of an RDKit ``Mol``; else they are one row.
    """

    input_format: str | None = None
    smiles_column: str | int | None = None
    smiles_option: str = "smiles_column"
    name_column: str | int | None = None
    keep_columns: bool | None = None
    strip_salts: bool = False
    max_smiles_length: int = MAX_SMILES_LENGTH
    say: Callable[[str], None] | None = None
    each_conformer: bool = False


DEFAULT: Final = ReadOptions()


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        endings: of its files, such as ``.sdf``.
        reader: a function ``(source, origin, options)``, or the name of one as
            ``"module:function"``. The source is `molgeo.chem.files.text.Lines` of decoded text; or
            the path, if ``is_text`` is False. ``origin`` names the file for messages, ``options``
            are `ReadOptions`. It yields `Molecule`, `SmilesRow` and `BadRow`, or any object that
            `molgeo.chem.files.readers.read` takes, such as `ase.Atoms` or an RDKit ``Mol``.
        is_text: text may be gzipped, in any encoding, and come from standard input.
        count: rows of such a file, opened in binary: for the time that is left; None if unknown.

    Raises:
        ValueError: an ending that no file could have.
    """

    endings: tuple[str, ...]
    reader: str | Callable[[Any, str, ReadOptions], Iterable[Any]]
    is_text: bool = True
    count: Callable[[BinaryIO], int] | None = None

    def __post_init__(self) -> None:
        for one in self.endings:
            if one[:1] != "." or one != one.lower():
                raise ValueError(f"endings must be as .sdf, in small letters; got {one!r}")

    def rows(self, source: Any, origin: str, options: ReadOptions) -> Iterator[Any]:
        """What the reader yields; its module is imported only now."""
        reader = self.reader
        yield from (pkgutil.resolve_name(reader) if isinstance(reader, str) else reader)(
            source, origin, options
        )


_HERE: Final = "molgeo.chem.files."

FORMATS: Final[dict[str, Format]] = {
    "smi": Format(
        (".smi", ".smiles", ".ism", ".can", ".inchi"), f"{_HERE}smiles_lines:read_smiles"
    ),
    "csv": Format((".csv",), f"{_HERE}tables:read_csv"),
    "tsv": Format((".tsv", ".tab"), f"{_HERE}tables:read_tsv"),
    "txt": Format((".txt",), f"{_HERE}smiles_lines:read_txt"),
    "parquet": Format((".parquet",), f"{_HERE}tables:read_parquet", is_text=False),
    "xyz": Format((".xyz",), f"{_HERE}xyz:read_xyz"),
    "extxyz": Format((".extxyz",), f"{_HERE}xyz:read_xyz"),
    "sdf": Format((".sdf", ".sd"), f"{_HERE}rdkit_files:read_sdf"),
    "mol": Format((".mol",), f"{_HERE}rdkit_files:read_sdf"),
    "pdb": Format((".pdb", ".ent"), f"{_HERE}rdkit_files:read_pdb"),
    "mol2": Format((".mol2",), f"{_HERE}rdkit_files:read_mol2"),
    "cif": Format((".cif",), f"{_HERE}ase_files:read_cif"),
    "poscar": Format((".poscar", ".contcar", ".vasp"), f"{_HERE}ase_files:read_poscar"),
    "db": Format((".db",), f"{_HERE}ase_files:read_db", is_text=False),
    "traj": Format((".traj",), f"{_HERE}ase_files:read_traj", is_text=False),
}
"""What molgeo reads by itself, by the names that ``--input-format`` takes."""

_registered: dict[str, Format] = {}


def register(name: str, format: Format) -> None:
    """Add a format for this process, or replace one.

    Args:
        name: as ``--input-format`` takes it.
        format: wins for its endings over formats that have the same.
    """
    _registered[name] = format
    formats.cache_clear()
    by_ending.cache_clear()


@functools.cache
def formats() -> dict[str, Format]:
    """All formats by their names: those of molgeo, of installed packages, and registered ones."""
    return FORMATS | _installed() | _registered


def _installed() -> dict[str, Format]:
    """Formats of installed packages; one that cannot be loaded is a warning and no more."""
    from importlib.metadata import entry_points

    found = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            format = point.load()
            if not isinstance(format, Format):
                raise TypeError(f"expected a molgeo Format, got a {type(format).__name__}")
            found[point.name] = format
        except Exception as error:  # whatever a package of somebody else meets
            warnings.warn(
                f"the file format {point.name!r} of {point.value} cannot be loaded: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )
    return found


@functools.cache
def by_ending() -> dict[str, str]:
    """Ending of a file → name of its format, formats from outside first to be asked."""
    own = formats()
    from_outside = [name for name, one in own.items() if FORMATS.get(name) is not one]
    plain = [name for name in own if name not in from_outside]
    found = {ending: name for name in (*plain, *from_outside) for ending in own[name].endings}
    return found | {f"{end}.gz": name for end, name in found.items() if own[name].is_text}


def format_of(path: Path, options: ReadOptions = DEFAULT) -> Format | None:
    """The format that a user says, else that of a file's ending; None if neither tells it."""
    name = options.input_format or by_ending().get(ending_of(path))
    return None if name is None else formats()[name]


def ending_of(path: Path) -> str:
    """The ending of a file's name in small letters, together with a ``.gz`` behind it.

    The name POSCAR or CONTCAR is an ending too.
    """
    if path.name.upper().removesuffix(".GZ") in ("POSCAR", "CONTCAR"):
        return f".{path.name.lower()}"
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(suffixes if suffixes[-1:] == [".gz"] else suffixes[-1:])
