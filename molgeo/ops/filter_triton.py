"""SchNet's continuous-filter convolution in Triton: gather, filter and sum in one kernel.

    T(h, W)_i = Σ_{j∈N(i)} W_ij ∘ h_j          (atoms, filters)
    Q(g, h)_p = g_a ∘ h_b + g_b ∘ h_a          (pairs, filters), for each pair p = {a, b}

Messages stay in registers, and every row is written once: no atomics, and a result does not change
from run to run. Sums are in float32, or float64 if the arguments are. The padding edges of a graph,
which leave no atom, count nowhere.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from molgeo.graph.edges import Graph

EDGES = 16
"""Edges or pairs taken at a time."""

CHANNELS = 128
"""Most channels of a program."""


def convolution(h: Tensor, filters: Tensor, graph: Graph) -> Tensor:
    """T of (atoms, filters) features and (pairs, filters) filters, of the type of the features."""
    h, filters = h.contiguous(), filters.contiguous()
    out = torch.empty_like(h)
    width, block = _blocks(h)
    if out.numel():
        with torch.cuda.device_of(h):
            _convolution_kernel[graph.n_atoms, triton.cdiv(width, block)](
                h, filters, graph.target, graph.pair, graph.ptr, out, width, EDGES, block, _sum(h)
            )
    return out


def pair_product(g: Tensor, h: Tensor, graph: Graph) -> Tensor:
    """Q of two (atoms, filters) tensors, of the type of the first."""
    g, h = g.contiguous(), h.contiguous()
    n_pairs = graph.forward.numel()
    out = g.new_empty(n_pairs, g.shape[1])
    width, block = _blocks(g)
    if out.numel():
        with torch.cuda.device_of(g):
            _pair_kernel[triton.cdiv(n_pairs, EDGES), triton.cdiv(width, block)](
                g, h, graph.source, graph.target, graph.forward, graph.ptr, out, n_pairs,
                width, EDGES, block, _sum(g),
            )  # fmt: skip
    return out


def _blocks(h: Tensor) -> tuple[int, int]:
    """Channels in all, and of one program."""
    return h.shape[1], min(triton.next_power_of_2(h.shape[1]), CHANNELS)


def _sum(h: Tensor) -> tl.dtype:
    """Type of the arithmetic."""
    return tl.float64 if h.dtype == torch.float64 else tl.float32


@triton.jit
def _convolution_kernel(
    h, filters, target, pair, ptr, out,
    C: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """One atom, some channels: the edges that leave it lead to its neighbours."""
    atom = tl.program_id(0).to(tl.int64)
    first, last = tl.load(ptr + atom), tl.load(ptr + atom + 1)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((TILE, BLOCK), DTYPE)
    for start in range(first, last, TILE):
        edge = start + tl.arange(0, TILE)
        kept = (edge < last)[:, None] & (channel < C)[None, :]
        j = tl.load(target + edge, mask=edge < last, other=0)
        p = tl.load(pair + edge, mask=edge < last, other=0)
        h_j = tl.load(h + j[:, None] * C + channel[None, :], mask=kept, other=0.0)
        w_ij = tl.load(filters + p[:, None] * C + channel[None, :], mask=kept, other=0.0)
        total += h_j.to(DTYPE) * w_ij.to(DTYPE)
    tl.store(out + atom * C + channel, tl.sum(total, axis=0), mask=channel < C)


@triton.jit
def _pair_kernel(
    g, h, source, target, forward, ptr, out, n_pairs,
    C: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr, DTYPE: tl.constexpr,
):  # fmt: skip
    """Some pairs, some channels."""
    p = tl.program_id(0).to(tl.int64) * TILE + tl.arange(0, TILE)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (p < n_pairs)[:, None] & (channel < C)[None, :]
    edge = tl.load(forward + p, mask=p < n_pairs, other=0)
    atom = tl.load(source + edge)
    kept = inside & (edge < tl.load(ptr + atom + 1))[:, None]  # else it is padding: zero
    a = atom[:, None] * C + channel[None, :]
    b = tl.load(target + edge)[:, None] * C + channel[None, :]
    g_a = tl.load(g + a, mask=kept, other=0.0).to(DTYPE)
    h_b = tl.load(h + b, mask=kept, other=0.0).to(DTYPE)
    g_b = tl.load(g + b, mask=kept, other=0.0).to(DTYPE)
    h_a = tl.load(h + a, mask=kept, other=0.0).to(DTYPE)
    tl.store(out + p[:, None] * C + channel[None, :], g_a * h_b + g_b * h_a, mask=inside)
