"""Less memory for more time, if a system is large."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils import checkpoint as checkpointing

from molgeo.runtime.precision import present_precision

MOST_EDGES: Final = 60_000
"""Edges whose activations are kept: 0.7 GB a block of 128 channels and eleven layers."""

CARD_BYTES: Final = 400_000
"""Memory of a card per edge whose activations are kept. DimeNet keeps 100,000 bytes per edge in its
six blocks, 180,000 with forces to train on; DimeNet++ half of that. Half of the card stays free."""


@cache  # a property that the host knows; asked for once, before steps are captured
def most_edges(device: torch.device) -> int:
    """Edges up to which activations are kept.

    Whole batches fit on a card, and there a second forward pass would be what a step waits for.

    Args:
        device: that computes.
    """
    if device.type != "cuda":
        return MOST_EDGES
    memory: int = torch.cuda.get_device_properties(device).total_memory
    return max(MOST_EDGES, memory // CARD_BYTES)


def recompute_if_large(
    function: Callable[..., Tensor], n_edges: int, x: Tensor, *arguments: Any
) -> Tensor:
    """``function(x, *arguments)``, whose intermediates are computed again for the backward pass.

    A block's layers keep some 25 tensors the size of its result. They are worth their memory for a
    batch of molecules, but gigabytes for a liquid. One more forward pass is a third more time.

    Args:
        function: without side effects and random numbers.
        n_edges: of the graph, which decides.
        x: its first argument, on the device that computes.
        *arguments: its other arguments.
    """
    is_traced = torch.compiler.is_compiling()  # a program must hold for any number of edges
    if is_traced or not torch.is_grad_enabled() or n_edges <= most_edges(x.device):
        return function(x, *arguments)
    # Computed again as it was computed, whatever the precision is when the backward pass runs.
    precision = present_precision()
    # A CUDA graph may be captured meanwhile: autograd runs the second pass on the stream of the
    # first one, and compares types and shapes alone. To restore random numbers would be illegal.
    result: Tensor = checkpointing.checkpoint(
        function,
        x,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), precision),
    )
    return result
