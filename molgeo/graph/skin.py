"""The graph of atoms that move a little at a time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.radius import radius_graph
from molgeo.runtime.device import sent
from molgeo.runtime.errors import SettingError

Array = NDArray[np.float64]

FURTHEST: Final = 10.0
"""Å, that an atom of a complete graph may move before the origin moves too: float32 has 1e-6 Å."""


class SkinGraph:
    """Edges within a cutoff and a skin, found anew only when one of them could be missing.

    Two atoms beyond ``cutoff + skin`` come within the cutoff at the earliest when one of them has
    moved by half the skin. Until then the graph holds every edge that counts; those beyond the
    cutoff contribute nothing to a model.

    Positions are taken relative to an origin of each atom: the centre of all, and the lattice
    translation that brought it into the cell when the graph was made. So a float32 keeps its digits
    wherever the atoms are, however far they have diffused.

    Args:
        cutoff: Å.
        skin: Å, zero or more.
        dtype: of the positions that are given out.
        device: of all tensors.
        most_complete: edges up to which a molecule's graph holds every pair of its atoms, however
            far apart, so that it is the same wherever they move.

    Attributes:
        charge: total charge of the atoms, e, that the graph has; None if it has none.
        graph: the present one; there is none before the first call.
        reference: (atoms, 3) Å, at which the present graph was made; None before.
        n_built: how often a graph was made.

    Raises:
        ValueError: the skin is negative or no number.
    """

    graph: Graph

    def __init__(
        self,
        cutoff: float,
        skin: float,
        dtype: torch.dtype,
        device: torch.device,
        most_complete: int = 0,
    ) -> None:
        if not 0 <= skin < float("inf"):
            raise SettingError(f"skin: expected a number of Å, zero or more, got {skin}")
        self.cutoff, self.skin, self.dtype, self.device = cutoff, skin, dtype, device
        self.most_complete = most_complete
        self.charge: int | None = None
        self.reference: Array | None = None
        self.n_built = 0

    def take_charge(self, charge: int | None) -> None:
        """Give the graph another charge, from the next call on."""
        if charge != self.charge:
            self.charge, self.reference = charge, None

    def __call__(
        self, positions: Array, cell: Array, pbc: NDArray[np.bool_]
    ) -> tuple[Tensor, Graph]:
        """Positions as the model wants them, and a graph that holds for them.

        Args:
            positions: (atoms, 3) Å, anywhere.
            cell: (3, 3) lattice vectors in Å, as rows; ignored if ``pbc`` is False.
            pbc: (3,) periodic along each lattice vector.

        Returns:
            (atoms, 3) from the origins, and the graph.

        Raises:
            ValueError: a coordinate is not finite, or periodic lattice vectors are dependent.
        """
        if not self._holds(positions, cell, pbc):
            self.build(positions, cell, pbc)
        return self._local(positions, self._origin), self.graph

    def build(self, positions: Array, cell: Array, pbc: NDArray[np.bool_]) -> None:
        """Make the graph here, whether or not the present one holds; arguments as in a call."""
        lattice = cell[pbc]  # (periodic directions, 3)
        shift = np.floor(positions @ np.linalg.pinv(lattice)) @ lattice if pbc.any() else 0.0
        origin = shift + (positions - shift).mean(axis=0)
        periodic = (torch.from_numpy(cell)[None], torch.from_numpy(pbc)[None]) if pbc.any() else ()
        local = self._local(positions, origin)
        n, reach = len(positions), self.cutoff + self.skin
        self._is_complete = not periodic and n * (n - 1) <= self.most_complete
        if self._is_complete:  # twice the largest distance from the centre reaches every atom
            reach = max(reach, 1.0 + 2.0 * float(local.norm(dim=1).amax()))
        graph = radius_graph(local, reach, None, *periodic)
        if self.charge is not None:
            graph = graph.with_known(torch.tensor([self.charge], device=self.device))
        # The same edges are the same graph, with all that has been derived from it.
        if self.reference is None or not _same(graph, self.graph):
            self.graph = graph
        self._origin, self._cell, self._pbc = origin, cell.copy(), pbc.copy()
        self.reference = positions.copy()
        self.n_built += 1

    def state(self) -> dict[str, Array | NDArray[np.bool_]]:
        """Where the present graph was made; empty before."""
        if self.reference is None:
            return {}
        return {"positions": self.reference, "cell": self._cell, "pbc": self._pbc}

    def restore(self, state: dict[str, Any]) -> None:
        """Make the graph at the positions of another one: the same edges in the same order."""
        if state:
            self.build(**state)

    def __getstate__(self) -> dict[str, Any]:
        """Settings alone: a copy makes a graph of its own."""
        own = ("reference", "graph", "_origin", "_cell", "_pbc", "_is_complete")
        return {k: v for k, v in self.__dict__.items() if k not in own} | {"reference": None}

    def _local(self, positions: Array, origin: Array) -> Tensor:
        return sent(torch.from_numpy(positions - origin).to(self.dtype), self.device)

    def _holds(self, positions: Array, cell: Array, pbc: NDArray[np.bool_]) -> bool:
        """Whether the lattice is the same, and no atom has moved further than the graph allows."""
        if self.reference is None or self.reference.shape != positions.shape:
            return False
        if not np.array_equal(pbc, self._pbc):
            return False
        if pbc.any() and not np.array_equal(cell[pbc], self._cell[pbc]):
            return False
        moved = positions - self.reference
        furthest = np.einsum("ax,ax->a", moved, moved).max(initial=0.0)
        most = FURTHEST if self._is_complete else 0.5 * self.skin
        return bool(furthest <= most**2)  # False for NaN


def _same(a: Graph, b: Graph) -> bool:
    """Whether two graphs have the same edges, through the same translations."""
    if a.n_atoms != b.n_atoms or a.n_edges != b.n_edges or (a.offset is None) != (b.offset is None):
        return False
    offsets = a.offset is None or b.offset is None or torch.equal(a.offset, b.offset)
    return offsets and torch.equal(a.source, b.source) and torch.equal(a.target, b.target)
