"""Less memory for more time, if a system is large."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils import checkpoint as checkpointing

from molgeo.runtime.precision import present_precision

MOST_EDGES = 60_000
"""Edges whose activations are kept: half a gigabyte a block of 128 channels and eleven layers."""


def recompute_if_large(function: Callable[..., Tensor], n_edges: int, *arguments: Any) -> Tensor:
    """``function(*arguments)``, whose intermediates are computed again for the backward pass.

    A block's layers keep some 25 tensors the size of its result. They are worth their memory for a
    batch of molecules, but gigabytes for a liquid. One more forward pass is a third more time.

    Args:
        function: without side effects.
        n_edges: of the graph, which decides.
        *arguments: its arguments.
    """
    is_traced = torch.compiler.is_compiling()  # a program must hold for any number of edges
    if is_traced or n_edges <= MOST_EDGES or not torch.is_grad_enabled():
        return function(*arguments)
    # Computed again as it was computed, whatever the precision is when the backward pass runs.
    precision = present_precision()
    result: Tensor = checkpointing.checkpoint(
        function,
        *arguments,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=lambda: (nullcontext(), precision),
    )
    return result
