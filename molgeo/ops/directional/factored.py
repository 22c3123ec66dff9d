"""The directional sum and its derivatives, block by block of atoms.

With the map Θ of `molgeo.ops.directional.angular`, everything is a chain of bilinear steps:

    S_k[l] = T_k[l] Wᵀ,    Z_k[l] = x_k ∘ S_k[l],    m = Θ Z

and, for F = ⟨g, m⟩,

    V = Θᵀ g,    ∂F/∂x = Σ_l V[l] ∘ S[l],    Q = V ∘ x,    ∂F/∂T = Q W,    ∂F/∂W = Qᵀ T

Derivatives of these along a tangent, which are the second derivatives of F, follow by the product
rule in each step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molgeo.ops.blocks import Block
from molgeo.ops.dense import linear
from molgeo.ops.derivatives import Dual, change, product, rows_of
from molgeo.ops.directional.angular import Map
from molgeo.ops.directional.mapped import MappedSum, Maps, Wanted
from molgeo.runtime.precision import full_on_cpu, without_autocast


class Factored(MappedSum):
    """The sum for one geometry by ``gram`` or ``harmonic``.

    Its other operands are x, radial and weight as `DirectionalSum` has them.
    """

    def of_maps(self, maps: Maps, operands: tuple[Tensor, ...]) -> Tensor:
        """The sum, (edges, channels)."""
        x, radial, weight = operands
        total = torch.zeros_like(x)
        with without_autocast(x), full_on_cpu(x):
            for block, theta in maps:
                z = linear(radial.index_select(0, block.pair), weight)
                z *= block.masked(x, block.reverse).unsqueeze(1)  # (rows, n_spherical, channels)
                total.index_add_(0, block.edge, theta.forward(z))
        return total

    def of_block(
        self,
        block: Block,
        theta: Dual,
        wanted: Wanted,
        grad: Tensor,
        operands: tuple[Tensor, ...],
    ) -> Sequence[tuple[Tensor | None, Tensor | None]]:
        """Derivatives by the sum, geometry, x, radial and weight."""
        need_geometry, need_x, need_radial, need_weight = wanted.of
        x, radial, weight = operands
        d_x, d_radial, d_weight = wanted.tangents
        second, outcome = wanted.along is not None, wanted.outcome

        def incoming(x: Tensor) -> Tensor:
            return block.masked(x, block.reverse).unsqueeze(1)  # (rows, 1, channels)

        g = Dual(block.masked(grad, block.edge))
        x_in = Dual(incoming(x), None if d_x is None else incoming(d_x))
        t = rows_of(radial, d_radial, block.pair)  # (rows, n_spherical, rank)
        w = Dual(weight, d_weight)

        # What is as large as Z is let go, or overwritten, as soon as it may be.
        s = product(linear, t, w)  # S = T Wᵀ, (rows, n_spherical, channels)
        of_m = of_geometry = of_x = of_radial = of_weight = None
        if second or need_geometry:
            z = product(torch.mul, x_in, s)  # Z = x ∘ S
            of_m = change(_forward, theta, z) if second else None  # m = Θ Z
            if need_geometry:
                of_geometry = outcome(lambda a, b: a.gradient(g.value, b), theta, z)
            del z
        v = product(_transposed, theta, g)  # V = Θᵀ g
        if need_x:
            of_x = outcome(_sum_of_orders, v, s)  # Σ_l V[l] ∘ S[l]
        del s
        if need_radial or need_weight:
            d_q = change(torch.mul, v, x_in)
            q = Dual(v.value.mul_(x_in.value), d_q)  # Q = V ∘ x
            of_radial = outcome(torch.matmul, q, w) if need_radial else None  # Q W
            of_weight = outcome(_outer, q, t) if need_weight else None  # Qᵀ T
        return (
            (block.edge, of_m),
            (block.edge, of_geometry),
            (block.reverse, of_x),
            (block.pair, of_radial),
            (None, of_weight),
        )


def _forward(theta: Map, z: Tensor) -> Tensor:
    return theta.forward(z)


def _transposed(theta: Map, g: Tensor) -> Tensor:
    return theta.transposed(g)


def _sum_of_orders(v: Tensor, s: Tensor) -> Tensor:
    """``Σ_l v[l] ∘ s[l]``."""
    return torch.mul(v, s).sum(1)


def _outer(q: Tensor, t: Tensor) -> Tensor:
    """``Σ q[c] t[b]`` over rows and orders, (channels, rank)."""
    return q.flatten(0, 1).t() @ t.flatten(0, 1)
