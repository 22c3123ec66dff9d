"""Forces of many structures that ASE moves as one, in batches of bounded work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from molgeo.chem.molecule import MIN_DISTANCE
from molgeo.runtime.device import bounded, sent
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.relaxation import structure_of
from molgeo.simulation.together import Array, Together, have_same_weights, most_pairs


class Part:
    """Structures whose forces are computed as one batch.

    Args:
        all_atoms: with their calculators.
        first: of their atoms among all.
    """

    def __init__(self, all_atoms: Sequence[Atoms], first: int) -> None:
        calculator = all_atoms[0].calc
        options = calculator.neighbours.skin, calculator.parameters["replay"]
        self.together = Together(calculator.models, *options)
        self.together.take([structure_of(atoms) for atoms in all_atoms])
        sizes = [len(atoms) for atoms in all_atoms]
        self.n, self.own = len(sizes), slice(first, first + sum(sizes))
        self.starts = np.cumsum([0, *sizes[:-1]])
        self.results = self.together.results

    def evaluate(self, positions: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Forces, and for which structures the model says anything."""
        forces = self.together(self._here(positions))
        energy = torch.stack([each.energy for each in self.together.potentials]).sum(0)
        parts = forces.flatten(), energy, self.together.closest.double()
        # All that the host must know, in one copy: a copy waits for the device.
        found = torch.cat(parts).cpu().numpy()
        on_host = found[: -2 * self.n].reshape(-1, 3)
        energies, closest = found[-2 * self.n :].reshape(2, -1)
        sound = np.logical_and.reduceat(np.isfinite(on_host).all(1), self.starts)
        return on_host, sound & np.isfinite(energies) & (closest >= MIN_DISTANCE)

    def build(self, reference: Array) -> None:
        """Make the graph where another one was made; positions are of all atoms."""
        self.together.build(self._here(reference))

    def reference(self) -> Array:
        """(atoms, 3) where the graph was made."""
        assert self.together.reference is not None
        at: Array = self.together.reference.cpu().numpy()
        return at

    def _here(self, positions: Array) -> torch.Tensor:
        return sent(torch.from_numpy(positions[self.own]), self.together.device)


def parts_of(all_atoms: Sequence[Atoms]) -> Iterator[Part]:
    """Consecutive structures of one potential, as many as the bound on a batch's work allows."""
    calculators = [atoms.calc for atoms in all_atoms]
    changes = [k for k in range(1, len(all_atoms)) if not _alike(*calculators[k - 1 : k + 1])]
    first = 0
    for begin, end in pairwise([0, *changes, len(all_atoms)]):
        alike = all_atoms[begin:end]
        most = most_pairs(calculators[begin].neighbours.device)
        for own in bounded([len(atoms) ** 2 for atoms in alike], most):
            part = Part(alike[own], first)
            first = part.own.stop
            yield part


def _alike(one: MolgeoCalculator, other: MolgeoCalculator) -> bool:
    """Whether two calculators give the same numbers."""
    if one.parameters != other.parameters or one.neighbours.device != other.neighbours.device:
        return False
    return all(map(have_same_weights, one.models, other.models))
