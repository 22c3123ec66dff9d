"""Dense layers by the faster of PyTorch's two CPU libraries, alone or with their activation."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molgeo.ops.activation import SILU, Activation
from molgeo.ops.by_rows import ROWS
from molgeo.ops.wanted import wanted

LEAST_PRODUCTS = 1 << 21
"""Multiplications from which on the greater start-up time, some 10 µs, is won back."""

SMALL = 1 << 16
"""Elements of a layer's input up to which PyTorch's own two nodes are faster than one in Python:
a single molecule's layers take less time than Python's calls."""

# PyTorch's float32 matrix products call MKL, which does not use AVX-512 on AMD processors; oneDNN
# does, and is twice as fast there. This operator is PyTorch's only way to it for float32.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)


def prefers_onednn(vendor: str, has_amx: bool) -> tuple[bool, bool]:
    """Whether oneDNN is the faster library, in float32 and in bfloat16.

    On Intel's processors MKL is in float32: a training step of SchNet takes 0.7 of the time. Those
    with AVX-512 alone multiply bfloat16 at half the rate of float32, with AMX at many times it.

    Args:
        vendor: as ``/proc/cpuinfo`` names it.
        has_amx: the processor multiplies tiles of bfloat16.
    """
    if vendor != "GenuineIntel":
        return True, True
    return not torch.backends.mkl.is_available(), has_amx


def _vendor() -> str:
    """Of this processor; empty where the system does not tell."""
    try:
        with Path("/proc/cpuinfo").open() as lines:  # no further: it is long where cores are many
            vendors = (
                line.split(":")[-1].strip() for line in lines if line.startswith("vendor_id")
            )
            return next(vendors, "")
    except OSError:
        return "GenuineIntel" if "GenuineIntel" in platform.processor() else ""


# Whether oneDNN takes products of precision `highest`, and of `medium`, which PyTorch defines as
# bfloat16 products where the processor has them.
ONEDNN_IN_FLOAT32, ONEDNN_IN_BFLOAT16 = (
    _HAS_ONEDNN and faster
    for faster in prefers_onednn(_vendor(), torch.cpu._is_amx_tile_supported())
)
ONEDNN_IN_BFLOAT16 = ONEDNN_IN_BFLOAT16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()


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
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor = (_Linear.apply if _tracked(x, weight, bias) else _multiply)(rows, weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


def linear_activated(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: Activation = SILU
) -> Tensor:
    """``y = f(x Wᵀ + b)``; closed under differentiation.

    Of large inputs it is one node of the autograd graph instead of two, which keeps only the
    activation's argument.

    Args:
        x: (…, in).
        weight: (out, in).
        bias: (out,) or None.
        activation: f.

    Returns:
        (…, out).
    """
    small = x.device.type == "cpu" and x.numel() <= SMALL
    if small or torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return activation.value(F.linear(x, weight, bias))
    if not _tracked(x, weight, bias):
        return activation.in_place(_multiply(x, weight, bias))
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor = _LinearActivated.apply(rows, weight, bias, activation)[0]
    return y.view(*x.shape[:-1], weight.shape[0])


class Dense(nn.Linear):
    """`torch.nn.Linear` by `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return linear(x, self.weight, self.bias)


class ActivatedDense(nn.Linear):
    """A dense layer followed by an activation, by `linear_activated`."""

    def __init__(
        self, n_in: int, n_out: int, *, bias: bool = True, activation: Activation = SILU
    ) -> None:
        super().__init__(n_in, n_out, bias=bias)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        return linear_activated(x, self.weight, self.bias, self.activation)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return _gradients_in_pieces(None, grads[0], x, weight, wanted(ctx))
        return _gradients(grads[0], x, weight, wanted(ctx))


class _LinearActivated(torch.autograd.Function):
    """Returns the activation's argument too: as an output it can be differentiated again."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation
    ) -> tuple[Tensor, Tensor]:
        argument = _multiply(x, weight, bias)
        ctx.activation = activation
        ctx.save_for_backward(x, weight, argument)
        ctx.set_materialize_grads(False)
        return activation.value(argument), argument

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, argument = ctx.saved_tensors
        f: Activation = ctx.activation
        outer, inner = grads
        need = wanted(ctx)[:3]
        if outer is None and inner is None:
            return None, None, None, None
        if not torch.is_grad_enabled():
            through = None if outer is None else (outer, argument, f)
            return *_gradients_in_pieces(through, inner, x, weight, need), None
        if outer is not None and inner is None and need == [True, False, False]:
            grad_x = _LinearActivatedGradient.apply(outer, argument, weight, f)
            return grad_x, None, None, None
        grad = inner if outer is None else f.gradient(outer, argument)
        assert grad is not None
        if outer is not None and inner is not None:
            grad = grad + inner
        return *_gradients(grad, x, weight, need), None


def _gradients_in_pieces(
    through: tuple[Tensor, Tensor, Activation] | None,
    straight: Tensor | None,
    x: Tensor,
    weight: Tensor,
    need: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Derivatives of ``⟨g, f(p)⟩ + ⟨h, p⟩``, ``p = x Wᵀ + b``, by x, W and b.

    Where nothing is to be differentiated again.

    Args:
        through: g, p and f, or None for g = 0.
        straight: h, or None for zero.
        x: (rows, in).
        weight: (out, in).
        need: which of the three derivatives.
    """
    need_x, need_weight, need_bias = need
    grad_x = grad_weight = grad_bias = None
    for rows in _pieces(x):
        grad = None if straight is None else straight[rows]
        if through is not None:
            outer, argument, f = through
            inner = f.gradient(outer[rows], argument[rows])
            grad = inner if grad is None else inner.add_(grad)
        assert grad is not None
        if need_x:
            grad_x = _place(_multiply(grad, weight.t(), None), grad_x, rows, len(x))
        if need_weight:
            grad_weight = _add(_transposed_product(grad, x[rows]), grad_weight)
        if need_bias:
            grad_bias = _add(grad.sum(0), grad_bias)
    return grad_x, grad_weight, grad_bias


class _LinearActivatedGradient(torch.autograd.Function):
    """``(grad ∘ f′(p)) W``, which keeps no product: all that force training does in a layer."""

    @staticmethod
    def forward(
        ctx: Any, grad: Tensor, argument: Tensor, weight: Tensor, activation: Activation
    ) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(grad, argument, weight)
        return _multiply(activation.gradient(grad, argument), weight.t(), None)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> tuple[Tensor | None, ...]:
        grad, argument, weight = ctx.saved_tensors
        f: Activation = ctx.activation
        need_grad, need_argument, need_weight = wanted(ctx)[:3]
        (tangent,) = tangents
        if torch.is_grad_enabled():
            moved = linear(tangent, weight)
            return (
                f.gradient(moved, argument) if need_grad else None,
                f.second_gradient(moved, grad, argument) if need_argument else None,
                _transposed_product(f.gradient(grad, argument), tangent) if need_weight else None,
                None,
            )
        d_grad = d_argument = d_weight = None
        for rows in _pieces(grad):
            g, p, t = grad[rows], argument[rows], tangent[rows]
            moved = _multiply(t, weight, None)
            if need_grad:
                d_grad = _place(f.gradient(moved, p), d_grad, rows, len(grad))
            if need_argument:
                second = f.second_gradient(moved, g, p)
                d_argument = _place(second, d_argument, rows, len(grad))
            if need_weight:
                d_weight = _add(_transposed_product(f.gradient(g, p), t), d_weight)
        return d_grad, d_argument, d_weight, None


def _pieces(x: Tensor) -> list[slice]:
    """Rows in pieces that stay in a core's cache, as a large tensor comes from memory each time."""
    step = ROWS if x.device.type == "cpu" else max(len(x), 1)
    return [slice(first, first + step) for first in range(0, max(len(x), 1), step)]


def _place(piece: Tensor, whole: Tensor | None, rows: slice, n_rows: int) -> Tensor:
    """Put a piece where it belongs; the only piece is the whole."""
    if len(piece) == n_rows:
        return piece
    if whole is None:
        whole = piece.new_empty(n_rows, piece.shape[1])
    whole[rows] = piece
    return whole


def _add(piece: Tensor, total: Tensor | None) -> Tensor:
    return piece if total is None else total.add_(piece)


def _gradients(
    grad: Tensor, x: Tensor, weight: Tensor, need: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Derivatives of ``x Wᵀ + b`` by x, W and b, those that are needed."""
    need_x, need_weight, need_bias = need
    grad_x = linear(grad, weight.t()) if need_x else None
    grad_weight = _transposed_product(grad, x) if need_weight else None
    return grad_x, grad_weight, grad.sum(0) if need_bias else None


def _transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """``aᵀ b``, as a dense layer."""
    # oneDNN is faster where the wider factor comes second.
    if b.shape[1] < a.shape[1]:
        return linear(b.t(), a.t()).t()
    return linear(a.t(), b.t())


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x Wᵀ + b`` without its derivatives, by the faster library."""
    if not _worthwhile(x, weight):
        return F.linear(x, weight, bias)
    if torch.get_float32_matmul_precision() == "highest":
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    # Factors and products rounded to bfloat16, sums in float32. PyTorch's own float32 product of
    # this precision converts inside oneDNN and takes twice as long.
    y = (x.bfloat16() @ weight.bfloat16().t()).float()
    return y if bias is None else y.add_(bias)


def _tracked(*tensors: Tensor | None) -> bool:
    """Whether autograd records what is done to them."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _worthwhile(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN can do it, in the precision asked for, and is faster."""
    precision = torch.get_float32_matmul_precision()
    return (
        {"highest": ONEDNN_IN_FLOAT32, "medium": ONEDNN_IN_BFLOAT16}.get(precision, False)
        and x.device.type == "cpu"
        and x.numel() * weight.shape[0] >= max(LEAST_PRODUCTS, 1)
        and x.dtype == weight.dtype == torch.float32
        and (weight.is_contiguous() or weight.t().is_contiguous())  # else oneDNN crawls
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
