"""Activations with their derivatives, as `molgeo.ops.dense` fuses them with dense layers.

SiLU's second derivative costs one pass here, not a graph of twenty operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from molgeo.ops.derivatives import wanted

_silu_backward: Callable[[Tensor, Tensor], Tensor] = torch.ops.aten.silu_backward

ELEMENTS = 1 << 18
"""Elements taken at a time on a CPU: 1 MB of float32, as large as L2."""


def silu_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """``grad · silu′(x)``, as one operation in every backward pass."""
    if torch.is_grad_enabled() and (x.requires_grad or grad.requires_grad):
        product: Tensor = _SiluGradient.apply(grad, x)
        return product
    return _silu_backward(grad, x)


class _SiluGradient(torch.autograd.Function):
    """``grad σ(x) (1 + x (1 − σ(x)))``."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(grad, x)
        return _silu_backward(grad, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        grad, x = ctx.saved_tensors
        need_grad, need_x = wanted(ctx)
        by_grad = silu_gradient(grads[0], x) if need_grad else None
        return by_grad, silu_second_gradient(grads[0], grad, x) if need_x else None


def silu_second_gradient(tangent: Tensor, grad: Tensor, x: Tensor) -> Tensor:
    """``tangent · grad · silu″``, with ``silu″ = σ(1 − σ)(2 + x(1 − 2σ))``.

    On a CPU in pieces: passes over fresh megabytes are page faults, not arithmetic.
    """
    if torch.is_grad_enabled():
        s = x.sigmoid()
        return tangent * grad * s * (1 - s) * (2 + x * (1 - 2 * s))
    out = torch.mul(tangent, grad).contiguous()  # the product of transposed factors is not
    pieces = ELEMENTS if x.device.type == "cpu" else max(x.numel(), 1)
    for product, x_piece in zip(
        out.view(-1).split(pieces), x.reshape(-1).split(pieces), strict=True
    ):
        s = x_piece.sigmoid()
        bracket = torch.addcmul(x_piece, x_piece, s, value=-2).add_(2)  # 2 + x(1 − 2σ)
        product.mul_(bracket.mul_(s).addcmul_(bracket, s, value=-1))
    return out


def shifted_softplus(x: Tensor, inplace: bool = False) -> Tensor:
    """``ln(½ eˣ + ½)``, which is zero at zero and smooth to all orders."""
    return F.softplus(x).sub_(math.log(2.0))


def _softplus_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """``grad σ(x)``."""
    product: Tensor = torch.ops.aten.softplus_backward(grad, x, 1.0, 20.0)
    return product


def _softplus_second_gradient(tangent: Tensor, grad: Tensor, x: Tensor) -> Tensor:
    """``tangent · grad · σ(1 − σ)``."""
    s = x.sigmoid()
    return tangent * grad * s * (1 - s)


def scaled_silu(x: Tensor, inplace: bool = False) -> Tensor:
    """``silu(x) / 0.6``, whose variance is about one for inputs of variance one."""
    return F.silu(x, inplace=inplace).mul_(1 / 0.6)


def _scaled_silu_gradient(grad: Tensor, x: Tensor) -> Tensor:
    return silu_gradient(grad, x) * (1 / 0.6)


def _scaled_silu_second_gradient(tangent: Tensor, grad: Tensor, x: Tensor) -> Tensor:
    return silu_second_gradient(tangent, grad, x) * (1 / 0.6)


@dataclass(frozen=True)
class Activation:
    """A function of each element with what its derivatives need.

    Attributes:
        value: ``f(x)``; ``inplace=True`` allows it to overwrite x.
        gradient: ``(grad, x) → grad · f′(x)``, differentiable to any order.
        second_gradient: ``(tangent, grad, x) → tangent · grad · f″(x)``.
    """

    value: Callable[..., Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]
    second_gradient: Callable[[Tensor, Tensor, Tensor], Tensor]


SILU = Activation(F.silu, silu_gradient, silu_second_gradient)
SHIFTED_SOFTPLUS = Activation(shifted_softplus, _softplus_gradient, _softplus_second_gradient)
SCALED_SILU = Activation(scaled_silu, _scaled_silu_gradient, _scaled_silu_second_gradient)
