"""Energies and forces of many structures in one evaluation.

A step of one small molecule is bound by what it costs to begin its operations, not by the
operations. So structures that move at the same time are one batch, whose graph is kept as long as
none of their atoms has moved by half the skin. Nothing here needs ASE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.graph import Graph, radius_graph
from molgeo.predictor import Potential, Predictor
from molgeo.predictor.ensemble import mean, on_host
from molgeo.runtime.device import for_device
from molgeo.simulation.replay import Replay, Replayed

Array = NDArray[np.float64]

MOST_PAIRS: Final = {"cpu": 10_000, "cuda": 500_000}
"""Σ n² of the structures of a batch, a bound on its edges: 30 of QM9's molecules on a CPU, where
more are no faster, and 1,500 on a card."""


class Structure(NamedTuple):
    """Atoms to be moved.

    Attributes:
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        cell: (3, 3) lattice vectors in Å, as rows.
        pbc: (3,) periodic along each lattice vector.
        free: (atoms, 3) bool, False if a coordinate is held; None if none is.
        charge: total charge, e.
    """

    z: NDArray[np.int64]
    pos: Array
    cell: Array = np.zeros((3, 3))
    pbc: NDArray[np.bool_] = np.zeros(3, dtype=bool)
    free: NDArray[np.bool_] | None = None
    charge: int = 0


class Together:
    """The potential of a batch of structures.

    Args:
        models: one, or an ensemble whose mean counts; on one device, of one precision. Their
            weights must not change.
        skin: Å beyond the cutoff within which neighbours are remembered.
        replay: as of `Replayed`, on a card, where other structures of about as many atoms are
            replayed too. On a CPU, where each graph would take a recording, nothing is replayed.

    Attributes:
        batch: (atoms,) int64, structure of each atom.
        potentials: of each model, of the last evaluation.
        closest: (structures,) Å, between two atoms of a structure then; infinite without a pair
            within the cutoff.
        reference: (atoms, 3) Å, where the present graph was made; None before.
    """

    batch: Tensor
    potentials: list[Potential]
    closest: Tensor
    reference: Tensor | None
    _on_host: list[Potential] | None

    def __init__(
        self, models: Sequence[Predictor], skin: float = 0.5, replay: Replay = "auto"
    ) -> None:
        self.models, self.skin = list(models), skin
        weight = next(self.models[0].parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self._replayed = [Replayed(each, replay, records=False) for each in self.models]
        self.cutoff = max(each.cutoff for each in self.models)

    def take(self, structures: Sequence[Structure]) -> None:
        """Compute these structures from now on, whatever came before.

        Args:
            structures: one or more; where they are is said by each evaluation.
        """
        sizes = [len(each.z) for each in structures]
        self._ends = np.cumsum([0, *sizes])
        self._z = torch.from_numpy(np.concatenate([each.z for each in structures])).to(self.device)
        number = np.repeat(np.arange(len(sizes)), sizes)
        self.batch = torch.from_numpy(number).to(self.device)
        self._size = torch.tensor(sizes, dtype=torch.float64, device=self.device)
        pbc = np.stack([each.pbc for each in structures])
        self._pbc = torch.from_numpy(pbc).to(self.device) if pbc.any() else None
        cell = np.stack([each.cell for each in structures])
        self._cell = torch.from_numpy(cell).to(self.device)
        self._charge: Tensor | None = None
        if any(each.backbone.takes_charge for each in self.models):
            self._charge = torch.tensor([each.charge for each in structures], device=self.device)
        self.reference = None
        for one in self._replayed:
            one.forget()

    def __call__(self, pos: Tensor) -> Tensor:
        """Evaluate all models on all structures.

        Args:
            pos: (atoms, 3) Å float64, finite, on the models' device.

        Returns:
            Forces (atoms, 3) float64 in eV/Å. A structure without finite ones harms no other.
        """
        if not self._holds(pos):
            self.build(pos)
        local = (pos - self._origin).to(self.dtype)
        graph, n = self._graph, len(self._size)
        distances = graph.distances(local)
        owner = graph.derived("molecules of pairs", lambda g: g.batch[g.source[g.forward]])
        self.closest = distances.new_full((n,), torch.inf)
        self.closest = self.closest.scatter_reduce_(0, owner, distances, "amin")
        self.potentials = [each.potential(self._z, local, graph) for each in self._replayed]
        self._on_host = None
        forces = [each.forces.double() for each in self.potentials if each.forces is not None]
        return forces[0] if len(forces) == 1 else torch.stack(forces).mean(0)

    def results(self, k: int) -> dict[str, Any]:
        """Results of one structure in the last evaluation, named as ASE's, without a stress."""
        a, b = self._ends[k], self._ends[k + 1]
        if self._on_host is None:
            self._on_host, _ = on_host(self.potentials, self.closest)
        return mean([_of_one(each, k, a, b) for each in self._on_host])

    def _holds(self, pos: Tensor) -> bool:
        """Whether no atom has moved by more than half the skin since the graph was made."""
        if self.reference is None:
            return False
        moved = (pos - self.reference).square().sum(-1)
        return bool((moved <= 0.25 * self.skin**2).all())

    def build(self, pos: Tensor) -> None:
        """Make the graph here, whether or not the present one holds.

        Positions are taken from the middle of each structure, so that a float32 keeps its digits.
        """
        shift = torch.zeros_like(pos)
        if self._pbc is not None:
            lattice = self._cell * self._pbc.unsqueeze(-1)  # an open direction has no translation
            inside = torch.einsum("ax,axk->ak", pos, torch.linalg.pinv(lattice)[self.batch])
            shift = torch.einsum("ak,akx->ax", inside.floor(), lattice[self.batch])
        middle = pos.new_zeros(len(self._size), 3).index_add_(0, self.batch, pos - shift)
        self._origin = shift + (middle / self._size.unsqueeze(-1))[self.batch]
        local = (pos - self._origin).to(self.dtype)
        periodic = () if self._pbc is None else (self._cell, self._pbc)
        graph = radius_graph(local, self.cutoff + self.skin, self.batch, *periodic)
        self._graph: Graph = graph.with_known(self._charge)
        self.reference = pos.clone()


def most_pairs(device: torch.device) -> int:
    """Bound on Σ n² of the structures of a batch, as in `MOST_PAIRS`."""
    return for_device(MOST_PAIRS, device)


def have_same_weights(one: Predictor, other: Predictor) -> bool:
    """Whether two models of one name give the same numbers."""
    if one is other:
        return True
    weights, others = one.state_dict(), other.state_dict()
    if one.config != other.config or weights.keys() != others.keys():
        return False
    pairs = [(weight, others[name]) for name, weight in weights.items()]
    return all(
        a.shape == b.shape and torch.allclose(a, b, 0.0, 0.0, equal_nan=True) for a, b in pairs
    )


def _of_one(all: Potential, k: int, a: int, b: int) -> Potential:
    """The part of structure k, whose atoms are a to b."""
    return all._replace(
        energy=all.energy[k : k + 1],
        energies=all.energies[a:b],
        forces=None if all.forces is None else all.forces[a:b],
        dipole=None if all.dipole is None else all.dipole[k : k + 1],
        forces_std=None if all.forces_std is None else all.forces_std[a:b],
    )
