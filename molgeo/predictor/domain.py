"""What a model was trained on, so that it can refuse what it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from molgeo.elements import SYMBOLS
from molgeo.graph.bond_kinds import BondKinds
from molgeo.graph.closest import SEPARATION, Ints, Pairs, closest_pair, count_fragments, pairs_below
from molgeo.graph.environments import Environments, bonds, longest_pair

LARGE: Final = 2
"""A molecule of more than this many times the atoms of the largest one seen is outside."""

MOST_PHRASES: Final = 3
"""Kinds of atoms, or else of bonds, that are named of one molecule."""


@dataclass(frozen=True)
class Domain:
    """The domain of the training data.

    Attributes:
        elements: atomic numbers seen, ascending.
        max_atoms: atoms of the largest molecule seen.
        min_distance: smallest interatomic distance seen, Å.
        charge: total charge of every molecule, e; zero if there are several.
        charges: all total charges, ascending, if there are several; else None.
        environments: of the atoms seen; None in checkpoints that were written without.
        bond_kinds: of the bonds seen; None likewise.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    elements: tuple[int, ...]
    max_atoms: int
    min_distance: float
    charge: int = 0
    charges: tuple[int, ...] | None = None
    environments: Environments | None = None
    bond_kinds: BondKinds | None = None

    @property
    def seen_charges(self) -> tuple[int, ...]:
        """Total charges seen, e, ascending."""
        return self.charges or (self.charge,)

    @property
    def closest(self) -> float:
        """Å, below which a distance is outside: three quarters of the shortest one seen."""
        return 0.75 * self.min_distance

    def joined(self, other: Domain) -> Domain:
        """The domain of two sets together; only what both of them tell is told."""
        charges = tuple(sorted({*self.seen_charges, *other.seen_charges}))
        mine, theirs = self.environments, other.environments
        kinds, more = self.bond_kinds, other.bond_kinds
        return Domain(
            elements=tuple(sorted({*self.elements, *other.elements})),
            max_atoms=max(self.max_atoms, other.max_atoms),
            min_distance=min(self.min_distance, other.min_distance),
            charge=charges[0] if len(charges) == 1 else 0,
            charges=charges if len(charges) > 1 else None,
            environments=None if mine is None or theirs is None else mine.joined(theirs),
            bond_kinds=None if kinds is None or more is None else kinds.joined(more),
        )

    def check(self, z: Sequence[int] | Tensor, pos: Any = None, charge: int = 0) -> str | None:
        """Why a molecule lies outside the domain.

        Size is no reason: the models are local, and larger molecules are their common use.

        Args:
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å; None skips the checks of distances and fragments.
            charge: total charge, e.

        Returns:
            A sentence that names the reason, or None inside the domain.
        """
        numbers = torch.as_tensor(z)
        if numbers.numel() == 0:
            return "the molecule has no atoms"
        unknown = sorted(set(numbers.tolist()) - set(self.elements))
        if unknown:
            names = ", ".join(SYMBOLS[n] if 0 < n < len(SYMBOLS) else f"Z={n}" for n in unknown)
            known = ", ".join(SYMBOLS[n] for n in self.elements)
            return f"element {names} is outside the model's domain: it was trained on {known} only"
        if charge not in self.seen_charges:
            known = ", ".join(map(str, self.seen_charges))
            return (
                f"charge {charge:+d} is outside the model's domain: "
                f"it was trained on molecules of charge {known} only"
            )
        if pos is None:
            return None
        points = torch.as_tensor(pos).detach().double().cpu().numpy()
        if not np.isfinite(points).all():
            return "a coordinate is NaN or infinite"
        close = closest_pair(points, self.closest)
        if close is not None:
            return (
                f"two atoms are {close[0]:.2f} Å apart, outside the model's domain: "
                f"the shortest distance it was trained on is {self.min_distance:.2f} Å"
            )
        n_fragments = count_fragments(points, SEPARATION)
        if n_fragments > 1:
            return (
                f"{n_fragments} separate fragments, more than {SEPARATION} Å apart: "
                "predict each on its own"
            )
        return None

    def judge(self, z: Sequence[int] | Tensor, pos: Any, given: bool = True) -> tuple[str, ...]:
        """Why a molecule is of a kind that the training data never held, or hardly ever.

        It may be predicted all the same: `check` refuses what cannot be. A record that lacks a
        part, as old checkpoints do, gives no reason of that part.

        Args:
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å, finite.
            given: the coordinates are of the user, so that their bond lengths are judged too.

        Returns:
            One phrase each: what is strange and, in parentheses, the evidence from the training
            molecules. None inside the domain.
        """
        numbers = np.asarray(torch.as_tensor(z).cpu(), np.int64)
        found = []
        if len(numbers) > LARGE * self.max_atoms:
            found.append(
                "far more atoms than any training molecule "
                f"({len(numbers)}, the largest has {self.max_atoms})"
            )
        if self.environments is None and self.bond_kinds is None:
            return tuple(found)
        points = np.asarray(torch.as_tensor(pos).detach().double().cpu())
        pairs = pairs_below(points, longest_pair(numbers))
        found += self._strange(numbers, pairs)
        if self.environments is not None:
            lengths = bonds(numbers, pairs)
            unusual = self.environments.unusual_lengths(numbers, lengths) if given else []
            found += [one.replace("a bond", "bond length", 1) for one in unusual]
            found += self.environments.another_formula(numbers)
        return tuple(found)

    def _strange(self, z: Ints, pairs: Pairs) -> list[str]:
        """Atoms that training hardly held, else bonds: a strange atom makes its bonds strange."""
        kinds, found, n = self.bond_kinds, {}, 0
        if self.environments is not None:
            n, least = self.environments.configurations, max(1, kinds.needed if kinds else 1)
            rare = self.environments.rare(z, pairs, least)
            found = {f"rare atom {words}": count for words, count in rare.items()}
        if kinds is not None and not found:
            strange = kinds.strange(z, pairs)
            n, found = kinds.molecules, {f"rare bond {kind}": count for kind, count in strange}
        return [
            f"{what} (in {count or 'none'} of {n:,} training molecules)"
            for what, count in list(found.items())[:MOST_PHRASES]
        ]

    def unfamiliar(
        self, z: Sequence[int] | Tensor, pos: Any, pairs: Pairs | None = None
    ) -> list[str]:
        """What of a structure the training data never held, or hardly ever.

        Args:
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å, finite.
            pairs: indices and distances of all atoms that may be bonded, each pair once; None to
                find them, without boundaries.

        Returns:
            One phrase each; none if all is familiar, or if the model does not tell.
        """
        if self.environments is None:
            return []
        numbers = np.asarray(torch.as_tensor(z).cpu(), np.int64)
        if pairs is None:
            points = np.asarray(torch.as_tensor(pos).detach().double().cpu())
            pairs = pairs_below(points, longest_pair(numbers))
        return self.environments.unfamiliar(numbers, pairs)
