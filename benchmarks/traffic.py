"""The memory limit: the bytes that a step's operators move, and the rate of the memory."""

from __future__ import annotations

import time
from typing import Any

import torch
from measure import Step
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MOVES_NOTHING = ("aten::empty", "aten::new_empty", "aten::_local_scalar_dense")
"""Operators that allocate without writing, or read a single number."""


def bytes_moved(step: Step) -> int:
    """Bytes of all inputs and outputs of every operator of a step, each counted once a call.

    What is read in part (a gather) counts in full, what a cache holds counts as well: the number is
    that of operators which are not fused and of memory without caches. Views move nothing. An
    operator of a library's own (a Triton kernel that is registered as one) counts as one.
    """
    step()
    with _Recorder() as recorder:
        step()
    return recorder.total


def bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of the copy of a large tensor: the best of ten."""
    n = 1 << (30 if device.type == "cuda" else 27)
    source = torch.ones(n, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(10):
        _synchronise(device)
        begin = time.perf_counter()
        target.copy_(source)
        _synchronise(device)
        best = min(best, time.perf_counter() - begin)
    return 2 * n / best


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Recorder(TorchDispatchMode):
    """Adds up the sizes of what operators read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view and not func._schema.name.startswith(MOVES_NOTHING):
            # Broadcast tensors are smaller than their shapes say.
            for x in tree_leaves((args, kwargs, out)):
                if isinstance(x, Tensor):
                    self.total += min(x.numel() * x.element_size(), x.untyped_storage().nbytes())
        return out
