"""What a model was trained on, so that it can refuse what it has never seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from molgeo.elements import SYMBOLS
from molgeo.graph.closest import SEPARATION, Pairs, closest_pair, count_fragments, pairs_below
from molgeo.graph.environments import Environments, longest_pair


@dataclass(frozen=True)
class Domain:
    """The domain of the training data.

    Attributes:
        elements: atomic numbers seen, ascending.
        max_atoms: atoms of the largest molecule seen.
        min_distance: smallest interatomic distance seen, Å.
        charge: total charge of every molecule, e.
        environments: of the atoms seen; None in checkpoints that were written without.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    elements: tuple[int, ...]
    max_atoms: int
    min_distance: float
    charge: int = 0
    environments: Environments | None = None

    @property
    def closest(self) -> float:
        """Å, below which a distance is outside: three quarters of the shortest one seen."""
        return 0.75 * self.min_distance

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
        if charge != self.charge:
            return (
                f"charge {charge:+d} is outside the model's domain: "
                f"it was trained on molecules of charge {self.charge} only"
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
