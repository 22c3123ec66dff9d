"""Dense layers by the faster of PyTorch's two CPU libraries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEAST_PRODUCTS = 1 << 23
"""Multiplications from which on the greater start-up time, some 20 µs, is won back."""

# PyTorch's float32 matrix products call MKL, which does not use AVX-512 on AMD processors; oneDNN
# does, and is twice as fast there. This operator is PyTorch's only way to it for float32.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y = x Wᵀ + b``, as `torch.nn.functional.linear`; closed under differentiation.

    Args:
        x: (…, in).
        weight: (out, in).
        bias: (out,) or None.

    Returns:
        (…, out).
    """
    if not _worthwhile(x, weight):
        return F.linear(x, weight, bias)
    y = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


class Dense(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return linear(x, self.weight, self.bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        grad = grads[0]
        grad_x = linear(grad, weight.t()) if need_x else None
        grad_weight = None
        if need_weight and x.shape[1] < grad.shape[1]:
            # oneDNN is faster where the wider factor comes second.
            grad_weight = linear(x.t(), grad.t()).t()
        elif need_weight:
            grad_weight = linear(grad.t(), x.t())
        return grad_x, grad_weight, grad.sum(0) if need_bias else None


def _worthwhile(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can do it, and in full float32."""
    return (
        _HAS_ONEDNN
        and x.numel() * weight.shape[0] >= max(LEAST_PRODUCTS, 1)
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and torch.get_float32_matmul_precision() == "highest"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
