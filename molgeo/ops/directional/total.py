"""The directional sum for one geometry, and its derivatives of both orders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from molgeo.graph.edges import Graph
from molgeo.graph.triplets import triplets
from molgeo.ops.directional import blocks
from molgeo.ops.directional.cost import cheapest_form
from molgeo.ops.directional.legendre import real_harmonics, zonal_harmonics
from molgeo.ops.directional.plan import make_plan
from molgeo.ops.segment import expand_pairs
from molgeo.ops.wanted import wanted

Form = Literal["auto", "gram", "harmonic", "reference"]


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
        ValueError: ``form`` is unknown.
    """
    if form not in get_args(Form):
        raise ValueError(f"form: expected one of {', '.join(get_args(Form))}, got {form!r}")
    chosen = cheapest_form(graph, n_spherical) if form == "auto" else form
    u = expand_pairs(unit, graph, sign=-1.0)
    if chosen == "reference":
        return _Reference(u, graph, n_spherical)
    return _Factored(chosen, u, graph, n_spherical)


class _Reference:
    """Explicit triplets: Θ(triplets · n_spherical · channels) memory."""

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.graph = graph
        self.kj, self.ji = triplets(graph)
        self.harmonics = zonal_harmonics((unit[self.ji] * unit[self.kj]).sum(-1), n_spherical)

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        filters = F.linear(radial, weight)[self.graph.pair[self.kj]]
        messages = x[self.kj] * torch.einsum("tl,tlc->tc", self.harmonics, filters)
        return messages.new_zeros(x.shape).index_add(0, self.ji, messages)


class _Factored:
    """The sum by one of the forms that never see a triplet.

    Attributes:
        geometry: (edges, …) what the sum depends on: unit vectors, or their harmonics.
        tables: what follows from the geometry and is shared by all sums; constants for autograd,
            as the derivative by the geometry is taken by the sum itself.
    """

    def __init__(self, form: str, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.form = form
        self.plan = make_plan(graph)
        self.geometry = real_harmonics(unit, n_spherical) if form == "harmonic" else unit
        with torch.no_grad():
            first = unit.requires_grad
            self.tables = blocks.tables(form, self.geometry, self.plan, n_spherical, first)

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        dtype = self.geometry.dtype
        for operand in (x, radial, weight):
            dtype = torch.promote_types(dtype, operand.dtype)
        with torch.autocast(x.device.type, enabled=False):
            total: Tensor = _Sum.apply(
                self, self.geometry.to(dtype), x.to(dtype), radial.to(dtype), weight.to(dtype)
            )
        return total


class _Sum(torch.autograd.Function):
    """m."""

    @staticmethod
    def forward(
        ctx: Any, of: _Factored, geometry: Tensor, x: Tensor, radial: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.of = of
        ctx.save_for_backward(geometry, x, radial, weight)
        tables = [table.to(x.dtype) if table.is_floating_point() else table for table in of.tables]
        return blocks.directional_sum(of.form, x, radial, weight, of.plan, tables)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        need = wanted(ctx)[1:]
        found = _Gradients.apply(ctx.of, need, grads[0].contiguous(), *ctx.saved_tensors)
        return None, *found


class _Gradients(torch.autograd.Function):
    """The derivatives of ⟨grad, m⟩. Their derivative is that along the cotangents, by symmetry."""

    @staticmethod
    def forward(
        ctx: Any, of: _Factored, need: list[bool], grad: Tensor, *inputs: Tensor
    ) -> tuple[Tensor | None, ...]:
        ctx.of = of
        ctx.save_for_backward(grad, *inputs)
        ctx.set_materialize_grads(False)
        return _gradients(of, need, None, grad, *inputs)[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        found = _gradients(ctx.of, wanted(ctx)[3:], tangents, *ctx.saved_tensors)
        return None, None, *found


def _gradients(
    of: _Factored,
    need: Sequence[bool],
    tangents: Any,
    grad: Tensor,
    geometry: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
) -> tuple[Tensor | None, ...]:
    tables = [table.to(x.dtype) if table.is_floating_point() else table for table in of.tables]
    return blocks.gradients(of.form, grad, x, radial, weight, of.plan, tables, need, tangents)
