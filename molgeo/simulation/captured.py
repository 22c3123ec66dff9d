"""An evaluation on a card, captured once as a CUDA graph for all graphs that fit, then replayed.

A card takes microseconds for each operation of a small molecule, and Python launches them one by
one. A CUDA graph launches all of them at once, but with the very memory and the very shapes that
they had when it was captured. So the graph of the atoms is padded to a capacity with some room, and
lies with elements and positions in memory that stays. An evaluation copies the positions there. If
the neighbours are others it copies the new graph too, as long as the capacity holds it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from molgeo.graph import Graph
from molgeo.graph.padding import Capacity, Load, load_of, padded, padded_atoms
from molgeo.predictor import Potential, Predictor
from molgeo.predictor.potential import unlike
from molgeo.runtime.cuda_graphs import Capture, copy_all

SPARE: Final = 0.25
"""Room of a capacity for more neighbours than there are now, as a part of those."""

LAVISH: Final = (4, 2000)
"""A capacity of more edges than so many times a graph's and so many more is not used for it."""


class Captured:
    """The potential of any atoms and graph that a capacity holds, also of fewer molecules.

    Args:
        model: its weights must never change.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        graph: of these atoms.
        strain: compute the derivative by the strain too.
        capture: makes replays.
        capacity: of the graphs; None, or one too small, for the present graph's and some room.

    Attributes:
        capacity: of the graphs.
        n_molecules: most molecules of a graph.

    Raises:
        RuntimeError: the model cannot be captured, or its replay gives other numbers.
    """

    def __init__(
        self,
        model: Predictor,
        z: Tensor,
        pos: Tensor,
        graph: Graph,
        strain: bool,
        capture: Capture,
        capacity: Capacity | None = None,
    ) -> None:
        load = _load(graph)
        if capacity is None or not capacity.holds(load):
            n_spare = 0 if graph.n_molecules == 1 else math.ceil(SPARE * graph.n_atoms)
            capacity = Capacity.around(load, SPARE, n_spare)
        self.capacity, self._strain = capacity, strain
        self._graph: Graph | None = graph
        n_spare = 0 if graph.n_molecules == 1 else math.ceil(SPARE * graph.n_molecules)
        self.n_molecules, self._has = graph.n_molecules + n_spare, _optional(graph)
        self._outputs: list[Tensor | None] = []
        with torch.inference_mode(False), torch.no_grad():
            self._static = self._padded(graph).clone()
            self._z, self._pos = (x.clone() for x in padded_atoms(z, pos, capacity))

        def evaluate() -> None:
            # A graph without what was derived from another one: that is computed at each replay.
            own = self._static.map(lambda x: x)
            self._outputs = [*model.potential(self._z, self._pos, own, True, strain)]

        evaluate()  # constants of a device are made now, and kept
        self._replay = capture(evaluate)
        moved = pos + 0.01 * torch.linspace(-1.0, 1.0, pos.numel()).view_as(pos).to(pos)
        if name := unlike(self(z, moved, graph), model.potential(z, moved, graph, True, strain)):
            raise RuntimeError(f"the replay gives another {name}")

    def holds(self, graph: Graph, strain: bool) -> bool:
        """Whether the potential with this graph is a replay."""
        if (strain, _optional(graph)) != (self._strain, self._has):
            return False
        if graph is self._graph:
            return True
        load = _load(graph)
        times, more = LAVISH
        is_lavish = self.capacity.edges > times * graph.n_edges + more
        return graph.n_molecules <= self.n_molecules and self.capacity.holds(load) and not is_lavish

    def forget(self) -> None:
        """Be ready for other atoms, if only on the same graph."""
        self._graph = None

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, z: Tensor, pos: Tensor, graph: Graph) -> Potential:
        """Replay it for other positions, or for other atoms, whose graph `holds` has accepted."""
        n, m = graph.n_atoms, graph.n_molecules
        if graph is self._graph:
            self._pos[:n].copy_(pos)
        else:
            static = [self._z, self._pos, *self._static.tensors()]
            new = [*padded_atoms(z, pos, self.capacity), *self._padded(graph).tensors()]
            copy_all(static, new)
            self._graph = graph
        self._replay()
        rows = {"energies": n, "forces": n, "forces_std": n}
        found = zip(Potential._fields, self._outputs, strict=True)
        return Potential(*(x if x is None else x[: rows.get(k, m)].clone() for k, x in found))  # type: ignore[arg-type]

    def _padded(self, graph: Graph) -> Graph:
        """The graph in the capacity's shape; molecules after the padding have no atoms."""
        made, n_more = padded(graph, self.capacity), self.n_molecules - graph.n_molecules
        if made.charge is not None:
            made = made.with_known(torch.cat([made.charge, made.charge.new_zeros(n_more)]))
        return dataclasses.replace(made, n_molecules=self.n_molecules + 1)


def _optional(graph: Graph) -> tuple[bool, bool]:
    """Whether a graph has what not all have: lattice translations, charges."""
    return graph.offset is not None, graph.charge is not None


def _load(graph: Graph) -> Load:
    """What a graph takes of a capacity; the host waits for the device."""
    degree: np.ndarray = graph.degree.cpu().numpy()
    return load_of(degree)
