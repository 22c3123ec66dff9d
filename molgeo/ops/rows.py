"""Rows into the slots of neighbourhoods and back, closed under differentiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Which row goes to each slot, and to which slots each row went.

    ``back`` leaves out padded slots: whatever is there counts nothing, as the harmonics are zero.
    """

    index: Tensor
    back: tuple[Tensor, ...]


def take(x: Tensor, rows: Rows) -> Tensor:
    """``out[s] = x[index[s]]``."""
    return _Take.apply(x, rows)


def collect(x: Tensor, rows: Rows) -> Tensor:
    """``out[r] = Σ x[s]`` over the slots s of row r: the transpose of `take`."""
    return _Collect.apply(x, rows)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        return x.index_select(0, rows.index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return collect(grads[0], ctx.rows), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        total = x.index_select(0, rows.back[0])
        for index in rows.back[1:]:
            total += x.index_select(0, index)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return take(grads[0], ctx.rows), None
