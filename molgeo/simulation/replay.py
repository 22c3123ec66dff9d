"""The same evaluation many times over: recorded once as a list of operations, then replayed.

The energy and forces of a small molecule are about two thousand operations of a few microseconds
each. Most of the time of a step therefore goes into Python, autograd and dispatch. A simulation
asks for the same operations again and again while its graph stays the same. So the operations of
one evaluation, forward and backward, are recorded with the weights and the graph as constants.
From then on PyTorch's own interpreter replays the list: about twice as fast, and with the same
rounding in float32. A recording takes seconds, as long as some hundred evaluations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final, Literal

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from molgeo.graph import Graph
from molgeo.predictor import Potential, Predictor

Replay = bool | Literal["auto"]

REPLAY_AFTER: Final = 400
"""Evaluations with one graph before ``auto`` records: so many cost as much as a recording."""

MOST_EDGES: Final = 2000
"""Edges up to which ``auto`` records: beyond, the operations themselves take the time."""

TOLERANCE: Final = {torch.float32: 1e-4, torch.float64: 1e-9}
"""eV and eV/Å (and Debye), of a replay against the evaluation itself: a few units of rounding."""

Tape = Callable[[Tensor], tuple[Tensor, ...]]


class Replayed:
    """A model whose potential is replayed.

    ``auto`` decides by counting evaluations, not by a clock, so that runs can be repeated.

    Args:
        model: its weights must never change.
        replay: True records the first evaluation with derivatives of each graph; False never
            records; "auto" records on a CPU, a graph of up to `MOST_EDGES`, after `REPLAY_AFTER`
            evaluations.

    Attributes:
        uses: evaluations with derivatives of the present graph.
    """

    def __init__(self, model: Predictor, replay: Replay = "auto") -> None:
        self.model, self.replay = model, replay
        self.uses = 0
        self._graph: Graph | None = None
        self._tape: Tape | None = None
        self._names: list[str] = []
        self._failed = False

    def potential(
        self, z: Tensor, pos: Tensor, graph: Graph, derivatives: bool = True, strain: bool = False
    ) -> Potential:
        """As `Predictor.potential`; ``z`` and ``strain`` belong to the graph, as its atoms do."""
        if not derivatives or self.replay is False:
            return self.model.potential(z, pos, graph, derivatives, strain)
        self.count(graph)
        if self._tape is None and not self._failed and self._is_due(pos):
            self._record(z, pos, graph, strain)
        if self._tape is None:
            return self.model.potential(z, pos, graph, derivatives, strain)
        found = dict(zip(self._names, self._tape(pos), strict=True))
        return Potential(**{name: found.get(name) for name in Potential._fields})  # type: ignore[arg-type]

    def count(self, graph: Graph, uses: int = 1) -> None:
        """Note evaluations with a graph; another graph begins anew."""
        if graph is not self._graph:
            self.forget()
            self._graph = graph
        self.uses += uses

    def forget(self) -> None:
        """Begin anew, as for other atoms."""
        self.uses, self._graph, self._tape, self._failed = 0, None, None, False

    def _is_due(self, pos: Tensor) -> bool:
        if self.replay is True:
            return True
        is_small = self._graph is not None and self._graph.n_edges <= MOST_EDGES
        return self.uses > REPLAY_AFTER and is_small and pos.device.type == "cpu"

    def _record(self, z: Tensor, pos: Tensor, graph: Graph, strain: bool) -> None:
        """Make the recording, or see that it cannot be had."""

        def evaluate(pos: Tensor) -> tuple[Tensor, ...]:
            potential = self.model.potential(z, pos, graph, True, strain)
            known = {k: v for k, v in potential._asdict().items() if v is not None}
            self._names = list(known)
            return tuple(known.values())

        evaluate(pos)  # what the model keeps of a graph is made now, and not recorded
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
        except Exception:  # what a version of PyTorch cannot record is evaluated as before
            same = False
        self._tape, self._failed = (tape, False) if same else (None, True)
        if self._failed and self.replay is True:
            warnings.warn(
                f"replay=True: {self.model.name} cannot be recorded here; each step is evaluated, "
                "which gives the same numbers and takes longer",
                RuntimeWarning,
                stacklevel=2,
            )

    def __getstate__(self) -> dict[str, object]:
        """The model and the choice alone: a copy makes a recording of its own."""
        return {"model": self.model, "replay": self.replay}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _quiet(tape: Tape) -> Tape:
    """Replay without derivatives, and without rewriting that would depend on how often it ran."""

    def replay(pos: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode(False), torch.no_grad(), torch.jit.optimized_execution(False):
            return tape(pos)

    return replay
