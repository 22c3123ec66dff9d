"""Which form of the directional sum is the fastest."""

from __future__ import annotations

from molgeo.graph.edges import Graph
from molgeo.ops.triton_here import HAS_TRITON

NEIGHBOURS_PER_ORDER = 5.0
"""Neighbours, for each order l, beyond which ``harmonic`` is faster than ``gram``."""


def cheapest_form(graph: Graph, n_spherical: int) -> str:
    """The form with the least time, by a model of the work and rates measured on CPUs.

    An edge whose source has K neighbours costs, for L orders and C channels,

        gram       2 K L C operations at some 130 a nanosecond, and K L harmonics at 0.6 each
        harmonic   4 L² C operations at some 30 a nanosecond, in products that are narrow

    on two cores, the harmonics divided among the sums of a model. They meet at K ≈ 6 L, and at
    K ≈ 4.5 L where derivatives are wanted, as gram's tables double. K is weighted by edges,
    Σ K² / Σ K. A molecule of QM9 has K ≈ 16, liquid water within 5 Å has 52, and L is 7.

    On a GPU Triton's kernel holds the harmonics in registers and is bound by the edges' memory,
    which every form has to move; without Triton the same model decides.
    """
    if graph.source.is_cuda and HAS_TRITON:
        return "triton"
    neighbours: float = graph.derived("mean neighbours of an edge", _mean_neighbours)
    return "harmonic" if neighbours > NEIGHBOURS_PER_ORDER * n_spherical else "gram"


def _mean_neighbours(graph: Graph) -> float:
    degree = graph.degree.double()
    return float(degree.square().sum() / degree.sum().clamp(min=1))
