"""Molecules with values in files of any format: what a model of a user's own values is made of.

It lies among what makes geometries, because the conformers of a table's SMILES are made beside it.

The rows come from the readers that predictions use. A row that cannot be used is set aside with its
reason; the others go on. A value that is missing is NaN.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem.building import NO_COORDINATES
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import read
from molgeo.chem.molecule import BadRow, Molecule, Row, SmilesRow, check_geometry
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages
from molgeo.chem.plausible import implausible
from molgeo.chem.scaffolds import scaffold
from molgeo.data.geometries import FlatGeometries
from molgeo.data.split import PARTS, UNDECIDED
from molgeo.graph.closest import pairs_below
from molgeo.graph.environments import bonds, environments, longest_pair
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.plain_text import nearest, one_line

Source = Literal["auto", "given", "smiles"]
"""Geometries of a table: those given, or conformers of the SMILES; ``auto`` takes what there is."""

MISSING: Final = frozenset(
    [
        "",
        "na",
        "n/a",
        "nan",
        "none",
        "null",
        "-",
        "?",
        "<na>",
        "nat",
        "n.a.",
        "nd",
        "n.d.",
        "#n/a",
        "#na",
        "#value!",
        "#div/0!",
        "#num!",
        "#ref!",
        "–",
        "—",
    ]
)
"""What a cell says, in small letters, if its value is not known."""
_PARTS: Final = {
    **PARTS,
    "": UNDECIDED,
    "training": PARTS["train"],
    "valid": PARTS["validation"],
    "val": PARTS["validation"],
    "dev": PARTS["validation"],
}
"""What a cell may say of the part that its row is of."""


@dataclass(frozen=True)
class Table:
    """Molecules with values.

    Attributes:
        rows: `Molecule` if the geometry is ``given``, else `SmilesRow`.
        values: (rows, columns) float64; NaN if nothing is known.
        groups: (rows,) int64: rows of one molecule, of whatever stereo, have one number; -1 for
            what is not known.
        parts: (rows,) int64, numbers of `molgeo.data.split`.
        numbers: (rows,) int64, places among all rows of the files, from 0.
        charges: (rows,) int64, total charges, e.
        aside: rows that cannot be used, with reasons.
        geometry: ``given`` or ``smiles``.
    """

    rows: list[Any]
    values: NDArray[np.float64]
    groups: NDArray[np.int64]
    parts: NDArray[np.int64]
    numbers: NDArray[np.int64]
    charges: NDArray[np.int64]
    aside: list[BadRow]
    geometry: str

    def families(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of rows with these numbers: the same number for molecules of one family.

        Raises:
            SettingError: a row has no SMILES.
        """
        names = [scaffold(self.rows[row].smiles or "") for row in rows.tolist()]
        if not all(names):
            row = self.rows[rows[names.index("")]]
            raise SettingError(
                f"split: scaffold needs the SMILES of each row, {row.input} has none: choose "
                "random, or add SMILES to the file"
            )
        return np.unique(names, return_inverse=True)[1]

    def of(self, rows: Any) -> Table:
        """The same with some of the rows, by their numbers."""
        places = np.asarray(rows)
        return replace(
            self,
            rows=[self.rows[place] for place in places.tolist()],
            values=self.values[places],
            groups=self.groups[places],
            parts=self.parts[places],
            numbers=self.numbers[places],
            charges=self.charges[places],
        )


def read_table(
    files: Sequence[Any],
    columns: Sequence[Sequence[str]],
    geometry: Source = "auto",
    split_column: str = "",
    options: ReadOptions | None = None,
    needs_all: bool = True,
    wanted_by: str = "",
    takes_charge: bool = False,
    source: str = "",
) -> Table:
    """Read molecules with values.

    Args:
        files: in any format of `molgeo.chem.files.formats`, or rows that were read. A column is one
            of a table, a field of an SDF or a value of ``info`` in extxyz and ASE's files.
        columns: titles that each value may have, the likeliest first.
        geometry: where coordinates come from.
        split_column: title of the column with ``train``, ``validation`` or ``test``.
        options: of the readers.
        needs_all: refuse files without one of the columns; else one is enough.
        wanted_by: the model that predicts the values, for messages.
        takes_charge: the model knows the charge of a molecule; else ions are set aside.
        source: of rows that were read, for messages.

    Raises:
        FileNotFoundError: a file does not exist.
        InputError: a file cannot be read, or no row can be used.
        SettingError: there is no such column; or some rows have coordinates and others a SMILES
            alone, and ``geometry`` is ``auto``.
    """
    names = [file for file in files if isinstance(file, str | Path)]
    for file in names:
        if not Path(file).is_file():
            raise FileNotFoundError(f"{file} does not exist; expected a file of molecules")
    options = replace(options or ReadOptions(), keep_columns=True)
    sources = [Path(file) if isinstance(file, str) else file for file in files]
    found = [row for file in sources for row in read(file, options)]
    source = source or ", ".join(Path(file).name for file in names) or "the table"
    titles = dict.fromkeys(title for row in found for title in row.extra)
    places = [title_of(wanted, titles, source, needs_all) for wanted in columns]
    if not (chosen := [title for title in places if title]):
        listed = ", ".join(wanted[0] for wanted in columns)
        raise SettingError(
            f"{source}: expected a column of what {wanted_by or 'the model'} predicts ({listed}), "
            f"got {_listed(titles)}; another model is named with --model"
        )
    part_title = title_of([split_column], titles, source) if split_column else ""
    source_of = _geometry(geometry, found)
    known: list[tuple[Any, list[float], int, int, int]] = []
    aside: list[BadRow] = []
    for number, row in enumerate(found):
        usable = row if isinstance(row, BadRow) else _usable(row, source_of)
        if not isinstance(usable, BadRow):
            try:
                values = [_number(row.extra.get(title), title) for title in places]
                part = _part(row.extra.get(part_title, ""), part_title)
                if all(map(math.isnan, values)):
                    raise ValueError(f"no value of {', '.join(chosen)}")
                if (charge := charge_of(usable)) and not takes_charge:
                    raise ValueError(f"charge {charge:+d}: the model takes neutral molecules alone")
                known.append((usable, values, part, number, charge))
                continue
            except ValueError as error:
                usable = BadRow(row.input, row.name, row.smiles, str(error))
        aside.append(usable)
    if not known:
        reason = f"; the first: {one_line(aside[0].message, 120)}" if aside else ""
        raise InputError(f"{source}: no row can be used{reason}")
    rows, values_of, parts, numbers, charges = zip(*known, strict=True)
    return Table(
        list(rows),
        np.array(values_of, np.float64),
        _groups(rows),
        np.array(parts, np.int64),
        np.array(numbers, np.int64),
        np.array(charges, np.int64),
        aside,
        source_of,
    )


def write_aside(rows: list[BadRow], path: Path) -> int:
    """Write the rows that cannot be used, with their reasons, into a table; how many they are.

    Args:
        rows: that are set aside; no file is written if there are none.
        path: of the table.
    """
    if rows:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["input", "name", "smiles", "message"])
            writer.writerows([row.input, row.name, row.smiles, row.message] for row in rows)
    return len(rows)


def given_geometries(molecules: Sequence[Molecule]) -> FlatGeometries:
    """The coordinates that molecules have, one conformer each."""
    n = len(molecules)
    return FlatGeometries(
        rows=np.arange(n),
        status=np.zeros(n, np.uint8),
        statuses=("given",),
        n_conformers=np.ones(n, np.int64),
        n_atoms=np.array([m.n_atoms for m in molecules], np.int64),
        z=np.concatenate([m.z for m in molecules]).astype(np.uint8),
        pos=np.concatenate([m.pos for m in molecules]).astype(np.float32),
        energy=np.full(n, np.nan),
        number=np.zeros(n, np.uint8),
    )


def title_of(
    wanted: Sequence[str], titles: Iterable[str], source: str, is_needed: bool = True
) -> str:
    """The title of a column, whose case and punctuation do not matter.

    Args:
        wanted: titles that it may have, the likeliest first.
        titles: of all columns.
        source: that has them, for messages.
        is_needed: refuse what has none of them.

    Returns:
        The title; "" if there is none.

    Raises:
        SettingError: there is none, and it is needed; the message lists the columns.
    """
    by_letters = {letters(title): title for title in titles}
    for one in wanted:
        if one in titles or letters(one) in by_letters:
            return one if one in titles else by_letters[letters(one)]
    if not is_needed:
        return ""
    near = nearest(wanted[0], titles)
    raise SettingError(
        f"{source}: no column {wanted[0]!r}{near}; beside the molecules there are {_listed(titles)}"
    )


def _listed(titles: Iterable[str]) -> str:
    return ", ".join(map(repr, list(titles)[:20])) or "none"


def letters(title: str) -> str:
    """A title without what people write in different ways: case, spaces, punctuation."""
    return "".join(filter(str.isalnum, title)).lower()


def _geometry(geometry: Source, rows: Iterable[Row]) -> str:
    """``given`` or ``smiles``, whichever all sound rows allow."""
    if geometry != "auto":
        return geometry
    kinds = {isinstance(row, Molecule) for row in rows if not isinstance(row, BadRow)}
    if len(kinds) > 1:
        raise SettingError(
            "geometry: some rows have coordinates and others a SMILES alone: choose given, which "
            "sets the latter aside, or smiles"
        )
    return "given" if True in kinds else "smiles"


def _usable(row: Molecule | SmilesRow, geometry: str) -> Molecule | SmilesRow | BadRow:
    """The row as it is trained on, or why it cannot be."""
    about = (row.input, row.name, row.smiles)
    if geometry == "smiles":
        if not row.smiles:
            return BadRow(*about, "no SMILES: choose geometry given, or write one into the row")
        return SmilesRow(row.smiles, row.name, row.input, row.extra)
    if isinstance(row, SmilesRow):
        return BadRow(*about, NO_COORDINATES)
    reason = check_geometry(row) or implausible(row.z, row.pos)
    return BadRow(*about, reason) if reason else row


def charge_of(row: Molecule | SmilesRow) -> int:
    """Total charge, e; 0 if the SMILES cannot be read, which is told when it is embedded."""
    if isinstance(row, Molecule):
        return row.charge
    with rdkit_messages():
        mol = mol_from_smiles(row.smiles)
    return 0 if mol is None else int(Chem.GetFormalCharge(mol))


def _number(cell: Any, title: str) -> float:
    """A value, or NaN if there is none."""
    if cell is None or str(cell).strip().lower() in MISSING:
        return math.nan
    try:
        value = math.inf if isinstance(cell, bool) else float(cell)
    except (TypeError, ValueError):
        value = math.inf
    if not math.isfinite(value):
        raise ValueError(f"{title}: expected a number, got {one_line(repr(cell), 60)}")
    return value


def _part(cell: Any, title: str) -> int:
    """The number of the part that a cell names."""
    word = "" if cell is None else str(cell).strip().lower()
    if word not in _PARTS:
        raise ValueError(
            f"{title}: expected train, validation or test, got {one_line(repr(cell), 60)}"
        )
    return _PARTS[word]


def _groups(rows: Sequence[Molecule | SmilesRow]) -> NDArray[np.int64]:
    """The same number for rows of the same molecule, whatever their stereo.

    By the SMILES without stereo: conformers of mirror images are the same, and a SMILES that leaves
    its stereo open is made as one of its isomers. If rows with coordinates lack a SMILES, all go by
    the bonds of their coordinates.
    """
    with rdkit_messages():
        names = [_flat(row.smiles or "") for row in rows]
    if not all(names):
        names = [
            _bonded(row) if isinstance(row, Molecule) else name
            for row, name in zip(rows, names, strict=True)
        ]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, names)))}
    return np.array([numbers.get(name, -1) for name in names], np.int64)


def _flat(smiles: str) -> str:
    """The canonical SMILES without stereo; "" for none."""
    mol = mol_from_smiles(smiles) if smiles else None
    if mol is None:
        return ""
    Chem.RemoveStereochemistry(mol)
    return str(Chem.MolToSmiles(mol))


def _bonded(molecule: Molecule) -> str:
    """The atoms of a molecule, each with those that it is bonded to."""
    z = molecule.z
    near = bonds(z, pairs_below(molecule.pos, longest_pair(z)))
    return " ".join(sorted(environments(z, near)))
