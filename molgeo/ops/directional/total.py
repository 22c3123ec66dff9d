"""The directional sum for one geometry, and its derivatives of both orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from molgeo.graph.edges import Graph
from molgeo.graph.triplets import triplets
from molgeo.ops.directional import operators
from molgeo.ops.directional.cost import cheapest_form
from molgeo.ops.directional.legendre import real_harmonics, zonal_harmonics
from molgeo.ops.directional.operators import Layout, make_layout
from molgeo.ops.segment import expand_pairs
from molgeo.ops.triton_here import can_run_kernels
from molgeo.ops.wanted import wanted
from molgeo.ops.widest import widest

Form = Literal["auto", "gram", "harmonic", "triton", "reference"]


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
    return _Factored(chosen, u, graph, n_spherical)


class _Reference:
    """Explicit triplets: Θ(triplets · n_spherical · channels) memory."""

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.graph = graph
        self.kj, self.ji = triplets(graph)
        self.harmonics = zonal_harmonics((unit[self.ji] * unit[self.kj]).sum(-1), n_spherical)

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        dtype = widest((self.harmonics, x, radial, weight))
        x, radial, weight = x.to(dtype), radial.to(dtype), weight.to(dtype)
        filters = F.linear(radial, weight)[self.graph.pair[self.kj]]
        messages = x[self.kj] * torch.einsum("tl,tlc->tc", self.harmonics.to(dtype), filters)
        return messages.new_zeros(x.shape).index_add(0, self.ji, messages)


class _Factored:
    """The sum by one of the forms that never see a triplet.

    Attributes:
        geometry: (edges, …) what the sum depends on: unit vectors, or their harmonics.
        layout: what else it needs; a constant for autograd, as the derivative by the geometry is
            taken by the sum itself.
    """

    def __init__(self, form: str, unit: Tensor, graph: Graph, n_spherical: int) -> None:
        self.form = form
        self.geometry = real_harmonics(unit, n_spherical) if form == "harmonic" else unit
        self.layout = make_layout(form, self.geometry, graph, n_spherical)

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        dtype = widest((self.geometry, x, radial, weight))
        layout = self.layout._replace(
            tables=[t.to(dtype) if t.is_floating_point() else t for t in self.layout.tables]
        )
        operands = (operand.to(dtype) for operand in (self.geometry, x, radial, weight))
        with torch.autocast(x.device.type, enabled=False):
            total: Tensor = _Sum.apply(self.form, layout, *operands)
        return total


class _Sum(torch.autograd.Function):
    """m."""

    @staticmethod
    def forward(ctx: Any, form: str, layout: Layout, *operands: Tensor) -> Tensor:
        ctx.form, ctx.layout = form, layout
        ctx.save_for_backward(*operands)
        function: Callable[..., Tensor] = operators.compute_sum
        if torch.compiler.is_compiling():
            function = operators.directional_sum
        return function(form, *operands, *layout)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        need = wanted(ctx)[2:]
        grad = grads[0].contiguous()
        found = _Gradients.apply(ctx.form, ctx.layout, need, grad, *ctx.saved_tensors)
        return None, None, *(g if n else None for g, n in zip(found, need, strict=True))


class _Gradients(torch.autograd.Function):
    """The derivatives of ⟨grad, m⟩. Their derivative is that along the cotangents, by symmetry."""

    @staticmethod
    def forward(
        ctx: Any, form: str, layout: Layout, need: list[bool], *operands: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.form, ctx.layout = form, layout
        ctx.save_for_backward(*operands)
        ctx.set_materialize_grads(False)
        return tuple(_gradients(form, *operands, *layout, need)[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        need = wanted(ctx)[3:]
        if all(tangent is None for tangent in tangents):
            return (None,) * 8
        found = _gradients(ctx.form, *ctx.saved_tensors, *ctx.layout, need[1:], *tangents)
        return None, None, None, *(g if n else None for g, n in zip(found, need, strict=True))


def _gradients(*arguments: Any) -> list[Tensor]:
    function: Callable[..., list[Tensor]] = operators.compute_gradients
    if torch.compiler.is_compiling():
        function = operators.directional_gradients
    return function(*arguments)
