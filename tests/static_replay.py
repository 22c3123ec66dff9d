"""One call's operators, replayed on the very same memory: what a CUDA graph does, on a CPU.

A CUDA graph repeats the kernels of one call, each with the addresses it had then. Python is not run
again: a number that Python computed, a branch that it took and a shape stay as they were. So what
shall be captured is right on a card if its replay here, after its static inputs were changed, gives
what a fresh call gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten

SHAPE = "makes a tensor whose shape the host must know"

REFUSED = {
    aten._local_scalar_dense.default: "reads a number of the device",
    aten.lift_fresh.default: "copies a new tensor from the host",
    aten.nonzero.default: SHAPE,
    aten.masked_select.default: SHAPE,
    aten._unique2.default: SHAPE,
    aten.unique_consecutive.default: SHAPE,
    aten.bincount.default: SHAPE,
}
"""Operators that a capture of a CUDA graph ends with an error at, and why."""


class NotCapturedError(RuntimeError):
    """A CUDA graph cannot hold what was called."""


class StaticReplay(TorchDispatchMode):
    """Records the operators of one call, backward passes and updates in place included.

    Tensors of the call are kept: none of its memory is used for anything else. A view follows the
    tensor that it is of. A replay may be made in any mode of autograd.

        with StaticReplay() as graph:
            result = function(x)
        x.copy_(other)
        graph.replay()  # now `result` holds what function(other) gives

    Attributes:
        operators: operators recorded, with arguments and results.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    @classmethod
    def capture(cls, function: Callable[[], Any]) -> Callable[[], None]:
        """Call a function, and make its replay: as a CUDA graph's, but that a capture computes too.

        Args:
            function: without arguments and results; it works on tensors that stay.
        """
        with cls() as graph:
            function()
        return graph.replay

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator, and note it."""
        is_number = func is aten.lift_fresh.default and args[0].dim() == 0  # as in x[0] = 7
        if (func in REFUSED and not is_number) or _is_indexed_by_mask(func, args):
            raise NotCapturedError(f"{func}: {REFUSED.get(func, SHAPE)}")
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.operators.append((func, args, kwargs, result))
        return result

    @torch.inference_mode()
    @torch.autocast("cpu", enabled=False)  # casts were recorded
    def replay(self) -> None:
        """Run the operators again, each on the tensors and into the tensors that it had."""
        for func, args, kwargs, result in self.operators:
            inputs = {_memory(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            results = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
            fresh = [_memory(t) not in inputs for t in results]
            if not func._schema.is_mutable and not any(fresh):
                continue  # a view
            again = [t for t in tree_leaves(func(*args, **kwargs)) if isinstance(t, Tensor)]
            for before, now, is_fresh in zip(results, again, fresh, strict=True):
                if is_fresh:
                    before.copy_(now)


def _is_indexed_by_mask(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether elements are taken by a boolean mask; to set them by one needs no count."""
    masks = (torch.bool, torch.uint8)
    return func is aten.index.Tensor and any(t is not None and t.dtype in masks for t in args[1])


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
