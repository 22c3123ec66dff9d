"""Dense layers by the faster of PyTorch's two CPU libraries, alone or with their activation.

A layer ``y = f(p), p = x Wᵀ + b`` is one node of the autograd graph, which keeps x and p. Its
derivatives, and those that force training takes of them, go over the rows in pieces: a large tensor
comes from memory each time, a piece stays in a core's cache.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molgeo.ops.activation import SILU, Activation
from molgeo.ops.derivatives import wanted
from molgeo.runtime.precision import MatmulPrecision, matmul_precision

ROWS = 2048
"""Rows taken at a time: 1 MB of 128 float32 channels, as large as L2."""

LEAST_PRODUCTS = 1 << 21
"""Multiplications from which on the greater start-up time, some 10 µs, is won back."""

NARROW = 16
"""Columns from which on PyTorch's own product is the faster one of long transposed factors, up to
1.3 times on AMD's processors too; of six columns it is six times slower than oneDNN's."""

SMALL = 1 << 16
"""Elements of a layer's input up to which PyTorch's own two nodes are faster than one in Python:
a single molecule's layers take less time than Python's calls."""

# PyTorch's float32 products call MKL, which does not use AVX-512 on AMD processors; oneDNN does.
# This operator is PyTorch's only way to it for float32.
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, "_linear_pointwise"
)

TIE = 1.15
"""Ratio of two times that are as good as equal. A tie goes to oneDNN, so that all processes of one
machine decide alike: known ratios are 0.6 to 0.95 on AMD's processors, 1.3 to 1.5 on Intel's."""


@functools.cache
def onednn_is_faster(precision: MatmulPrecision) -> bool:
    """Whether `_explicit_product` beats PyTorch's own product, measured once a process: 10 ms.

    Args:
        precision: of float32 products; ``high`` is left to PyTorch.
    """
    if not _HAS_ONEDNN or precision == "high":
        return False
    if precision == "medium" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    with torch.no_grad(), matmul_precision(precision):
        x, weight = torch.ones(1024, 128), torch.ones(128, 128)
        own, explicit = _least_times(
            lambda: F.linear(x, weight), lambda: _explicit_product(x, weight, None, precision)
        )
    return explicit < TIE * own


def _least_times(*functions: Callable[[], object], repeats: int = 15) -> list[float]:
    """Seconds of each function, the least of several turns."""
    least = [float("inf")] * len(functions)
    for _ in range(repeats):
        for n, function in enumerate(functions):
            begin = time.perf_counter()
            function()
            least[n] = min(least[n], time.perf_counter() - begin)
    return least


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y = x Wᵀ + b``, as `torch.nn.functional.linear`; closed under differentiation.

    Args:
        x: (…, in).
        weight: (out, in).
        bias: (out,) or None.

    Returns:
        (…, out).
    """
    if torch.compiler.is_compiling():  # three axes would be multiplied piece by piece
        rows = x.reshape(-1, x.shape[-1])
        return F.linear(rows, weight, bias).view(*x.shape[:-1], weight.shape[0])
    if not _worthwhile(x, weight):
        return F.linear(x, weight, bias)
    rows = x.reshape(-1, x.shape[-1])
    tracked = _tracked(x, weight, bias)
    y: Tensor = _Dense.apply(rows, weight, bias) if tracked else _multiply(rows, weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


def linear_activated(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: Activation = SILU
) -> Tensor:
    """``y = f(x Wᵀ + b)`` of the same arguments; closed under differentiation.

    Of large inputs it is one node of the autograd graph, which keeps only the argument of f.
    """
    plain = torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type)
    if plain or (x.device.type == "cpu" and x.numel() <= SMALL):
        return activation.value(F.linear(x, weight, bias))
    if not _tracked(x, weight, bias):
        return activation.value(_multiply(x, weight, bias), inplace=True)
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor = _Dense.apply(rows, weight, bias, activation)[0]
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


def by_rows(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """``function(*rows)`` of a function that treats every row alike, in pieces of a cache's size.

    On a CPU every fresh tensor of megabytes costs page faults, which take longer than the
    arithmetic of an activation or a residual sum. If derivatives are wanted, nothing is cut.

    ``rows`` have equally many rows, and so has the result.
    """
    if torch.is_grad_enabled() or not _is_cut(rows[0]):
        return function(*rows)
    pieces = zip(*(r.split(ROWS) for r in rows), strict=True)
    return torch.cat([function(*piece) for piece in pieces])


class _Dense(torch.autograd.Function):
    """``p = x Wᵀ + b``; with an activation f(p) and p, which as an output can be differentiated."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, f: Activation | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        argument = _multiply(x, weight, bias)
        ctx.activation = f
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, None if f is None else argument)
        return argument if f is None else (f.value(argument), argument)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, argument = ctx.saved_tensors
        f: Activation = ctx.activation
        outer, inner = (None, *grads) if f is None else grads
        need = wanted(ctx)
        others = (None,) * (len(need) - 3)
        if outer is None and inner is None:
            return None, None, None, *others
        if torch.is_grad_enabled() and inner is None and need[:3] == [True, False, False]:
            return _DenseGradient.apply(outer, argument, weight, f), None, None, *others

        def gradients(x: Tensor, *parts: Tensor | None) -> tuple[Tensor | None, ...]:
            """Derivatives of ``⟨outer, f(p)⟩ + ⟨inner, p⟩`` by x, W and b."""
            outer, inner, argument = parts
            grad = inner
            if outer is not None and argument is not None:
                through = f.gradient(outer, argument)
                grad = through if inner is None else through + inner
            assert grad is not None
            return (
                linear(grad, weight.t()) if need[0] else None,  # g W
                _transposed_product(grad, x) if need[1] else None,  # gᵀ x
                grad.sum(0) if need[2] else None,  # Σ g
            )

        if f is None:  # two products, which gain nothing from pieces
            return *gradients(x, outer, inner, argument), *others
        return *_in_pieces(gradients, 1, x, outer, inner, argument), *others


class _DenseGradient(torch.autograd.Function):
    """``(grad ∘ f′(p)) W``, which keeps no product: all that force training does in a layer."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, argument: Tensor, weight: Tensor, f: Activation) -> Tensor:
        ctx.activation = f
        ctx.save_for_backward(grad, argument, weight)
        return _multiply(f.gradient(grad, argument), weight.t(), None)

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> tuple[Tensor | None, ...]:
        *saved, weight = ctx.saved_tensors
        f: Activation = ctx.activation
        need = wanted(ctx)

        def gradients(tangent: Tensor, grad: Tensor, p: Tensor) -> tuple[Tensor | None, ...]:
            """Derivatives of ``⟨t, (grad ∘ f′(p)) W⟩ = ⟨t Wᵀ, grad ∘ f′(p)⟩`` by grad, p and W."""
            moved = linear(tangent, weight)  # t Wᵀ
            return (
                f.gradient(moved, p) if need[0] else None,  # t Wᵀ ∘ f′(p)
                f.second_gradient(moved, grad, p) if need[1] else None,  # t Wᵀ ∘ grad ∘ f″(p)
                _transposed_product(f.gradient(grad, p), tangent) if need[2] else None,
            )

        return *_in_pieces(gradients, 2, tangents[0], *saved), None


def _in_pieces(
    function: Callable[..., tuple[Tensor | None, ...]], n_by_row: int, *rows: Tensor | None
) -> list[Tensor | None]:
    """``function(*rows)`` a piece at a time, if nothing is to be differentiated again.

    Args:
        function: of tensors with equally many rows, or None.
        n_by_row: results, the first ones, which have a row for each row; the others are sums.
        *rows: its arguments, of which the first is a tensor.
    """
    assert rows[0] is not None
    if torch.is_grad_enabled() or not _is_cut(rows[0]):
        return [*function(*rows)]
    n = rows[0].shape[0]
    totals: list[Tensor | None] = []
    for first in range(0, n, ROWS):
        piece = slice(first, first + ROWS)
        found = function(*(None if x is None else x[piece] for x in rows))
        if not totals:
            totals = [
                None if x is None
                else x.new_empty(n, *x.shape[1:]) if k < n_by_row
                else torch.zeros_like(x)
                for k, x in enumerate(found)
            ]  # fmt: skip
        for k, (total, x) in enumerate(zip(totals, found, strict=True)):
            if total is not None and x is not None:
                if k < n_by_row:
                    total[piece] = x
                else:
                    total += x
    return totals


def _transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """``aᵀ b``, by PyTorch's own product or as a dense layer."""
    narrow = min(a.shape[1], b.shape[1])
    if narrow >= NARROW and torch.get_float32_matmul_precision() == "highest":
        return a.t() @ b
    # oneDNN is faster if the wider factor comes second.
    if b.shape[1] < a.shape[1]:
        return linear(b.t(), a.t()).t()
    return linear(a.t(), b.t())


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x Wᵀ + b`` without its derivatives, by the faster library."""
    if not _worthwhile(x, weight):
        return F.linear(x, weight, bias)
    return _explicit_product(x, weight, bias, torch.get_float32_matmul_precision())


def _explicit_product(x: Tensor, weight: Tensor, bias: Tensor | None, precision: str) -> Tensor:
    """``x Wᵀ + b`` by oneDNN, or with factors and products in bfloat16 and sums in float32."""
    if precision == "highest":
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y
    y = (x.bfloat16() @ weight.bfloat16().t()).float()
    return y if bias is None else y.add_(bias)


def _tracked(*tensors: Tensor | None) -> bool:
    """Whether autograd records what is done to them."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _is_cut(rows: Tensor) -> bool:
    """Whether rows are taken in pieces: never where a program is made for any number of them."""
    is_large = not torch.compiler.is_compiling() and rows.shape[0] > ROWS
    return is_large and rows.device.type == "cpu"


def _worthwhile(x: Tensor, weight: Tensor) -> bool:
    """Whether the explicit product can do it, and is faster."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.numel() * weight.shape[0] >= max(LEAST_PRODUCTS, 1)
        and x.dtype == weight.dtype == torch.float32
        and (weight.is_contiguous() or weight.t().is_contiguous())  # else oneDNN crawls
        and not torch.is_autocast_enabled("cpu")
        and onednn_is_faster(torch.get_float32_matmul_precision())
    )
