"""The directional sum for one geometry, in the form that is asked for or the fastest."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from molgeo.graph.edges import Graph
from molgeo.graph.triplets import triplets
from molgeo.ops.basis.harmonics import zonal_harmonics
from molgeo.ops.blocks import widest
from molgeo.ops.derivatives import NeighbourSum
from molgeo.ops.directional.factored import Factored
from molgeo.ops.directional.mapped import Prepared
from molgeo.ops.segment import expand_pairs
from molgeo.ops.triton_here import are_kernels_used, can_run_kernels

Form = Literal["auto", "gram", "harmonic", "triton", "reference"]

NEIGHBOURS_PER_ORDER = 5.0
"""Neighbours, for each order l, beyond which ``harmonic`` is faster than ``gram``."""


class DirectionalSum(Protocol):
    """The sum for one geometry; call it for each pair of features and filters."""

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor, /) -> Tensor:
        """Sum over triplets.

        Args:
            x: (edges, channels) features x_kj.
            radial: (pairs, n_spherical, rank) the filters' factor T, the same in both directions.
            weight: (channels, rank) the filters' factor W.

        Returns:
            (edges, channels) messages m_ji, of the widest type of the arguments.
        """


def directional_sum(
    unit: Tensor, graph: Graph, n_spherical: int, form: Form = "auto"
) -> DirectionalSum:
    """Prepare the directional sum for one geometry.

    Args:
        unit: (pairs, 3) unit vector of each pair along its forward edge.
        graph: the edges.
        n_spherical: number of orders l = 0 … n_spherical − 1.
        form: how it is computed; all give the same result.

    Returns:
        The sum, a function of features and filters.

    Raises:
        ValueError: ``form`` is unknown, or ``triton`` without a GPU and Triton.
    """
    if form not in get_args(Form):
        raise ValueError(f"form: expected one of {', '.join(get_args(Form))}, got {form!r}")
    if form == "triton" and not can_run_kernels(unit.device):
        raise ValueError(f"form: 'triton' needs Triton and a CUDA device, got {unit.device}")
    chosen = cheapest_form(graph, n_spherical) if form == "auto" else form
    u = expand_pairs(unit, graph, sign=-1.0)
    if chosen == "reference":
        return _Reference(u, graph, n_spherical)

    def terms(geometry: Tensor) -> NeighbourSum:
        if chosen == "triton":
            from molgeo.ops.directional.kernels import Kernels

            return Kernels(graph)
        return Factored(chosen, geometry, graph, n_spherical)

    return Prepared(chosen, u, n_spherical, terms)


def cheapest_form(graph: Graph, n_spherical: int) -> str:
    """The form with the least time, by a model of the work and rates measured on CPUs.

    An edge whose source has K neighbours costs, for L orders and C channels,

        gram       2 K L C operations at some 130 a nanosecond, and K L harmonics at 0.6 each
        harmonic   4 L² C operations at some 30 a nanosecond, in products that are narrow

    on two cores, the harmonics divided among the sums of a model. They meet at K ≈ 6 L, and at
    K ≈ 4.5 L if derivatives are wanted, as gram's tables double. K is the mean over atoms, which
    needs no look at the graph's values. A molecule of QM9 has K ≈ 16, liquid water within 5 Å has
    52, and L is 7.

    On a GPU Triton's kernel holds the harmonics in registers and is bound by the edges' memory,
    which every form has to move; without Triton the same model decides.
    """
    if torch.compiler.is_compiling():
        return "gram"  # a program must hold for any number of neighbours
    if are_kernels_used(graph.source.device):
        return "triton"
    neighbours = graph.n_edges / max(graph.n_atoms, 1)
    return "harmonic" if neighbours > NEIGHBOURS_PER_ORDER * n_spherical else "gram"


class _Reference:
    """Explicit triplets: Θ(triplets · n_spherical · channels) memory."""

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.graph = graph
        self.kj, self.ji = triplets(graph)
        self.harmonics = zonal_harmonics((unit[self.ji] * unit[self.kj]).sum(-1), n_spherical)

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        dtype = widest((self.harmonics, x, radial, weight))
        x, radial, weight = x.to(dtype), radial.to(dtype), weight.to(dtype)
        filters = F.linear(radial, weight)[self.graph.pair[self.kj]]  # S = T Wᵀ
        messages = x[self.kj] * torch.einsum("tl,tlc->tc", self.harmonics.to(dtype), filters)
        return messages.new_zeros(x.shape).index_add(0, self.ji, messages)
