"""The directional sum and its derivatives, block by block of atoms.

With the map Θ of `molgeo.ops.directional.angular`, everything is a chain of bilinear steps:

    S_k[l] = T_k[l] Wᵀ,    Z_k[l] = x_k ∘ S_k[l],    m = Θ Z

and, for F = ⟨g, m⟩,

    V = Θᵀ g,    ∂F/∂x = Σ_l V[l] ∘ S[l],    Q = V ∘ x,    ∂F/∂T = Q W,    ∂F/∂W = Qᵀ T

Derivatives of these along a tangent, which are the second derivatives of F, follow by the product
rule in each step. Nothing larger than a block outlives it but the results.

The products are small, and on a CPU in full precision: PyTorch's conversion of small float32
factors to bfloat16 takes longer than the products do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from molgeo.ops.dense import linear
from molgeo.ops.directional.angular import Angular, Gram, Harmonic
from molgeo.ops.directional.legendre import zonal_harmonics
from molgeo.ops.directional.plan import Plan
from molgeo.runtime.precision import full_on_cpu

Tangents = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
Gradients = tuple[Tensor | None, ...]
"""Of m (second derivatives only), geometry, x, radial and weight; None where not asked for."""


def tables(form: str, geometry: Tensor, plan: Plan, n_spherical: int, first: bool) -> list[Tensor]:
    """What all sums of one geometry share, computed once for all blocks.

    Args:
        form: ``gram`` or ``harmonic``.
        geometry: (edges, 3) unit vectors, or (edges, n_spherical²) harmonics.
        plan: the blocks.
        n_spherical: number of orders.
        first: derivatives will be asked for.
    """
    rows = geometry.detach().index_select(0, plan.given)
    if form == "harmonic":
        return [rows.mul_(plan.filled)]
    if not plan.sizes:
        return []
    cosines = []
    for v, size in zip(rows.split(plan.rows), plan.sizes, strict=True):
        v = v.view(*size, 3)
        cosines.append(torch.bmm(v, v.transpose(1, 2)).flatten())
    cosine = torch.cat(cosines).neg_()
    harmonics = [zonal_harmonics(cosine, n_spherical, n) for n in range(2 if first else 1)]
    return [rows, *(y.mul_(plan.kept) for y in harmonics)]


def directional_sum(
    form: str, x: Tensor, radial: Tensor, weight: Tensor, plan: Plan, tables: list[Tensor]
) -> Tensor:
    """The sum, (edges, channels)."""
    parts = []
    with full_on_cpu(x):
        for block in _blocks(form, plan, tables):
            z = linear(radial.index_select(0, block.pair), weight)
            z *= x.index_select(0, block.taken).unsqueeze(1)  # (rows, n_spherical, channels)
            parts.append(block.angular.forward(z))
    total = _collect(parts, plan.place) if parts else None
    return torch.zeros_like(x) if total is None else total


def gradients(
    form: str,
    grad: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    plan: Plan,
    tables: list[Tensor],
    need: Sequence[bool],
    tangents: Tangents | None = None,
) -> Gradients:
    """First derivatives of ⟨grad, m⟩, or second ones along tangents.

    Args:
        form: ``gram`` or ``harmonic``.
        grad: (edges, channels).
        x: (edges, channels).
        radial: (pairs, n_spherical, rank).
        weight: (channels, rank).
        plan: the blocks.
        tables: as `tables` makes them for derivatives.
        need: which of the derivatives by geometry, x, radial and weight.
        tangents: changes of geometry, x, radial and weight; None for no change.

    Returns:
        Without tangents: None and the derivatives by geometry, x, radial and weight. With tangents:
        the derivatives of m and of those four along them, ``grad`` held fixed.
    """
    with full_on_cpu(x):
        found = [
            _block_gradients(block, grad, x, radial, weight, need, tangents)
            for block in _blocks(form, plan, tables)
        ]
    m, geometry, x_in, t, w = zip(*found, strict=True) if found else [(None,)] * 5
    return (
        _collect(m, plan.place),
        _collect(geometry, plan.place),
        _collect(x_in, plan.place_taken),
        _collect(t, plan.place_forward, plan.place_backward),
        None if w[0] is None else torch.stack(w).sum(0),
    )


def _block_gradients(
    block: _Block,
    grad: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    need: Sequence[bool],
    tangents: Tangents | None,
) -> Gradients:
    """What `gradients` returns, for the rows of one block."""
    need_geometry, need_x, need_radial, need_weight = need
    theta = block.angular
    g = grad.index_select(0, block.given) * block.filled
    x_in = x.index_select(0, block.taken).unsqueeze(1)  # (rows, 1, channels)
    t = radial.index_select(0, block.pair)  # (rows, n_spherical, rank)
    s = linear(t, weight)  # (rows, n_spherical, channels)
    v = theta.transposed(g)
    if tangents is None:
        out_geometry = theta.gradient(g, x_in * s) if need_geometry else None
        out_x = s.mul_(v).sum(1) if need_x else None
        q = v.mul_(x_in)
        return (
            None,
            out_geometry,
            out_x,
            torch.matmul(q, weight) if need_radial else None,
            _outer(q, t) if need_weight else None,
        )

    d_geometry, d_x, d_t, d_weight = tangents
    d_theta = d_v = None
    if d_geometry is not None:
        d_theta = theta.along(d_geometry.index_select(0, block.given) * block.filled)
        d_v = d_theta.transposed(g)
    if d_x is not None:
        d_x = d_x.index_select(0, block.taken).unsqueeze(1)
    if d_t is not None:
        d_t = d_t.index_select(0, block.pair)
    d_s = _product_rule(linear, t, d_t, weight, d_weight)
    z, d_z = x_in * s, _product_rule(torch.mul, x_in, d_x, s, d_s)
    out_x = _product_rule(_sum_of_orders, v, d_v, s, d_s) if need_x else None
    q, d_q = v * x_in, _product_rule(torch.mul, v, d_v, x_in, d_x)
    return (
        _product_rule(lambda a, b: a.forward(b), theta, d_theta, z, d_z),
        _product_rule(lambda a, b: a.gradient(g, b), theta, d_theta, z, d_z)
        if need_geometry
        else None,
        out_x,
        _product_rule(torch.matmul, q, d_q, weight, d_weight) if need_radial else None,
        _product_rule(_outer, q, d_q, t, d_t) if need_weight else None,
    )


def _product_rule(
    product: Callable[[Any, Any], Tensor], a: Any, d_a: Any, b: Any, d_b: Any
) -> Tensor | None:
    """``d(a·b) = da·b + a·db``, where None is zero."""
    if d_a is None:
        return None if d_b is None else product(a, d_b)
    first = product(d_a, b)
    return first if d_b is None else first.add_(product(a, d_b))


def _sum_of_orders(v: Tensor, s: Tensor) -> Tensor:
    """``Σ_l v[l] ∘ s[l]``."""
    return torch.mul(v, s).sum(1)


def _outer(q: Tensor, t: Tensor) -> Tensor:
    """``Σ q[c] t[b]`` over rows and orders, (channels, rank)."""
    return q.flatten(0, 1).t() @ t.flatten(0, 1)


def _collect(parts: Sequence[Tensor | None], *places: Tensor) -> Tensor | None:
    """Rows of all blocks, summed over the slots of each edge or pair."""
    if parts[0] is None:
        return None
    rows = torch.cat(cast(list[Tensor], parts))
    total = rows.index_select(0, places[0])
    for place in places[1:]:
        total += rows.index_select(0, place)
    return total


class _Block(NamedTuple):
    """One block of a plan with the map Θ of its atoms."""

    angular: Angular
    given: Tensor
    taken: Tensor
    pair: Tensor
    filled: Tensor


def _blocks(form: str, plan: Plan, tables: list[Tensor]) -> Iterator[_Block]:
    if not plan.sizes:
        return
    rows = plan.rows
    indices = zip(
        plan.sizes,
        *(_split(t, rows) for t in (tables[0], plan.given, plan.taken, plan.pair, plan.filled)),
        strict=True,
    )
    if form == "harmonic":
        for size, h, *places in indices:
            yield _Block(Harmonic(h, size), *places)
        return
    triplets = [n_atoms * n_slots**2 for n_atoms, n_slots in plan.sizes]
    kept, y, dy = (_split(table, triplets) for table in (plan.kept, tables[1], tables[-1]))
    for n, (size, v, *places) in enumerate(indices):
        square = (*size, size[1])
        first = dy[n].view(*square, -1) if len(tables) > 2 else None
        angular = Gram(v, size, y[n].view(*square, -1), first, kept[n].view(square))
        yield _Block(angular, *places)


def _split(rows: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    """Parts of these sizes; one part is the whole, without the cost of a view."""
    return (rows,) if len(sizes) == 1 else rows.split(sizes)
