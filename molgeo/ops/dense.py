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

# The precision that PyTorch defines as bfloat16 products, where this processor has them.
_HAS_BFLOAT16 = _HAS_ONEDNN and torch.ops.mkldnn._is_mkldnn_bf16_supported()
_PRECISIONS = ("highest", "medium") if _HAS_BFLOAT16 else ("highest",)


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
    product = _Linear if torch.get_float32_matmul_precision() == "highest" else _LinearBfloat16
    y = product.apply(x.reshape(-1, x.shape[-1]), weight, bias)
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
        return _backward(ctx, grads[0])


class _LinearBfloat16(torch.autograd.Function):
    """Factors and products rounded to bfloat16, sums in float32.

    PyTorch's own float32 product of this precision converts inside oneDNN and takes twice as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = (x.bfloat16() @ weight.bfloat16().t()).float()
        return y if bias is None else y.add_(bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return _backward(ctx, grads[0])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    need_x, need_weight, need_bias = ctx.needs_input_grad
    grad_x = linear(grad, weight.t()) if need_x else None
    grad_weight = None
    if need_weight and x.shape[1] < grad.shape[1]:
        # oneDNN is faster where the wider factor comes second.
        grad_weight = linear(x.t(), grad.t()).t()
    elif need_weight:
        grad_weight = linear(grad.t(), x.t())
    return grad_x, grad_weight, grad.sum(0) if need_bias else None


def _worthwhile(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can do it, in the precision asked for."""
    return (
        _HAS_ONEDNN
        and x.numel() * weight.shape[0] >= max(LEAST_PRODUCTS, 1)
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and torch.get_float32_matmul_precision() in _PRECISIONS
        and (weight.is_contiguous() or weight.t().is_contiguous())  # else oneDNN crawls
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
