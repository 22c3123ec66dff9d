"""The same evaluation many times over: recorded once as a list of operations, then replayed.

A small molecule's energy and forces are some two thousand operations of a few microseconds each, so
that most of a step goes into Python, autograd and dispatch. A simulation asks for the same ones
again and again while its graph stays the same. After some hundred evaluations the operations of one
of them, forward and backward, are recorded with the weights and the graph as constants, and from
then on the list is replayed by PyTorch's own interpreter: twice as fast, and with the same rounding
in float32. It takes seconds to make, which is why it is not made at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from molgeo.graph import Graph
from molgeo.predictor import Potential, Predictor

RECORD_AFTER: Final = 400
"""Evaluations with one graph after which recording pays: so many cost as much as a recording."""

MOST_EDGES: Final = 2000
"""Edges up to which operations are so short that what surrounds them matters."""

TOLERANCE: Final = {torch.float32: 1e-4, torch.float64: 1e-9}
"""eV and eV/Å (and Debye), of a replay against the evaluation itself: a few units of rounding."""

Tape = Callable[[Tensor], tuple[Tensor, ...]]


class Recorded:
    """A model whose potential is replayed where the same graph comes often enough.

    Which evaluations are replayed is decided by counting, not by a clock: runs can be repeated.

    Args:
        model: whose weights never change.

    Attributes:
        uses: evaluations with derivatives that the present graph has seen.
    """

    def __init__(self, model: Predictor) -> None:
        self.model = model
        self.uses = 0
        self._graph: Graph | None = None
        self._tape: Tape | None = None
        self._names: list[str] = []
        self._given_up = False

    def potential(
        self, z: Tensor, pos: Tensor, graph: Graph, derivatives: bool = True, strain: bool = False
    ) -> Potential:
        """As `Predictor.potential`; ``z`` and ``strain`` belong to the graph, as its atoms do."""
        if not derivatives or pos.device.type != "cpu" or graph.n_edges > MOST_EDGES:
            return self.model.potential(z, pos, graph, derivatives, strain)
        self.count(graph)
        if self.uses > RECORD_AFTER and self._tape is None and not self._given_up:
            self._record(z, pos, graph, strain)
        if self._tape is None:
            return self.model.potential(z, pos, graph, derivatives, strain)
        found = dict(zip(self._names, self._tape(pos), strict=True))
        return Potential(**{name: found.get(name) for name in Potential._fields})  # type: ignore[arg-type]

    def count(self, graph: Graph, uses: int = 1) -> None:
        """Note evaluations with a graph; another one begins anew."""
        if graph is not self._graph:
            self.forget()
            self._graph = graph
        self.uses += uses

    def forget(self) -> None:
        """Begin anew, as for other atoms."""
        self.uses, self._graph, self._tape, self._given_up = 0, None, None, False

    def _record(self, z: Tensor, pos: Tensor, graph: Graph, strain: bool) -> None:
        """Make the recording, or see that it cannot be had."""

        def evaluate(pos: Tensor) -> tuple[Tensor, ...]:
            potential = self.model.potential(z, pos, graph, True, strain)
            known = {k: v for k, v in potential._asdict().items() if v is not None}
            self._names = list(known)
            return tuple(known.values())

        try:
            with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
                # TorchScript is no longer developed, and still the one interpreter without Python.
                warnings.simplefilter("ignore")
                operations = make_fx(evaluate)(pos.clone())
                operations.graph.eliminate_dead_code()
                operations.recompile()
                tape = _quiet(torch.jit.trace(operations, (pos.clone(),), check_trace=False))
            elsewhere = pos + 0.01 * torch.linspace(-1.0, 1.0, pos.numel()).view_as(pos).to(pos)
            pairs = zip(tape(elsewhere), evaluate(elsewhere), strict=True)
            same = all(torch.allclose(a, b, 0.0, TOLERANCE[pos.dtype]) for a, b in pairs)
        except Exception:  # whatever a version of PyTorch cannot record is evaluated as ever
            same = False
        self._tape, self._given_up = (tape, False) if same else (None, True)

    def __getstate__(self) -> dict[str, object]:
        """The model alone: a copy makes a recording of its own."""
        return {"model": self.model}

    def __setstate__(self, state: dict[str, Predictor]) -> None:
        self.__init__(state["model"])  # type: ignore[misc]


def _quiet(tape: Tape) -> Tape:
    """Replay without derivatives, and without rewriting that would depend on how often it ran."""

    def replay(pos: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode(False), torch.no_grad(), torch.jit.optimized_execution(False):
            return tape(pos)

    return replay
