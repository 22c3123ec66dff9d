"""An evaluation on a CPU, recorded once as a list of operations, then replayed.

The energy and forces of a small molecule are about two thousand operations of a few microseconds
each. Most of the time of a step therefore goes into Python, autograd and dispatch. So the
operations of one evaluation, forward and backward, are recorded with the weights and the graph as
constants. From then on PyTorch's own interpreter replays the list: about twice as fast, and with
the same rounding in float32. A recording takes seconds, as long as some hundred evaluations.
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

TOLERANCE: Final = {torch.float32: 1e-4, torch.float64: 1e-9}
"""eV and eV/Å (and Debye), of a replay against the evaluation itself: a few units of rounding."""

ONEDNN: Final = {getattr(getattr(torch.ops.mkldnn, "_linear_pointwise", None), "default", None)}
"""What `molgeo.ops.dense` multiplies larger matrices by; PyTorch's own product takes its place."""

Tape = Callable[[Tensor], tuple[Tensor, ...]]


class Recording:
    """The potential of some atoms with one graph, as a list of operations.

    Args:
        model: its weights must never change.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        graph: of these atoms.
        strain: record the derivative by the strain too.

    Raises:
        RuntimeError: the recording gives other numbers than the evaluation.
        Exception: whatever PyTorch raises if it cannot record the model.
    """

    def __init__(
        self, model: Predictor, z: Tensor, pos: Tensor, graph: Graph, strain: bool
    ) -> None:
        self._graph = graph
        self._names: list[str] = []

        def evaluate(pos: Tensor) -> tuple[Tensor, ...]:
            potential = model.potential(z, pos, graph, True, strain)
            known = {k: v for k, v in potential._asdict().items() if v is not None}
            self._names = list(known)
            return tuple(known.values())

        evaluate(pos)  # what the model keeps of a graph is made now, and not recorded
        with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
            # TorchScript is no longer developed, and still the one interpreter without Python.
            warnings.simplefilter("ignore")
            operations = make_fx(evaluate)(pos.clone())
            for node in operations.graph.nodes:  # TorchScript cannot read its arguments
                if node.target in ONEDNN:
                    node.target, node.args = torch.ops.aten.linear.default, node.args[:3]
            operations.graph.eliminate_dead_code()
            operations.recompile()
            self._tape = _quiet(torch.jit.trace(operations, (pos.clone(),), check_trace=False))
        elsewhere = pos + 0.01 * torch.linspace(-1.0, 1.0, pos.numel()).view_as(pos).to(pos)
        pairs = zip(self._tape(elsewhere), evaluate(elsewhere), strict=True)
        if not all(torch.allclose(a, b, 0.0, TOLERANCE[pos.dtype]) for a, b in pairs):
            raise RuntimeError("the recording gives other numbers")

    def holds(self, graph: Graph, strain: bool) -> bool:
        """Whether it is of this graph."""
        return graph is self._graph

    def __call__(self, z: Tensor, pos: Tensor, graph: Graph) -> Potential:
        """Replay it at other positions."""
        found = dict(zip(self._names, self._tape(pos), strict=True))
        return Potential(**{name: found.get(name) for name in Potential._fields})  # type: ignore[arg-type]


def _quiet(tape: Tape) -> Tape:
    """Replay without derivatives, and without rewriting that would depend on how often it ran."""

    def replay(pos: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode(False), torch.no_grad(), torch.jit.optimized_execution(False):
            return tape(pos)

    return replay
