"""Sums over edges, pairs and molecules, a maximum, and what is taken from them to edges.

A gather's derivative is a sum and a sum's derivative is a gather, so that two functions serve all
orders. They keep indices alone. PyTorch's own `index_add` keeps what it has added, for its shape,
which would be a twentieth of DimeNet's memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.derivatives import wanted

EDGES_PER_RUN = 2048
"""Edges taken at a time on a CPU: 1 MB of 128 float32 channels, as large as L2."""


def gather(x: Tensor, index: Tensor) -> Tensor:
    """``out[e] = x[index[e]]``, (rows, …) → (n, …): the transpose of `scatter_sum`."""
    return _Gather.apply(x, index)


def scatter_sum(x: Tensor, index: Tensor, n_rows: int) -> Tensor:
    """``out[r] = Σ x[e]`` over all e with ``index[e] = r``, (n, …) → (n_rows, …)."""
    return _ScatterSum.apply(x, index, n_rows)


def expand_pairs(x: Tensor, graph: Graph, sign: float = 1.0) -> Tensor:
    """Give both edges of each undirected pair the pair's row, (pairs, …) → (edges, …).

    Args:
        x: (pairs, …) floating point.
        graph: the edges.
        sign: factor of the row on the reverse of the pair's forward edge; −1 for vectors.
    """
    rows = gather(x, graph.pair)
    if sign == 1.0:
        return rows
    signs = x.new_ones(graph.n_edges).index_fill_(0, graph.reverse[graph.forward], sign)
    return rows * signs.view(-1, *[1] * (x.dim() - 1))


def fold_pairs(x: Tensor, graph: Graph) -> Tensor:
    """Sum both edges of each undirected pair: (edges, …) → (pairs, …)."""
    return scatter_sum(x, graph.pair, graph.forward.numel())


def scale_pairs(x: Tensor, scale: Tensor, graph: Graph) -> Tensor:
    """``out_ji = w_ij ∘ x_ji``: both edges of each undirected pair times the pair's row.

    The same as ``x * expand_pairs(scale, graph)``, but of the edges' size nothing is kept except x.

    Args:
        x: (edges, channels).
        scale: (pairs, channels) w.
        graph: the edges.
    """
    return _ScalePairs.apply(x, scale, graph)


def sum_scaled(x: Tensor, scale: Tensor, graph: Graph) -> Tensor:
    """``out_i = Σ_j w_ij ∘ x_ji`` over the edges that end at an atom, (atoms, channels).

    Args:
        x: (edges, channels).
        scale: (pairs, channels) w.
        graph: the edges.
    """
    return scatter_sum(scale_pairs(x, scale, graph), graph.target, graph.n_atoms)


def to_edges(at_target: Tensor, at_source: Tensor, of_pair: Tensor, graph: Graph) -> Tensor:
    """``out_ji = a_i + b_j + c_ij``, (edges, channels), of both ends of an edge and its pair.

    Args:
        at_target: (atoms, channels) a.
        at_source: (atoms, channels) b.
        of_pair: (pairs, channels) c.
        graph: the edges.
    """
    ends = gather(at_target, graph.target) + gather(at_source, graph.source)
    return ends + gather(of_pair, graph.pair)


def molecule_sum(x: Tensor, graph: Graph) -> Tensor:
    """Sum atoms over their molecule: (atoms, …) → (molecules, …)."""
    return scatter_sum(x, graph.batch, graph.n_molecules)


def molecule_max(x: Tensor, graph: Graph) -> Tensor:
    """Largest of each channel over the atoms of a molecule: (atoms, channels) → (molecules, …)."""
    index = graph.batch.unsqueeze(-1).expand_as(x)
    least = x.new_full((graph.n_molecules, x.shape[1]), -torch.inf)
    return least.scatter_reduce(0, index, x, "amax")


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.n_rows = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return scatter_sum(grads[0], index, ctx.n_rows), None


class _ScatterSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, n_rows: int) -> Tensor:
        ctx.save_for_backward(index)
        return x.new_zeros(n_rows, *x.shape[1:]).index_add_(0, index, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (index,) = ctx.saved_tensors
        return gather(grads[0], index), None, None


class _ScalePairs(torch.autograd.Function):
    """``out_e = w_p ∘ x_e``, with the derivatives ``w_p ∘ g_e`` and ``Σ g_e ∘ x_e``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, graph: Graph) -> Tensor:
        ctx.save_for_backward(x, scale)
        ctx.graph = graph
        return scale.index_select(0, graph.pair).mul_(x)  # w_p ∘ x_e

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, scale = ctx.saved_tensors
        grad, graph = grads[0], ctx.graph
        need_x, need_scale, _ = wanted(ctx)
        grad_x = scale_pairs(grad, scale, graph) if need_x else None  # w_p ∘ g_e
        grad_scale = fold_pairs(grad * x, graph) if need_scale else None  # Σ g_e ∘ x_e
        return grad_x, grad_scale, None
