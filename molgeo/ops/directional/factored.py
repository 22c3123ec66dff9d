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

from collections.abc import Sequence

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.blocks import Block, blocks_of
from molgeo.ops.dense import linear
from molgeo.ops.derivatives import Dual, change, product, rows_of, value
from molgeo.ops.directional.angular import Angular, Gram, Harmonic, Map
from molgeo.runtime.precision import full_on_cpu, without_autocast

ROWS_PER_BLOCK = 1024
"""Padded edges taken at a time on a CPU: 2 MB of 7 · 64 float32, the L2 of two cores."""

ANGULAR: dict[str, type[Gram] | type[Harmonic]] = {"gram": Gram, "harmonic": Harmonic}


def maps_of(
    form: str, geometry: Tensor, graph: Graph, n_spherical: int
) -> list[tuple[Block, Angular]]:
    """Each block of atoms with its map Θ.

    Args:
        form: ``gram`` or ``harmonic``.
        geometry: of all edges, as `Factored` has it.
        graph: the edges.
        n_spherical: number of orders.
    """
    make, first = ANGULAR[form], geometry.requires_grad
    with without_autocast(geometry):
        return [
            (block, make(block.masked(geometry, block.edge), block, n_spherical, first))
            for block in blocks_of(graph, ROWS_PER_BLOCK)
        ]


class Factored:
    """The sum for one geometry by ``gram`` or ``harmonic``: a `NeighbourSum`.

    Its operands are the geometry, (edges, 3) unit vectors for ``gram`` or (edges, n_spherical²)
    harmonics for ``harmonic``, and x, radial and weight as `DirectionalSum` has them.
    """

    def __init__(self, form: str, geometry: Tensor, graph: Graph, n_spherical: int) -> None:
        self.form, self.graph, self.n_spherical = form, graph, n_spherical
        with torch.no_grad():
            self.blocks = maps_of(form, geometry, graph, n_spherical)

    def value(self, geometry: Tensor, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        """The sum, (edges, channels)."""
        return self._sum(self.blocks, x, radial, weight)

    def definition(self, geometry: Tensor, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        """The sum with all that PyTorch needs to differentiate it."""
        maps = maps_of(self.form, geometry, self.graph, self.n_spherical)
        return self._sum(maps, x, radial, weight)

    def _sum(
        self, blocks: list[tuple[Block, Angular]], x: Tensor, radial: Tensor, weight: Tensor
    ) -> Tensor:
        total = torch.zeros_like(x)
        with without_autocast(x), full_on_cpu(x):
            for block, theta in blocks:
                z = linear(radial.index_select(0, block.pair), weight)
                z *= block.masked(x, block.reverse).unsqueeze(1)  # (rows, n_spherical, channels)
                total.index_add_(0, block.edge, theta.forward(z))
        return total

    def gradients(
        self,
        need: Sequence[bool],
        grad: Tensor,
        geometry: Tensor,
        x: Tensor,
        radial: Tensor,
        weight: Tensor,
        tangents: Sequence[Tensor | None] | None = None,
    ) -> Sequence[Tensor | None]:
        """Derivatives of ⟨grad, m⟩ by geometry, x, radial and weight, or theirs along tangents."""
        totals = [
            torch.zeros_like(operand) if needed else None
            for operand, needed in zip(
                (grad, geometry, x, radial, weight), (tangents is not None, *need), strict=True
            )
        ]
        # A backward pass may run inside the caller's autocast.
        with without_autocast(x), full_on_cpu(x):
            for block, theta in self.blocks:
                found = _of_block(block, theta, need, grad, (x, radial, weight), tangents)
                places = block.edge, block.edge, block.reverse, block.pair
                for total, place, rows in zip(totals, places, found, strict=False):
                    if total is not None and rows is not None:
                        total.index_add_(0, place, rows)
                if totals[4] is not None and found[4] is not None:
                    totals[4] += found[4]
        return totals


def _of_block(
    block: Block,
    angular: Angular,
    need: Sequence[bool],
    grad: Tensor,
    operands: tuple[Tensor, Tensor, Tensor],
    tangents: Sequence[Tensor | None] | None,
) -> tuple[Tensor | None, ...]:
    """What `Factored.gradients` returns, for the rows of one block."""
    need_geometry, need_x, need_radial, need_weight = need
    x, radial, weight = operands
    d_geometry, d_x, d_radial, d_weight = tangents or (None,) * 4
    second, outcome = tangents is not None, value if tangents is None else change

    def incoming(x: Tensor) -> Tensor:
        return block.masked(x, block.reverse).unsqueeze(1)  # (rows, 1, channels)

    theta = Dual(angular)
    if d_geometry is not None:
        theta = Dual(angular, angular.along(block.masked(d_geometry, block.edge)))
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
    return of_m, of_geometry, of_x, of_radial, of_weight


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
