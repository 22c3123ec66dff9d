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

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.triplets import triplets
from molgeo.ops.basis.harmonics import zonal_harmonics
from molgeo.ops.blocks import Block
from molgeo.ops.constants import constant
from molgeo.ops.derivatives import Dual, change
from molgeo.ops.directional.mapped import MappedSum, Maps, Prepared, Wanted
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
    form = "harmonic" if form == "harmonic" else "gram"  # Triton's kernel has no transpose
    terms = functools.partial(_Transposed, form, graph=graph, n_spherical=n_spherical)
    return Prepared(form, u, n_spherical, terms)


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


class _Transposed(MappedSum):
    """The sum and its derivatives; x is the only operand beside the geometry."""

    def of_maps(self, maps: Maps, operands: tuple[Tensor, ...]) -> Tensor:
        """The sum, (edges, n_spherical, channels)."""
        (x,) = operands
        total = x.new_zeros(self.graph.n_edges, self.n_spherical, x.shape[1])
        parity = constant(_parity, self.n_spherical, like=x)
        with without_autocast(x), full_on_cpu(x):
            for block, theta in maps:
                v = theta.transposed(block.masked(x, block.reverse))
                total.index_add_(0, block.reverse, v * parity)
        return total

    def of_block(
        self,
        block: Block,
        theta: Dual,
        wanted: Wanted,
        grad: Tensor,
        operands: tuple[Tensor, ...],
    ) -> Sequence[tuple[Tensor | None, Tensor | None]]:
        """Derivatives by the sum, geometry and x."""
        (x,), (d_x,) = operands, wanted.tangents
        parity = constant(_parity, self.n_spherical, like=x)
        x_in = Dual(block.masked(x, block.reverse))
        if d_x is not None:
            x_in = Dual(x_in.value, block.masked(d_x, block.reverse))
        z = block.masked(grad.flatten(1), block.reverse).view(-1, *grad.shape[1:]) * parity
        of_v = of_geometry = of_x = None
        if wanted.along is not None:
            of_v = change(lambda a, b: a.transposed(b) * parity, theta, x_in)
        if wanted.of[0]:
            of_geometry = wanted.outcome(lambda a, b: a.gradient(b, z), theta, x_in)
        if wanted.of[1]:
            of_x = wanted.outcome(lambda a, b: a.forward(b), theta, Dual(z))
        return (block.reverse, of_v), (block.edge, of_geometry), (block.reverse, of_x)
