"""What a model was trained on, so that it can refuse what it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from molgeo.elements import SYMBOLS


@dataclass(frozen=True)
class Domain:
    """The domain of the training data.

    Attributes:
        elements: atomic numbers seen, ascending.
        max_atoms: atoms of the largest molecule seen.
        min_distance: smallest interatomic distance seen, Å.
        charge: total charge of every molecule, e.
    """

    elements: tuple[int, ...]
    max_atoms: int
    min_distance: float
    charge: int = 0

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Domain:
        """Read the record of a checkpoint's header."""
        return cls(**{**record, "elements": tuple(record["elements"])})

    def to_dict(self) -> dict[str, Any]:
        """The record for a checkpoint's header."""
        return asdict(self)

    def check(self, z: Sequence[int] | Tensor, pos: Any = None, charge: int = 0) -> str | None:
        """Why a molecule lies outside the domain.

        Size is no reason: the models are local, and larger molecules are their common use.

        Args:
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å; None skips the check of distances.
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
        if charge != self.charge:
            return (
                f"charge {charge:+d} is outside the model's domain: "
                f"it was trained on molecules of charge {self.charge} only"
            )
        return None if pos is None else self._check_distances(torch.as_tensor(pos).double())

    def _check_distances(self, pos: Tensor) -> str | None:
        if not pos.isfinite().all():
            return "a coordinate is NaN or infinite"
        shortest = _shortest_below(pos, 0.75 * self.min_distance)
        if shortest is None:
            return None
        return (
            f"two atoms are {shortest:.2f} Å apart, outside the model's domain: "
            f"the shortest distance it was trained on is {self.min_distance:.2f} Å"
        )


def _shortest_below(pos: Tensor, limit: float) -> float | None:
    """The shortest distance of two atoms if it is below a limit; in memory linear in atoms."""
    pos = pos[pos[:, 0].argsort()]
    shortest = limit
    for k in range(1, len(pos)):
        delta = pos[k:] - pos[:-k]
        # Sorted by x: where the k-th atoms that follow are all beyond the limit, so are the rest.
        if (delta[:, 0] >= limit).all():
            break
        shortest = min(shortest, float(torch.linalg.vector_norm(delta, dim=-1).min()))
    return shortest if shortest < limit else None
