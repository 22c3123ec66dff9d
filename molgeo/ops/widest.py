"""The type in which operands of several types are computed with."""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
from torch import Tensor


def widest(operands: Iterable[Tensor]) -> torch.dtype:
    """The narrowest type that all operands fit in, of at least one."""
    return functools.reduce(torch.promote_types, (operand.dtype for operand in operands))
