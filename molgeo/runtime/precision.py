"""The precision of float32 matrix products, as a context; and of buffers that none may round."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Self

import torch
from torch import Tensor, nn

MatmulPrecision = Literal["highest", "high", "medium"]


class MatmulPrecisionContext:
    """Multiply float32 matrices in a precision, then as before. PyTorch's setting is global.

    One context can be entered again and again, as each backward pass through a recomputed block
    does, but not inside itself.

    Args:
        precision: ``highest``, ``high`` or ``medium``, as `torch.set_float32_matmul_precision`.
    """

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def __enter__(self) -> None:
        self._before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(self.precision)

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision(self._before)


def matmul_precision(precision: MatmulPrecision = "highest") -> MatmulPrecisionContext:
    """A context in which float32 matrices are multiplied in this precision.

    Args:
        precision: ``highest``, ``high`` or ``medium``.
    """
    return MatmulPrecisionContext(precision)


def present_precision() -> MatmulPrecisionContext:
    """A context in which float32 matrices are multiplied as they are now."""
    return MatmulPrecisionContext(torch.get_float32_matmul_precision())


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Operations in the types of their arguments, whatever autocast is on for a tensor's device.

    Args:
        x: an argument.
    """
    device = x.device.type
    return (
        torch.autocast(device, enabled=False)
        if torch.is_autocast_enabled(device)
        else nullcontext()
    )


def full_on_cpu(x: Tensor) -> AbstractContextManager[None]:
    """Full precision for products of a tensor that is on a CPU.

    Small products take less time than their conversion to bfloat16. The setting is global, so it
    is left alone if it is ``highest`` already.

    Args:
        x: a factor.
    """
    if torch.compiler.is_compiling():  # PyTorch's compiler does not know the setting
        return nullcontext()
    if x.device.type != "cpu" or torch.get_float32_matmul_precision() == "highest":
        return nullcontext()
    return matmul_precision()


class Exact(nn.Module):
    """A module whose buffers keep their types, whatever precision a model is set to."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move with the module, but round no buffer: ``model.half()`` keeps float32 and float64."""
        exact = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, buffer in exact.items():
            moved: Tensor = getattr(self, name)
            if moved.dtype != buffer.dtype:
                setattr(self, name, buffer.to(moved.device))
        return self
