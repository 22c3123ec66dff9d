"""An evaluation on a card, captured once as a CUDA graph for all graphs that fit, then replayed.

A card takes microseconds for each operation of a small molecule, and Python launches them one by
one. A CUDA graph launches all of them at once, but with the very memory and the very shapes that
they had when it was captured. So the graph of the atoms is padded to a capacity with some room, and
lies with elements and positions in memory that stays. An evaluation copies the positions there. If
the neighbours are others it copies the new graph too, as long as the capacity holds it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from molgeo.graph import Graph
from molgeo.graph.padding import STEP, Capacity, Load, load_of, padded, padded_atoms
from molgeo.predictor import Potential, Predictor
from molgeo.runtime.cuda_graphs import Capture

SPARE: Final = 0.25
"""Room of a capacity for more neighbours than there are now, as a part of those."""

ALIKE: Final = 1e-3
"""eV and eV/Å, of a replay against the evaluation, and of the largest force: padding changes the
rounding alone, but what a strange model may keep of a graph would change all."""


class Captured:
    """The potential of any atoms and graph that a capacity holds.

    Args:
        model: its weights must never change.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        graph: of these atoms.
        strain: compute the derivative by the strain too.
        capture: makes replays.
        capacity: of the graphs; None for the present graph's and some room.

    Attributes:
        capacity: of the graphs.

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
            capacity = Capacity.around(load, SPARE)
        self.capacity, self._graph, self._strain = capacity, graph, strain
        self._n_atoms, self._form = graph.n_atoms, _form(graph)
        self._outputs: list[Tensor | None] = []
        with torch.inference_mode(False), torch.no_grad():
            self._static = padded(graph, capacity).clone()
            self._z, self._pos = (x.clone() for x in padded_atoms(z, pos, capacity))

        def evaluate() -> None:
            # A graph without what was derived from another one: that is computed at each replay.
            own = self._static.map(lambda x: x)
            self._outputs = [*model.potential(self._z, self._pos, own, True, strain)]

        evaluate()  # constants of a device are made now, and kept
        self._replay = capture(evaluate)
        moved = pos + 0.01 * torch.linspace(-1.0, 1.0, pos.numel()).view_as(pos).to(pos)
        self._check(self(z, moved, graph), model.potential(z, moved, graph, True, strain))

    def holds(self, graph: Graph, strain: bool) -> bool:
        """Whether the potential with this graph is a replay."""
        if graph is self._graph:
            return strain == self._strain
        is_alike = (graph.n_atoms, strain) == (self._n_atoms, self._strain)
        return is_alike and _form(graph) == self._form and self.capacity.holds(_load(graph))

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, z: Tensor, pos: Tensor, graph: Graph) -> Potential:
        """Replay it for other atoms, whose graph `holds` has accepted."""
        if graph is not self._graph:
            self._z[: graph.n_atoms].copy_(z)
            new = padded(graph, self.capacity).tensors()
            for static, x in zip(self._static.tensors(), new, strict=True):
                static.copy_(x)
            self._graph = graph
        self._pos[: graph.n_atoms].copy_(pos)
        self._replay()
        n, m = graph.n_atoms, graph.n_molecules
        rows = {"energies": n, "forces": n}
        return Potential(
            *(
                None if x is None else x[: rows.get(name, m)].clone()
                for name, x in zip(Potential._fields, self._outputs, strict=True)
            )  # type: ignore[arg-type]
        )

    def _check(self, found: Potential, expected: Potential) -> None:
        """Raise if a replay is not the evaluation."""
        largest = 1.0 if expected.forces is None else 1.0 + float(expected.forces.abs().max())
        for name, value in expected._asdict().items():
            size = self._n_atoms if name in ("energy", "strain_gradient", "dipole") else 1
            own = getattr(found, name)
            if value is not None and not torch.allclose(own, value, 0.0, ALIKE * largest * size):
                raise RuntimeError(f"the replay gives another {name}")


def _form(graph: Graph) -> tuple[int, bool]:
    """What the shapes depend on beside the capacity."""
    return graph.n_molecules, graph.offset is None


def _load(graph: Graph) -> Load:
    """What a graph takes of a capacity; the host waits for the device."""
    degree: np.ndarray = graph.degree.cpu().numpy()
    return load_of(degree, -(-int(degree.max(initial=0)) // STEP))
