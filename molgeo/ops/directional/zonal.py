"""The angles at an atom, summed over its neighbours for each of them, without triplets.

    V_ca[l,f] = Σ_{b∈N(a)∖c} Y_l0(φ_cab) x_ba[f],    cos φ_cab = û_ac · û_ab

What depends on the edge c→a that receives may then be multiplied, as a bilinear layer does. It is
the directional sum turned round: that one multiplies first, at the edges that give. With its map Θ
and the parity of Y, as its angle is the supplement of φ,

    V[l] = (−1)ˡ Θᵀ x,    ∂⟨G, V⟩/∂x = Θ (−1)ˡ G

so that both share `molgeo.ops.directional.angular`, with all derivatives.

Source:
    Gasteiger, Becker, Günnemann, NeurIPS 2021 (GemNet), the efficient bilinear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.triplets import triplets
from molgeo.ops.basis.harmonics import real_harmonics, zonal_harmonics
from molgeo.ops.blocks import Block, widest
from molgeo.ops.constants import constant
from molgeo.ops.derivatives import Dual, change, neighbour_sum, value
from molgeo.ops.directional.angular import Angular
from molgeo.ops.directional.factored import maps_of
from molgeo.ops.directional.total import cheapest_form
from molgeo.ops.segment import expand_pairs
from molgeo.runtime.precision import full_on_cpu, without_autocast

ZonalSum = Callable[[Tensor], Tensor]
"""The sum for one geometry: (edges, channels) x_ba → (edges, n_spherical, channels) V_ca."""


def zonal_sum(unit: Tensor, graph: Graph, n_spherical: int, form: str = "auto") -> ZonalSum:
    """Prepare the sum for one geometry.

    Args:
        unit: (pairs, 3) unit vector of each pair along its forward edge.
        graph: the edges.
        n_spherical: number of orders l = 0 … n_spherical − 1.
        form: ``gram``, ``harmonic``, ``reference`` or ``auto``; all give the same result.

    Returns:
        The sum, differentiable to any order, also if φ is 0° or 180°.
    """
    if form == "auto":
        form = cheapest_form(graph, n_spherical)
    u = expand_pairs(unit, graph, sign=-1.0)
    if form == "reference":
        return lambda x: _reference(u, graph, n_spherical, x)
    return _Factored("harmonic" if form == "harmonic" else "gram", u, graph, n_spherical)


def _reference(unit: Tensor, graph: Graph, n_spherical: int, x: Tensor) -> Tensor:
    """Explicit triplets c, a, b: Θ(triplets · n_spherical · channels) memory."""
    ba, ac = triplets(graph)
    y = zonal_harmonics((unit[ac] * unit[graph.reverse[ba]]).sum(-1), n_spherical)
    messages = y.unsqueeze(-1) * x[ba].unsqueeze(1)
    total = messages.new_zeros(graph.n_edges, *messages.shape[1:])
    return total.index_add(0, graph.reverse[ac], messages)


def _parity(n_spherical: int) -> Tensor:
    """``(−1)ˡ`` of each l, (n_spherical, 1)."""
    return 1.0 - 2.0 * (torch.arange(n_spherical, dtype=torch.float64) % 2).unsqueeze(-1)


class _Factored:
    """The sum by one of the forms that never see a triplet; Triton's kernel has no transpose."""

    def __init__(self, form: str, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.form, self.graph, self.n_spherical = form, graph, n_spherical
        self.geometry = real_harmonics(unit, n_spherical) if form == "harmonic" else unit
        self.terms = self._terms(self.geometry)

    def __call__(self, x: Tensor) -> Tensor:
        dtype = widest((self.geometry, x))
        geometry = self.geometry.to(dtype)
        terms = self.terms if geometry is self.geometry else self._terms(geometry)
        return neighbour_sum(terms, geometry, x.to(dtype))

    def _terms(self, geometry: Tensor) -> _Transposed:
        return _Transposed(self.form, geometry, self.graph, self.n_spherical)


class _Transposed:
    """The sum and its derivatives: a `NeighbourSum` of the geometry and x."""

    def __init__(self, form: str, geometry: Tensor, graph: Graph, n_spherical: int) -> None:
        self.form, self.graph, self.n_spherical = form, graph, n_spherical
        with torch.no_grad():
            self.blocks = maps_of(form, geometry, graph, n_spherical)

    def value(self, geometry: Tensor, x: Tensor) -> Tensor:
        """The sum, (edges, n_spherical, channels)."""
        return self._sum(self.blocks, x)

    def definition(self, geometry: Tensor, x: Tensor) -> Tensor:
        """The sum with all that PyTorch needs to differentiate it."""
        return self._sum(maps_of(self.form, geometry, self.graph, self.n_spherical), x)

    def _sum(self, blocks: list[tuple[Block, Angular]], x: Tensor) -> Tensor:
        total = x.new_zeros(self.graph.n_edges, self.n_spherical, x.shape[1])
        parity = constant(_parity, self.n_spherical, like=x)
        with without_autocast(x), full_on_cpu(x):
            for block, theta in blocks:
                v = theta.transposed(block.masked(x, block.reverse))
                total.index_add_(0, block.reverse, v * parity)
        return total

    def gradients(
        self,
        need: Sequence[bool],
        grad: Tensor,
        geometry: Tensor,
        x: Tensor,
        tangents: Sequence[Tensor | None] | None = None,
    ) -> Sequence[Tensor | None]:
        """Derivatives of ⟨grad, V⟩ by geometry and x, or theirs along tangents."""
        needed = tangents is not None, *need
        totals = [
            torch.zeros_like(operand) if asked else None
            for operand, asked in zip((grad, geometry, x), needed, strict=True)
        ]
        parity = constant(_parity, self.n_spherical, like=x)
        with without_autocast(x), full_on_cpu(x):
            for block, angular in self.blocks:
                found = _of_block(block, angular, need, grad, x, parity, tangents)
                places = block.reverse, block.edge, block.reverse
                for total, place, rows in zip(totals, places, found, strict=True):
                    if total is not None and rows is not None:
                        total.index_add_(0, place, rows)
        return totals


def _of_block(
    block: Block,
    angular: Angular,
    need: Sequence[bool],
    grad: Tensor,
    x: Tensor,
    parity: Tensor,
    tangents: Sequence[Tensor | None] | None,
) -> tuple[Tensor | None, ...]:
    """What `_Transposed.gradients` returns, for the rows of one block."""
    d_geometry, d_x = tangents or (None, None)
    second, outcome = tangents is not None, value if tangents is None else change
    theta, x_in = Dual(angular), Dual(block.masked(x, block.reverse))
    if d_geometry is not None:
        theta = Dual(angular, angular.along(block.masked(d_geometry, block.edge)))
    if d_x is not None:
        x_in = Dual(x_in.value, block.masked(d_x, block.reverse))
    z = block.masked(grad.flatten(1), block.reverse).view(-1, *grad.shape[1:]) * parity
    return (
        change(lambda a, b: a.transposed(b) * parity, theta, x_in) if second else None,
        outcome(lambda a, b: a.gradient(b, z), theta, x_in) if need[0] else None,
        outcome(lambda a, b: a.forward(b), theta, Dual(z)) if need[1] else None,
    )
