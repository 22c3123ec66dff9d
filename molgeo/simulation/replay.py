"""The same evaluation many times over: when it is replayed, and by what.

A simulation asks for the same operations again and again. On a CPU they are recorded as a list
(`molgeo.simulation.recording`) or, if the user wants it, compiled (`molgeo.simulation.compiled`),
on a card they are captured as a CUDA graph (`molgeo.simulation.captured`).
"""

from __future__ import annotations

import warnings
from typing import Final, Literal

import torch
from torch import Tensor

from molgeo.graph import Graph
from molgeo.graph.padding import Capacity
from molgeo.predictor import Potential, Predictor
from molgeo.runtime.cuda_graphs import Capture, capture_on
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.threads import one_thread
from molgeo.simulation.captured import Captured
from molgeo.simulation.compiled import Compiled, missing
from molgeo.simulation.recording import Recording

Replay = bool | Literal["auto", "compiled"]

REPLAY_AFTER: Final = 400
"""Evaluations with one graph before ``auto`` records: so many cost as much as a recording."""

CAPTURE_AFTER: Final = 3
"""Evaluations of the same atoms before ``auto`` captures: about as many cost as much."""

MOST_EDGES: Final = 4000
"""Edges up to which ``auto`` records: beyond, the operations themselves take the time. The graph of
a molecule that has no more between all of its atoms (63 atoms) holds all, so that it never changes,
unless the model has triplets."""

SERIAL_EDGES: Final = 20_000
"""Edges up to which one thread computes on a CPU: those of some 400 atoms."""


def check_replay(replay: object, device: torch.device) -> None:
    """Refuse a way that there is not, or not here.

    Args:
        replay: as of `Replayed`.
        device: of the models.

    Raises:
        SettingError: it is none, or nothing can be compiled here.
    """
    if replay not in (True, False, "auto", "compiled"):
        raise SettingError(f"replay: expected True, False, 'auto' or 'compiled', got {replay!r}")
    if replay == "compiled" and (reason := missing(device)):
        raise SettingError(f"--compile (replay='compiled'): {reason}")


class Replayed:
    """A model whose potential is replayed.

    ``auto`` decides by counting evaluations, not by a clock, so that runs can be repeated.

    Args:
        model: its weights must never change.
        replay: True replays from the first evaluation with derivatives on; False never replays;
            "compiled" compiles the model and computes graphs of up to `SERIAL_EDGES` so;
            "auto" replays on a CPU a graph of up to `MOST_EDGES` after `REPLAY_AFTER` evaluations
            with it, and on a card any graph after `CAPTURE_AFTER` evaluations of the same atoms,
            or at once if it fits into what was captured for others.
        records: whether anything is recorded on a CPU.

    Attributes:
        uses: evaluations with derivatives of the present graph; on a card, of the present atoms.
    """

    uses: int
    _graph: Graph | None
    _made: Recording | Captured | None
    _limits: list[int]

    def __init__(self, model: Predictor, replay: Replay = "auto", records: bool = True) -> None:
        self._capture: Capture | None = capture_on(model.scale.device)
        may = records or self._capture is not None or replay == "compiled"
        self.model, self.replay = model, replay if may else False
        self._made = None
        self._compiled: dict[bool, Compiled | None] = {}
        self.forget()

    def potential(
        self, z: Tensor, pos: Tensor, graph: Graph, derivatives: bool = True, strain: bool = False
    ) -> Potential:
        """As `Predictor.potential`; ``z`` and ``strain`` belong to the graph, as its atoms do."""
        with one_thread(graph.n_edges <= SERIAL_EDGES):
            return self._potential(z, pos, graph, derivatives, strain)

    def _potential(
        self, z: Tensor, pos: Tensor, graph: Graph, derivatives: bool, strain: bool
    ) -> Potential:
        if not derivatives or self.replay is False:
            return self.model.potential(z, pos, graph, derivatives, strain)
        if self.replay == "compiled":
            return self._by_library(z, pos, graph, strain)
        self.count(graph)
        if self._made is not None and not self._made.holds(graph, strain):
            self._made = None
        if self._made is None and not self._failed and self._is_due():
            self._make(z, pos, graph, strain)
        if self._made is None:
            return self.model.potential(z, pos, graph, derivatives, strain)
        return self._made(z, pos, graph)

    def count(self, graph: Graph, uses: int = 1) -> None:
        """Note evaluations with a graph; on a CPU another graph begins anew."""
        if graph is not self._graph:
            if self._capture is None:
                self.forget()
            self._graph = graph
        self.uses += uses

    def forget(self) -> None:
        """Begin anew, as for other atoms."""
        self.uses, self._failed = 0, False
        self._graph, self._limits = None, []
        if isinstance(self._made, Captured):
            self._made.forget()  # and used if it holds them
        else:
            self._made = None

    @property
    def limits(self) -> list[int]:
        """Of the capacity that graphs are padded to, on which their rounding depends."""
        return [*self._made.capacity.limits] if isinstance(self._made, Captured) else self._limits

    def restore(self, graph: Graph, uses: int, limits: list[int]) -> None:
        """Go on as another one would: arguments are what it had."""
        self._made = None
        self.count(graph, uses)
        self._limits = limits

    def _by_library(self, z: Tensor, pos: Tensor, graph: Graph, strain: bool) -> Potential:
        """Compiled, unless the graph is so large that threads pay, or it cannot be compiled."""
        if graph.n_edges > SERIAL_EDGES:
            return self.model.potential(z, pos, graph, True, strain)
        if strain not in self._compiled:
            try:
                self._compiled[strain] = Compiled(self.model, z, pos, graph, strain)
            except Exception as error:  # of PyTorch or of the compiler
                self._compiled[strain] = None
                self._warn("compiled", error)
        compiled = self._compiled[strain]
        if compiled is None:
            return self.model.potential(z, pos, graph, True, strain)
        return compiled(z, pos, graph)

    def _warn(self, what: str, error: Exception) -> None:
        warnings.warn(
            f"replay={self.replay!r}: {self.model.name} cannot be {what} here "
            f"({one_line(error, 100)}); each step is evaluated, which takes longer",
            RuntimeWarning,
            stacklevel=4,
        )

    def _is_due(self) -> bool:
        if self.replay is True:
            return True
        if self._capture is not None:
            return self.uses > CAPTURE_AFTER or bool(self._limits)
        is_small = self._graph is not None and self._graph.n_edges <= MOST_EDGES
        return self.uses > REPLAY_AFTER and is_small

    def _make(self, z: Tensor, pos: Tensor, graph: Graph, strain: bool) -> None:
        """Make what is replayed, or see that it cannot be had."""
        given = self.model, z, pos, graph, strain
        try:
            if self._capture is None:
                self._made = Recording(*given)
            else:
                room = Capacity(tuple(self._limits)) if self._limits else None
                self._made = Captured(*given, self._capture, room)
                self._limits = []
        except Exception as error:  # what a version of PyTorch cannot replay is evaluated as before
            self._failed = True
            if self.replay is True:
                self._warn("replayed", error)

    def __getstate__(self) -> dict[str, object]:
        """The model and the choice alone: a copy makes a recording of its own."""
        return {"model": self.model, "replay": self.replay}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]
