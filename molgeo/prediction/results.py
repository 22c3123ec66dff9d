"""One row of output, with what is known of it beside its columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from molgeo.chem.building import Built
from molgeo.chem.molecule import Molecule
from molgeo.chem.molecule import Row as Source
from molgeo.prediction.columns import Row


class Answer(NamedTuple):
    """What a model says of a molecule.

    Attributes:
        numbers: column → number.
        energies: eV, of each conformer: total, at the model's level of theory.
    """

    numbers: dict[str, float]
    energies: list[float]


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
    digest = blake2b(digest_size=9)
    digest.update(type(source).__name__.encode())
    for name in ("input", "name", "smiles", "message", "charge", "extra"):
        digest.update(f"\0{getattr(source, name, '')}".encode("utf-8", "surrogatepass"))
    if isinstance(source, Molecule):
        digest.update(source.z.tobytes() + source.pos.tobytes())
    return digest.hexdigest()


def key(built: Built) -> str:
    """The key of a row's conformers, as in `Result`."""
    if not isinstance(built, list):
        return ""
    frame = getattr(built[0], "frame", None)
    return f"{frame.smiles} {built[0].geometry} {len(built)}" if frame is not None else ""
