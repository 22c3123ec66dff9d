"""The sum over triplets k→j→i of directional message passing, in two exact forms.

    m_ji[c] = Σ_{k∈N(j)∖i} x_kj[c] Σ_l Y_l0(α) S_kj[l,c],    cos α = û_ji · û_kj

``Y_l0(α) = √((2l+1)/4π) P_l(cos α)`` is a polynomial in a dot product of unit vectors: no angle is
ever computed, hence all derivatives are finite where α is 0° or 180°.

``reference`` goes over explicit triplets and is the oracle. ``gram`` sees that all but Y belongs to
one edge, so that the neighbourhood of an atom j is one matrix product: ``out_j = Y_j (x·S)_j`` with
the harmonics Y_j of the Gram matrix of its unit vectors. Those depend on the geometry alone and are
shared by all the sums of a model.

The filters come in two factors, ``S_kj[l,c] = Σ_b T_kj[l,b] W[c,b]``, and are never held for all
edges: on a CPU everything between the factors and the messages stays in a core's cache.

Source:
    Gasteiger, Giri, Margraf, Günnemann, arXiv:2011.14115 (DimeNet++), eq. 2 and 3.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from molgeo.graph.edges import Graph
from molgeo.graph.slots import Slots, neighbour_slots
from molgeo.graph.triplets import triplets
from molgeo.ops.rows import Rows, collect, take
from molgeo.ops.segment import expand_pairs

Form = Literal["reference", "gram"]

ROWS_PER_BLOCK = 512
"""Padded edges taken at a time on a CPU: 1 MB of 7 · 64 float32 each, as large as L2."""


class DirectionalSum(Protocol):
    """The sum for one geometry; call it for each pair of features and filters."""

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        """Sum over triplets.

        Args:
            x: (edges, channels) features x_kj.
            radial: (pairs, n_spherical, rank) the filters' factor T, the same in both directions.
            weight: (channels, rank) the filters' factor W.

        Returns:
            (edges, channels) messages m_ji, of the widest type of the arguments.
        """


def directional_sum(
    unit: Tensor, graph: Graph, n_spherical: int, form: Form = "gram"
) -> DirectionalSum:
    """Prepare the directional sum for one geometry.

    Args:
        unit: (pairs, 3) unit vector of each pair along its forward edge.
        graph: the edges.
        n_spherical: number of orders l = 0 … n_spherical − 1.
        form: ``gram`` or ``reference``; both give the same result.

    Returns:
        The sum, a function of features and filters.

    Raises:
        ValueError: ``form`` is unknown.
    """
    if form == "gram":
        return _Gram(unit, graph, n_spherical)
    if form == "reference":
        return _Reference(unit, graph, n_spherical)
    raise ValueError(f"form: expected 'gram' or 'reference', got {form!r}")


def zonal_harmonics(cosine: Tensor, n_spherical: int) -> Tensor:
    """``Y_l0(α) = √((2l+1)/4π) P_l(cos α)`` for l = 0 … n_spherical − 1.

    By Bonnet's recurrence ``l P_l = (2l−1) x P_{l−1} − (l−1) P_{l−2}``, a polynomial in the cosine.

    Args:
        cosine: (…,) cos α.
        n_spherical: number of orders, at least 1.

    Returns:
        (…, n_spherical).
    """
    p = [torch.ones_like(cosine), cosine]
    for l in range(2, n_spherical):
        p.append((2 - 1 / l) * cosine * p[-1] - (1 - 1 / l) * p[-2])
    norm = [math.sqrt((2 * l + 1) / (4 * math.pi)) for l in range(n_spherical)]
    return torch.stack([n * p_l for n, p_l in zip(norm, p, strict=False)], dim=-1)


class _Reference:
    """Explicit triplets: Θ(triplets · n_spherical · channels) memory."""

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.graph = graph
        self.kj, self.ji = triplets(graph)
        u = expand_pairs(unit, graph, sign=-1.0)
        self.harmonics = zonal_harmonics((u[self.ji] * u[self.kj]).sum(-1), n_spherical)

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        filters = F.linear(radial, weight)[self.graph.pair[self.kj]]
        messages = x[self.kj] * torch.einsum("tl,tlc->tc", self.harmonics, filters)
        return messages.new_zeros(x.shape).index_add(0, self.ji, messages)


class _Gram:
    """One matrix product for each atom, over blocks of atoms of similar degree."""

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        rows = ROWS_PER_BLOCK if unit.device.type == "cpu" else graph.n_edges + graph.n_atoms
        self.blocks, position = neighbour_slots(graph, rows)
        self.sizes = [block.edge.numel() for block in self.blocks]
        edge = torch.cat([block.edge.flatten() for block in self.blocks] or [graph.source])
        forward, reverse = graph.forward, graph.reverse
        # Slot s of atom j takes in the edge k→j and gives out the edge j→k, its reverse.
        self.given = Rows(edge, (position,))
        self.taken = Rows(reverse[edge], (position[reverse],))
        self.pair = Rows(graph.pair[edge], (position[forward], position[reverse[forward]]))
        u = take(expand_pairs(unit, graph, sign=-1.0), self.given).split(self.sizes)
        self.harmonics = [
            _block_harmonics(u_block.view(*block.edge.shape, 3), block, n_spherical)
            for u_block, block in zip(u, self.blocks, strict=False)
        ]

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, radial.dtype)
        for operand in (weight, *self.harmonics[:1]):
            dtype = torch.promote_types(dtype, operand.dtype)
        with torch.autocast(x.device.type, enabled=False):
            x, radial, weight = x.to(dtype), radial.to(dtype), weight.to(dtype)
            return _BlockSum.apply(self, x, radial, weight, *self.harmonics)


class _BlockSum(torch.autograd.Function):
    """The sum and its first derivatives, block by block; nothing slot-sized outlives a block."""

    @staticmethod
    def forward(
        ctx: Any, gram: _Gram, x: Tensor, radial: Tensor, weight: Tensor, *harmonics: Tensor
    ) -> Tensor:
        ctx.gram = gram
        ctx.save_for_backward(x, radial, weight, *harmonics)
        taken, pairs = gram.taken.index.split(gram.sizes), gram.pair.index.split(gram.sizes)
        out = x.new_empty(sum(gram.sizes), x.shape[1])
        for y, edges, pair, rows in zip(
            harmonics, taken, pairs, out.split(gram.sizes), strict=False
        ):
            z = F.linear(radial.index_select(0, pair), weight)  # (rows, n_spherical, channels)
            z *= x.index_select(0, edges).unsqueeze(1)
            torch.bmm(y, z.view(len(y), y.shape[2], -1), out=rows.view(*y.shape[:2], -1))
        return out.index_select(0, gram.given.back[0])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gram: _Gram = ctx.gram
        x, radial, weight, *harmonics = ctx.saved_tensors
        with torch.autocast(x.device.type, enabled=False):
            if torch.is_grad_enabled():  # to be differentiated again
                needed = [n for n, need in enumerate(ctx.needs_input_grad[1:]) if need]
                inputs = (x, radial, weight, *harmonics)
                out = _differentiable_block_sum(gram, *inputs)
                found = torch.autograd.grad(
                    out, [inputs[n] for n in needed], grads[0], create_graph=True
                )
                result: list[Tensor | None] = [None] * (len(inputs) + 1)
                for n, gradient in zip(needed, found, strict=True):
                    result[n + 1] = gradient
                return tuple(result)
            return None, *_block_gradients(
                gram, grads[0], x, radial, weight, harmonics, any(ctx.needs_input_grad[4:])
            )


def _block_gradients(
    gram: _Gram,
    grad: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    harmonics: list[Tensor],
    need_harmonics: bool,
) -> list[Tensor | None]:
    """Derivatives by x, radial, weight and each of the harmonics."""
    n_rows = sum(gram.sizes)
    grad_x = x.new_empty(n_rows, x.shape[1])
    grad_radial = radial.new_empty(n_rows, *radial.shape[1:])
    grad_weight = torch.zeros_like(weight)
    grad_harmonics: list[Tensor | None] = []
    for y, given, taken, pair, x_out, radial_out in zip(
        harmonics,
        gram.given.index.split(gram.sizes),
        gram.taken.index.split(gram.sizes),
        gram.pair.index.split(gram.sizes),
        grad_x.split(gram.sizes),
        grad_radial.split(gram.sizes),
        strict=False,
    ):
        g = grad.index_select(0, given).view(*y.shape[:2], -1)
        x_kj = x.index_select(0, taken).unsqueeze(1)  # (rows, 1, channels)
        t_kj = radial.index_select(0, pair)  # (rows, n_spherical, rank)
        s_kj = F.linear(t_kj, weight)  # (rows, n_spherical, channels)
        v = torch.bmm(y.transpose(1, 2), g).view(s_kj.shape)
        if need_harmonics:
            z = (x_kj * s_kj).view(len(y), y.shape[2], -1)
            grad_harmonics.append(torch.bmm(g, z.transpose(1, 2)))
        else:
            grad_harmonics.append(None)
        torch.sum(s_kj.mul_(v), dim=1, out=x_out)
        v *= x_kj
        torch.matmul(v, weight, out=radial_out)
        grad_weight.addmm_(v.flatten(0, 1).t(), t_kj.flatten(0, 1))
    return [collect(grad_x, gram.taken), collect(grad_radial, gram.pair), grad_weight,
            *grad_harmonics]  # fmt: skip


def _differentiable_block_sum(
    gram: _Gram, x: Tensor, radial: Tensor, weight: Tensor, *harmonics: Tensor
) -> Tensor:
    """The same sum in PyTorch's own operations, differentiable to any order."""
    if not harmonics:
        return torch.zeros_like(x)
    x_slots = take(x, gram.taken).split(gram.sizes)
    t_slots = take(radial, gram.pair).split(gram.sizes)
    sums = []
    for y, x_kj, t_kj in zip(harmonics, x_slots, t_slots, strict=True):
        z = x_kj.unsqueeze(1) * F.linear(t_kj, weight)  # (rows, n_spherical, channels)
        sums.append(torch.bmm(y, z.view(len(y), y.shape[2], -1)).flatten(0, 1))
    return collect(torch.cat(sums), gram.given)


def _block_harmonics(unit: Tensor, block: Slots, n_spherical: int) -> Tensor:
    """(atoms, slots i, slots k · n_spherical) Y_l0 of û_ji · û_kj; zero for k = i and padding."""
    cosine = -torch.bmm(unit, unit.transpose(1, 2))  # û_kj = −û_jk
    kept = block.filled.unsqueeze(1) & block.filled.unsqueeze(2)
    kept = kept & ~torch.eye(unit.shape[1], dtype=torch.bool, device=unit.device)
    return (zonal_harmonics(cosine, n_spherical) * kept.unsqueeze(-1)).flatten(2)
