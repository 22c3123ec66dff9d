"""The error to be expected of the force on each atom, out of the same pass as the force itself.

The more an atom's features leave the space that the training atoms of its element span
(``apart`` of `molgeo.predictor.gaussians`), the larger is the error of its force. It grows by a
power law, of an element e

    ε_i = exp(a_e) · apart_i^(2 b_e),

with a_e, b_e ≥ 0 that make the errors ‖ΔF_i‖ of validation atoms most likely, if they follow an
exponential distribution of mean ε_i: the minimum of Σ_i (ln ε_i + ‖ΔF_i‖ / ε_i). That is convex.
Elements of few validation atoms are held to the law of all atoms by a weight of `HELD` atoms.

Far from training the law is extrapolated, and errors are larger still. So an expected error above
the *limit*, which only few of the validation molecules have on any of their atoms, is no number: it
says that the model does not know such an arrangement of atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from molgeo.graph import Graph
from molgeo.predictor.familiarity import worst
from molgeo.predictor.gaussians import Gaussians

WITHIN: Final = 0.995
"""Part of the validation molecules that have no expected error above the limit."""

HELD: Final = 50.0
"""Atoms that the law of all elements weighs beside those of one element."""

TINY: Final = 1e-12
"""Of ``apart²``, so that it has a logarithm."""

NEWTON: Final = 60
"""Newton's steps, of which some ten are needed."""


@dataclass(frozen=True)
class ExpectedErrors(Gaussians):
    """Gaussians of the training atoms' features, and the law of the errors of forces.

    Attributes:
        law: (E, 2) a_e and b_e, of errors in eV/Å.
        limit: (1,) eV/Å, above which an expected error is no number.
    """

    law: Tensor
    limit: Tensor

    @classmethod
    def _shapes(cls, tensors: dict[str, Tensor], features: int) -> dict[str, tuple[int, ...]]:
        return {"law": (len(tensors["elements"]), 2), "limit": (1,)}

    @property
    def n_signals(self) -> int:
        """Signals of a molecule: one."""
        return 1

    def of_atoms(self, features: Tensor, z: Tensor) -> Tensor:
        """ε_i, (atoms,) eV/Å; infinite for an element that training did not have.

        Args:
            features: (atoms, features) of the backbone.
            z: (atoms,) atomic numbers.
        """
        left = self.squares(features, z)[1].clamp(min=TINY)
        offset, slope = self._law[z].unbind(-1)
        return torch.addcmul(offset, slope, left.log()).exp()

    @cached_property
    def _law(self) -> Tensor:
        """By atomic number, a_e − b_e ln ρ_e and b_e."""
        a, b = self.law.unbind(-1)
        known = torch.stack([a - b * self.rest.log(), b], dim=-1)
        return torch.stack([self.by_number(known[:, 0]), self.by_number(known[:, 1], 0.0)], dim=-1)

    def signals(self, features: Tensor, z: Tensor, graph: Graph) -> Tensor:
        """The largest ε_i of each molecule, (molecules, 1); arguments as of `Familiarity`."""
        return worst(self.of_atoms(features, z), graph.batch, graph.n_molecules).unsqueeze(-1)

    def is_larger(self, signals: Sequence[float]) -> bool:
        """False: errors of forces do not grow with the size of a molecule."""
        return False

    def reasons(self, signals: Sequence[float]) -> tuple[str, ...]:
        """Why a molecule with these signals is outside, one phrase; none if it is inside."""
        limit = float(self.limit)
        if signals[0] <= limit:
            return ()
        return (
            "features of its atoms are far from those of training (expected error of a force "
            f"{signals[0]:.2g} eV/Å, of like molecules at most {limit:.2g} eV/Å)",
        )


def expected_errors(
    of_training: dict[str, Tensor], apart: Tensor, z: Tensor, error: Tensor, molecule: Tensor
) -> ExpectedErrors:
    """A record whose law and limit are those of validation molecules.

    Args:
        of_training: as of `molgeo.predictor.gaussians.gaussians`.
        apart: (atoms,) of validation atoms.
        z: (atoms,) their atomic numbers.
        error: (atoms,) ‖ΔF_i‖, eV/Å.
        molecule: (atoms,) int64, number of the molecule that each belongs to, from 0.
    """
    x, y = apart.double().square().clamp(min=TINY).log(), error.double()
    of_all = _most_likely(x, y, torch.tensor([float(y.mean().clamp(min=TINY).log()), 0.5]), 1.0)
    laws = []
    for number in of_training["elements"]:
        own = z == int(number)
        laws.append(_most_likely(x[own], y[own], of_all, HELD))
    law = torch.stack(laws)
    place = torch.searchsorted(of_training["elements"].contiguous(), z.float())
    expected = (law[place, 0] + law[place, 1] * x).exp()
    largest = worst(expected, molecule, int(molecule.max()) + 1)
    limit = torch.quantile(largest, WITHIN)[None]
    return ExpectedErrors(**of_training, law=law.float().contiguous(), limit=limit.float())


def _most_likely(x: Tensor, y: Tensor, start: Tensor, weight: float) -> Tensor:
    """(a, b) of ln ε = a + b x that make errors most likely, held to a start by a weight of atoms.

    Args:
        x: (atoms,) ln apart².
        y: (atoms,) errors.
        start: (2,) what atoms are said to follow before any is seen.
        weight: of that, in atoms.
    """
    start = start.double()
    law, columns = start.clone(), torch.stack([torch.ones_like(x), x], dim=-1)
    for _ in range(NEWTON):
        ratio = y * (-columns @ law).exp()
        slope = columns.T @ (1.0 - ratio) + weight * (law - start)
        curve = columns.T @ (columns * ratio.unsqueeze(-1)) + weight * torch.eye(2).double()
        law = law - torch.linalg.solve(curve, slope).clamp(-1.0, 1.0)
    return torch.stack([law[0], law[1].clamp(min=0.0)])
