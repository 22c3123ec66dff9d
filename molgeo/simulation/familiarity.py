"""Whether models know a molecule: by their training data, and by the errors that they expect."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from molgeo.graph.environments import Ints, Pairs, bonds, formula, longest_pair
from molgeo.predictor.domain import Domain
from molgeo.predictor.ensemble import largest_error
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


class Doubts:
    """Says once of a molecule what some models do not know of it, by an `UnfamiliarWarning`.

    Args:
        models: of a calculator.

    Attributes:
        max_force_error: eV/Å, the models' own limit of expected errors; None if they tell none.
    """

    def __init__(self, models: Sequence[Predictor]) -> None:
        self.models, self.max_force_error = models, largest_error(models)
        self._seen: set[int] = set()

    def warn(self, atoms: Atoms, results: Mapping[str, Any] | None = None) -> None:
        """Say it, unless it was said of such atoms.

        Args:
            atoms: which they are.
            results: of these, to look at the expected errors; None to look at the atoms.
        """
        key = hash((atoms.numbers.tobytes(), atoms.pbc.tobytes(), results is None))
        if key in self._seen:
            return
        if results is None:
            found: object = unfamiliar(self.models, atoms)
        else:
            found = error_reason(atoms, results, self.max_force_error)
        if found or results is None:
            self._seen.add(key)
        if found:
            warnings.warn(
                f"{atoms.get_chemical_formula()}: {found}; energies and forces may be anything "
                "(allow_unfamiliar=True says nothing of it)",
                UnfamiliarWarning,
                stacklevel=4,
            )


def error_reason(atoms: Atoms, results: Mapping[str, Any], limit: float | None) -> str | None:
    """That the force on an atom is expected to be wrong by more than a limit, or None.

    Args:
        atoms: which they are.
        results: of their calculator, with ``forces_std`` if it tells errors.
        limit: eV/Å; None for no limit.
    """
    expected = results.get("forces_std")
    if expected is None or limit is None:
        return None
    worst = int(expected.argmax())
    if expected[worst] <= limit:
        return None
    return (
        f"the expected error of the force on atom {atoms.symbols[worst]}{worst + 1} is "
        f"{expected[worst]:.2f} eV/Å, above the limit of {limit:.2f} eV/Å: no such arrangement of "
        "atoms is known"
    )


def near_pairs(atoms: Atoms) -> Pairs:
    """All pairs of atoms that may be bonded, across boundaries too, each once."""
    i, j, distance = neighbor_list("ijd", atoms, longest_pair(atoms.numbers))
    once = i < j
    return i[once], j[once], distance[once]
