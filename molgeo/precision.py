"""The precision of float32 matrix products, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

MatmulPrecision = Literal["highest", "high", "medium"]


@contextmanager
def matmul_precision(precision: MatmulPrecision = "highest") -> Iterator[None]:
    """Multiply float32 matrices in this precision, then as before; it is a global of PyTorch.

    Args:
        precision: ``highest``, ``high`` or ``medium``, as `torch.set_float32_matmul_precision`.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
