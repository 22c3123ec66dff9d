"""The directional sum and its derivatives as two PyTorch operators: one node in a compiled graph.

Calling them through PyTorch's dispatcher costs as much as a small molecule's sum does, so that only
compilers go that way.

An operator takes tensors and numbers only, so that a form's index tensors come as a list:

* ``gram`` and ``harmonic``: those of `Plan`, and the tables of `blocks.tables`;
* ``triton``: those of `Graph`, and no tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.directional import blocks
from molgeo.ops.directional.plan import Plan, make_plan


class Layout(NamedTuple):
    """What the operators need to know of the edges.

    Attributes:
        sizes: atoms and slots of each block, one after the other.
        indices: index tensors.
        tables: what all sums of one geometry share.
    """

    sizes: list[int]
    indices: list[Tensor]
    tables: list[Tensor]


def make_layout(form: str, geometry: Tensor, graph: Graph, n_spherical: int) -> Layout:
    """The layout of one geometry: tables with derivatives where it has some."""
    if form == "triton":
        g = graph
        return Layout([], [g.source, g.target, g.reverse, g.pair, g.forward, g.ptr, g.batch], [])
    plan = make_plan(graph)
    with torch.no_grad(), torch.autocast(geometry.device.type, enabled=False):
        tables = blocks.tables(form, geometry, plan, n_spherical, geometry.requires_grad)
    return Layout([n for size in plan.sizes for n in size], list(plan[1:]), tables)


def compute_sum(
    form: str,
    geometry: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    sizes: Sequence[int],
    indices: Sequence[Tensor],
    tables: Sequence[Tensor],
) -> Tensor:
    """The sum, (edges, channels)."""
    if form == "triton":
        from molgeo.ops.directional import kernels

        return kernels.directional_forward(geometry, x, radial, weight, _graph(indices))
    with torch.autocast(x.device.type, enabled=False):
        return blocks.directional_sum(form, x, radial, weight, _plan(sizes, indices), [*tables])


directional_sum = torch.library.custom_op("molgeo::directional_sum", compute_sum, mutates_args=())


@directional_sum.register_fake
def _(
    form: str,
    geometry: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    sizes: Sequence[int],
    indices: Sequence[Tensor],
    tables: Sequence[Tensor],
) -> Tensor:
    return x.new_empty(x.shape)


def compute_gradients(
    form: str,
    grad: Tensor,
    geometry: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    sizes: Sequence[int],
    indices: Sequence[Tensor],
    tables: Sequence[Tensor],
    need: Sequence[bool],
    d_geometry: Tensor | None = None,
    d_x: Tensor | None = None,
    d_radial: Tensor | None = None,
    d_weight: Tensor | None = None,
) -> list[Tensor]:
    """Derivatives of ⟨grad, m⟩ by geometry, x, radial and weight, or theirs along tangents.

    Returns:
        Five tensors: the derivative of m along the tangents, then the four; what is not needed is
        empty.
    """
    tangents = (d_geometry, d_x, d_radial, d_weight)
    found: tuple[Tensor | None, ...]
    second = any(tangent is not None for tangent in tangents)
    if form == "triton":
        from molgeo.ops.directional import kernels

        found = kernels.directional_gradients(
            grad, geometry, x, radial, weight, _graph(indices), tangents if second else None,
            need_unit=need[0],
        )  # fmt: skip
    else:
        # A backward pass may run inside the caller's autocast.
        with torch.autocast(x.device.type, enabled=False):
            found = blocks.gradients(
                form, grad, x, radial, weight, _plan(sizes, indices), [*tables], need,
                tangents if second else None,
            )  # fmt: skip
    like = (x, geometry, x, radial, weight)
    kept = zip(found, like, (second, *need), strict=True)
    return [_dense(value, tensor) if keep else tensor.new_empty(0) for value, tensor, keep in kept]


def _dense(value: Tensor | None, like: Tensor) -> Tensor:
    """A derivative, zero where None."""
    return like.new_zeros(like.shape) if value is None else value.contiguous()


directional_gradients = torch.library.custom_op(
    "molgeo::directional_gradients", compute_gradients, mutates_args=()
)


@directional_gradients.register_fake
def _(
    form: str,
    grad: Tensor,
    geometry: Tensor,
    x: Tensor,
    radial: Tensor,
    weight: Tensor,
    sizes: Sequence[int],
    indices: Sequence[Tensor],
    tables: Sequence[Tensor],
    need: Sequence[bool],
    d_geometry: Tensor | None = None,
    d_x: Tensor | None = None,
    d_radial: Tensor | None = None,
    d_weight: Tensor | None = None,
) -> list[Tensor]:
    second = any(t is not None for t in (d_geometry, d_x, d_radial, d_weight))
    like = (x, geometry, x, radial, weight)
    return [
        tensor.new_empty(tensor.shape if kept else 0)
        for tensor, kept in zip(like, (second, *need), strict=True)
    ]


def _plan(sizes: Sequence[int], indices: Sequence[Tensor]) -> Plan:
    return Plan([*zip(sizes[::2], sizes[1::2], strict=True)], *indices)


def _graph(indices: Sequence[Tensor]) -> Graph:
    source, target, reverse, pair, forward, ptr, batch = indices
    return Graph(source, target, reverse, pair, forward, ptr, batch, n_molecules=0)
