"""Whether the training data of models held such molecules at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from molgeo.graph.environments import Ints, Pairs, bonds, formula, longest_pair
from molgeo.predictor.domain import Domain
from molgeo.predictor.predictor import Predictor


class UnfamiliarWarning(UserWarning):
    """Atoms of which a model learned nothing, so that its energies and forces may be anything."""


@dataclass(frozen=True)
class Unfamiliar:
    """What of some atoms a model's training data did not hold.

    Attributes:
        model: its name.
        phrases: one for each kind of what is unknown.
        grave: whether it is the whole molecule: no heavy atom is further than a bond from what is
            unknown, or the formula is none of the few that the model was trained on.
        periodic: whether it is that the structure is periodic, so that no stress was learned.
    """

    model: str
    phrases: tuple[str, ...]
    grave: bool
    periodic: bool = False

    def __str__(self) -> str:
        return f"{self.model} does not know {'; '.join(self.phrases)}"


def unfamiliar(models: Sequence[Predictor], atoms: Atoms) -> Unfamiliar | None:
    """What of some atoms one of the models does not know; the gravest, if it is several.

    Args:
        models: those without a record of their training data are taken to know everything.
        atoms: periodic or not, of known elements.

    Returns:
        What is unknown, or None.
    """
    found = [
        each
        for model in models
        if model.domain is not None and (each := _of_one(model.name, model.domain, atoms))
    ]
    return max(found, key=lambda each: (each.grave, each.periodic), default=None)


def _of_one(name: str, domain: Domain, atoms: Atoms) -> Unfamiliar | None:
    record = domain.environments
    if record is None:
        return None
    z, pairs = atoms.numbers.astype(np.int64), near_pairs(atoms)
    phrases = record.unfamiliar(z, pairs)
    grave = _is_whole(z, record.strange(z, pairs), pairs)
    periodic = bool(atoms.pbc.any()) and not record.periodic
    if periodic:
        phrases.append(
            f"periodic structures (none of {record.configurations:,} training configurations)"
        )
    elif record.formulas and formula(z) not in record.formulas:
        grave = True
    return Unfamiliar(name, tuple(phrases), grave, periodic) if phrases else None


def _is_whole(z: Ints, strange: NDArray[np.bool_], pairs: Pairs) -> bool:
    """Whether each heavy atom is strange or bonded to one that is; of no heavy atoms, all."""
    i, j, _ = bonds(z, pairs)
    touched = strange.copy()
    touched[i] |= strange[j]
    touched[j] |= strange[i]
    heavy = z > 1
    return bool(touched[heavy].all() if heavy.any() else touched.all())


def near_pairs(atoms: Atoms) -> Pairs:
    """All pairs of atoms that may be bonded, across boundaries too, each once."""
    i, j, distance = neighbor_list("ijd", atoms, longest_pair(atoms.numbers))
    once = i < j
    return i[once], j[once], distance[once]
