"""Linear index operations on sorted edges, closed under differentiation.

Edges are sorted by source, so the sum over the edges of an atom is a sum over a contiguous segment.
Its backward is a gather and the gather's backward is the segment sum; a permutation's backward is
the inverse permutation. Each of them is written once here, so that no backward ever scatters into
random rows, and derivatives of every order use the same three kernels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from molgeo.graph.edges import Graph


def segment_sum(x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
    """Sum rows over contiguous segments: ``out[a] = Σ_{ptr[a] ≤ e < ptr[a+1]} x[e]``.

    Args:
        x: (rows, …) floating point.
        index: (rows,) int64, segment of each row, ascending.
        ptr: (segments + 1,) int64, bounds of the segments.

    Returns:
        (segments, …), zero for empty segments.
    """
    return _SegmentSum.apply(x, index, ptr)


def gather(x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
    """Repeat rows over segments: ``out[e] = x[index[e]]``; the transpose of `segment_sum`.

    Args:
        x: (segments, …) floating point.
        index: (rows,) int64, ascending.
        ptr: (segments + 1,) int64, bounds of the segments.

    Returns:
        (rows, …).
    """
    return _Gather.apply(x, index, ptr)


def permute(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """Reorder rows: ``out[e] = x[index[e]]`` with ``index[inverse] = arange``.

    Args:
        x: (rows, …) floating point.
        index: (rows,) int64, a permutation.
        inverse: (rows,) int64, its inverse; an involution is its own.

    Returns:
        (rows, …).
    """
    return _Permute.apply(x, index, inverse)


def molecule_sum(x: Tensor, graph: Graph) -> Tensor:
    """Sum atoms over their molecule: (atoms, …) → (molecules, …)."""
    return x.new_zeros(graph.n_molecules, *x.shape[1:]).index_add(0, graph.batch, x)


class _SegmentSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
        ctx.save_for_backward(index, ptr)
        n_segments = ptr.numel() - 1
        if x.dim() == 2 and x.dtype == torch.float32 and x.device.type == "cpu" and x.numel():
            # The one vectorised, parallel segment sum of PyTorch's CPU backend.
            rows = torch.arange(x.shape[0])
            return F.embedding_bag(rows, x, ptr[:-1], mode="sum")
        return x.new_zeros(n_segments, *x.shape[1:]).index_add_(0, index, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, ptr = ctx.saved_tensors
        return gather(grads[0], index, ptr), None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, ptr: Tensor) -> Tensor:
        ctx.save_for_backward(index, ptr)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, ptr = ctx.saved_tensors
        return segment_sum(grads[0].contiguous(), index, ptr), None, None


class _Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(index, inverse)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        return permute(grads[0], inverse, index), None, None
