"""Autograd nodes in Python: sums that bring their derivatives along, and which of them are used.

A sum ``m(a, b, …)`` over neighbours is a chain of products, linear in each operand. So are its
gradients, ``∂F/∂a, ∂F/∂b, …`` of ``F = ⟨g, m⟩``, and their change along tangents t_a, t_b, … of the
operands. Second derivatives are symmetric,

    ∂/∂a Σ_b ⟨t_b, ∂F/∂b⟩  =  d/dε ∂F/∂a (a + ε t_a, b + ε t_b, …)

so that change *is* the backward pass of the backward pass. Energies, forces and training on
forces take three functions, nothing else is ever kept, and each goes block by block in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

_WILL_EXECUTE: Any = getattr(torch._C, "_will_engine_execute_node", None)


def wanted(ctx: Any) -> list[bool]:
    """For each input of a `torch.autograd.Function`, whether its gradient is of any use now.

    ``ctx.needs_input_grad`` says only whether an input *could* have a gradient. A force asks for
    the gradient by positions alone, and would pay for those of all weights. PyTorch's own
    operations ask the engine, as this does; the call is not public, so it is guarded.
    """
    needed = list(ctx.needs_input_grad)
    if _WILL_EXECUTE is None or torch.compiler.is_compiling():
        return needed
    # Inputs that are no tensors have no entry there, and those without a gradient have no node.
    nodes = (node for node, _ in ctx.next_functions if node is not None)
    for n, could_have in enumerate(ctx.needs_input_grad):
        if could_have:
            needed[n] = _executes(next(nodes))
    return needed


def _executes(node: Any) -> bool:
    try:
        return bool(_WILL_EXECUTE(node))
    except RuntimeError:  # a leaf that `torch.autograd.grad` was asked for
        return True


class NeighbourSum(Protocol):
    """A sum over neighbours that knows its derivatives."""

    @property
    def value(self) -> Callable[..., Tensor]:
        """``(*operands)`` → the sum m, nothing recorded."""

    @property
    def gradients(self) -> Callable[..., Sequence[Tensor | None]]:
        """``(need, grad, *operands, tangents=None)`` → derivatives of ``F = ⟨grad, m⟩``.

        ``need`` says which of those by the operands are asked for. With tangents, which are changes
        of the operands or None for no change, how the derivatives change while ``grad`` does not.
        The first result is that by ``grad``, of meaning with tangents only; then one for each
        operand. None stands for zero and for what was not asked for.
        """

    @property
    def definition(self) -> Callable[..., Tensor]:
        """``(*operands)`` → the same sum, all recorded, however much memory that takes."""


def neighbour_sum(terms: NeighbourSum, *operands: Tensor) -> Tensor:
    """A sum over neighbours, differentiable to any order.

    Derivatives of the first two orders are its own; higher ones are PyTorch's, of the definition.
    """
    total: Tensor = _Sum.apply(terms, *operands)
    return total


class _Sum(torch.autograd.Function):
    """m."""

    # PyTorch's compiler counts parameters to see whether there is a ctx, and miscounts with one
    # more name here if there are two operands.
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        terms, *operands = arguments
        ctx.terms = terms
        ctx.save_for_backward(*operands)
        total: Tensor = terms.value(*operands)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        need = wanted(ctx)[1:]
        grad = grads[0].contiguous()
        found = _Gradients.apply(ctx.terms, need, grad, *ctx.saved_tensors)
        return None, *(g if n else None for g, n in zip(found, need, strict=True))


class _Gradients(torch.autograd.Function):
    """The derivatives of ⟨grad, m⟩. Their derivative is that along the cotangents, by symmetry."""

    @staticmethod
    def forward(
        ctx: Any, terms: NeighbourSum, need: list[bool], *operands: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.terms = terms
        ctx.save_for_backward(*operands)
        ctx.set_materialize_grads(False)
        found = zip(need, operands[1:], terms.gradients(need, *operands)[1:], strict=True)
        return tuple(_dense(g, x) if asked else x.new_empty(0) for asked, x, g in found)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        operands, need = ctx.saved_tensors, wanted(ctx)[2:]
        if all(tangent is None for tangent in tangents):
            return (None,) * (2 + len(operands))
        if torch.is_grad_enabled():
            found = _by_definition(ctx.terms.definition, operands, tangents)
        else:
            found = ctx.terms.gradients(need[1:], *operands, tangents=tangents)
        return None, None, *(g if n else None for g, n in zip(found, need, strict=True))


def _dense(gradient: Tensor | None, operand: Tensor) -> Tensor:
    return torch.zeros_like(operand) if gradient is None else gradient


def _by_definition(
    definition: Callable[..., Tensor], operands: Sequence[Tensor], tangents: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Derivatives of ``Σ_b ⟨t_b, ∂F/∂b⟩`` by grad and operands that can be differentiated again."""
    # Aliases, as an operand may be a function of another one.
    grad, *given = (
        x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in operands
    )
    asked = [(x, t) for x, t in zip(given, tangents, strict=True) if t is not None]
    slopes = torch.autograd.grad(  # ∂F/∂b
        definition(*given), [x for x, _ in asked], grad, create_graph=True, materialize_grads=True
    )
    total = torch.stack([(a * t).sum() for a, (_, t) in zip(slopes, asked, strict=True)]).sum()
    return torch.autograd.grad(total, [grad, *given], create_graph=True, allow_unused=True)


class Dual(NamedTuple):
    """A quantity and its change along a tangent; None for no change."""

    value: Any
    change: Any = None


def rows_of(x: Tensor, tangent: Tensor | None, index: Tensor) -> Dual:
    """Some rows of a tensor and of its tangent."""
    picked = None if tangent is None else tangent.index_select(0, index)
    return Dual(x.index_select(0, index), picked)


Bilinear = Callable[[Any, Any], Tensor]


def product(function: Bilinear, a: Dual, b: Dual) -> Dual:
    """A bilinear function and its change."""
    return Dual(function(a.value, b.value), change(function, a, b))


def change(function: Bilinear, a: Dual, b: Dual) -> Tensor | None:
    """The change of a bilinear function alone: ``d(a·b) = da·b + a·db``."""
    if a.change is None:
        return None if b.change is None else function(a.value, b.change)
    first = function(a.change, b.value)
    return first if b.change is None else first.add_(function(a.value, b.change))


def value(function: Bilinear, a: Dual, b: Dual) -> Tensor:
    """The bilinear function alone."""
    return function(a.value, b.value)
