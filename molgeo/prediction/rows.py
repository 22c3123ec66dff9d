"""Rows of output: the names of their columns, and what is known of a row beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from molgeo.chem.building import Built
    from molgeo.chem.molecule import Molecule
    from molgeo.chem.molecule import Row as Source

Row = dict[str, Any]
"""One value per column; None if there is none."""

ROW_MEANINGS: Final = {
    "id": "number of the row, from 0",
    "name": "as the input has it",
    "input": "the SMILES, or the file and the place in it",
    "smiles": "of the molecule, if it is known",
    "formula": "with hydrogens",
    "n_atoms": "with hydrogens",
    "geometry": "given, given (like mmff94 or gfn2), given (distorted), etkdg+mmff+ENGINE …",
    "stereo": "centres that the SMILES leaves open, and the isomer predicted",
    "status": "ok or error",
    "message": "of an error: why, and what helps",
    "in_domain": "false if the model does not know such molecules: do not trust numbers or bars",
    "domain_reason": "why that is so, with the evidence",
    "model": "that predicted the row",
    "model_sha256": "of its file, as sha256sum prints it",
    "level_of_theory": "of the labels that the model learned",
}
"""What the columns of every output say, which stand before those of the properties."""

ROW_COLUMNS: Final = tuple(ROW_MEANINGS)

BETWEEN: Final = "; "
"""Stands between the phrases of a ``domain_reason``; no phrase has it."""

REMEMBERED: Final = 5_000
"""Molecules whose conformers are kept as they were weighed and relaxed."""

STRIPPED: Final = "stripped"
"""The column of what was taken away from salts, behind those of the properties."""

STD: Final = "_std"
"""Suffix of the columns with standard errors of a calibrated model."""

INTERVAL_COLUMNS: Final = ("_low90", "_high90")
"""Suffixes of the columns with the ends of an interval: `molgeo.predictor.calibration`."""

CONFORMER_COLUMNS: Final = ("_conformer_std", "_lowest", "_boltzmann")
"""Suffixes of the columns about conformers: `conformer_average` says what they are."""

SUFFIXES: Final = ("", STD, *INTERVAL_COLUMNS, *CONFORMER_COLUMNS)
"""All that a property's columns may end in, in their order."""

VALUES: Final = frozenset(("", *INTERVAL_COLUMNS, *CONFORMER_COLUMNS[1:]))
"""Those of them that hold values; the others hold widths."""

MEANINGS: Final = {
    STD: "standard error, of a calibrated model",
    "_low90, _high90": "with --conformers: ends of an interval that holds nine of ten labels",
    "_conformer_std": "with --conformers: spread over the conformers that count",
    "_lowest": "with --conformers: value of that one with the lowest energy",
    "_boltzmann": "with --conformers: their Boltzmann average at 298.15 K",
}
"""What columns say that are no values, by their suffixes."""


def plain(value: Any) -> Any:
    """What comes along from a table, as JSON can have it: a number of NumPy's, else text."""
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


PREFIX: Final = "input_"
"""Stands before the name of a column that was taken along, if the output has one of that name."""


def output_name(name: str, taken: Iterable[str]) -> str:
    """The name in the output of a column that is taken along.

    Args:
        name: in the input.
        taken: names of the output's own columns; upper and lower case count as the same.
    """
    lower = {other.lower() for other in taken}
    while name.lower() in lower:
        name = PREFIX + name
    return name


class Answer(NamedTuple):
    """What a model says of a molecule.

    Attributes:
        model: its name.
        numbers: column → number.
        energies: eV, of each conformer: total, at the model's level of theory.
        reasons: why the molecule is outside the model's domain; none inside.
    """

    model: str
    numbers: dict[str, float]
    energies: list[float]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """One row of output.

    Attributes:
        row: one value per column.
        conformers: the molecule as it was predicted; none of a bad row.
        energies: as in `Answer`.
        key: equal for molecules that have equal conformers; "" if they cannot be told.
        mark: of the row of input.
    """

    row: Row
    conformers: list[Molecule] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    key: str = ""
    mark: str = ""


class Done(NamedTuple):
    """A row that an earlier run has predicted: as in `Result`; ``answer`` is None of a bad row."""

    mark: str
    key: str
    answer: Answer | None


def mark(source: Source) -> str:
    """A short text that tells a row of input from another one."""
    from molgeo.chem.molecule import Molecule

    digest = blake2b(digest_size=9)
    digest.update(type(source).__name__.encode())
    for name in ("input", "name", "smiles", "message", "charge", "extra"):
        digest.update(f"\0{getattr(source, name, '')}".encode("utf-8", "surrogatepass"))
    if isinstance(source, Molecule):
        digest.update(source.z.tobytes() + source.pos.tobytes())
    return digest.hexdigest()


Known = TypeVar("Known")


def remember(known: dict[str, Known], found: Mapping[str, Known]) -> None:
    """Keep what was found of molecules for rows that name them again, up to `REMEMBERED` of them.

    Args:
        known: name → what is kept; the oldest is forgotten first.
        found: likewise. A number is a name of one row alone, which has no `key`: it is left out.
    """
    known |= {name: one for name, one in found.items() if not name.isdecimal()}
    for name in list(known)[: max(0, len(known) - REMEMBERED)]:
        del known[name]


def key(built: Built) -> str:
    """The key of a row's conformers, as in `Result`."""
    if not isinstance(built, list):
        return ""
    frame = getattr(built[0], "frame", None)
    return f"{frame.smiles} {built[0].geometry} {len(built)}" if frame is not None else ""
