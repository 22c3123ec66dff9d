"""Calls that are captured once on a card and replayed: one launch instead of thousands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""From a function, which it may call, to its replay.

The function has no arguments and no results. It works on tensors that stay. What was made by its
last call is what replays fill."""

WARM_UPS: Final = 3
"""Calls before a capture: by then libraries have chosen their kernels and taken their memory."""

_ONE_AT_A_TIME = threading.Lock()
"""A capture begins by waiting for the card, which would end that of another thread."""

_FAILED: list[torch.cuda.CUDAGraph] = []
"""Graphs whose captures failed."""


class CudaGraphs:
    """Captures functions as CUDA graphs, one after the other in the same memory.

    A graph must not read what another one has left there. The results of one are overwritten by
    the next replay of any other.

    Args:
        device: the card that the functions compute on.

    Source:
        PyTorch's documentation, "CUDA semantics", whole-network capture.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        self._last: torch.cuda.CUDAGraph | None = None

    def __call__(self, function: Callable[[], None]) -> Callable[[], None]:
        """Warm up, then capture, both beside the stream that all else is on.

        Args:
            function: without arguments and results; it works on tensors that stay.

        Returns:
            The replay.
        """
        stream, current = self._stream, torch.cuda.current_stream(self._device)
        stream.wait_stream(current)
        # The stream is left here, which a capture that fails would not do.
        with _ONE_AT_A_TIME, torch.cuda.stream(stream):
            try:
                for _ in range(WARM_UPS):
                    function()
            finally:  # one that fails has begun what may still write
                current.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            self._capture(graph, function)
        # Memory of which no graph is left any more cannot be captured in again.
        self._last = graph
        return graph.replay

    def _capture(self, graph: torch.cuda.CUDAGraph, function: Callable[[], None]) -> None:
        """Capture on the present stream."""
        # Other threads, such as one that pins memory, may do what a capture must not.
        mode, stream = "thread_local", self._stream
        reason: RuntimeError | None = None
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode=mode):
                try:
                    function()
                except RuntimeError as error:
                    reason = error
                    raise
        except RuntimeError as error:  # which may say that a capture has failed, but not why
            # PyTorch (2.11) goes on to refer to the graph, and to record into its memory.
            _FAILED.append(graph)
            self._pool = torch.cuda.graph_pool_handle()
            raise reason or error from None
        finally:
            del reason  # its frames hold this one, and what the function had in memory


@torch.no_grad()
def copy_all(into: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    """Copy tensors into others of their shapes; those of one type take one launch.

    Args:
        into: what a replay reads.
        tensors: as many, on the same device.
    """
    of_type: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for there, here in zip(into, tensors, strict=True):
        pairs = of_type.setdefault(here.dtype, ([], []))
        pairs[0].append(there)
        pairs[1].append(here)
    for there_all, here_all in of_type.values():
        torch._foreach_copy_(there_all, here_all, non_blocking=True)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device had no memory left, be it for a tensor or for a graph of CUDA's.

    Args:
        error: of PyTorch.
    """
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)


def capture_on(device: torch.device) -> Capture | None:
    """How functions are captured on a device; None if they are not.

    Args:
        device: a card, or anything else.
    """
    return CudaGraphs(device) if device.type == "cuda" else None
