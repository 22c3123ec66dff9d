"""SiLU and its derivatives."""

import pytest
import torch
from devices import gradcheck, gradgradcheck
from torch.nn import functional as F

from molgeo.ops.activation import SCALED_SILU, silu_gradient, silu_second_gradient

pytestmark = pytest.mark.usefixtures("on_device")


def arguments():
    return torch.linspace(-30, 30, 61, dtype=torch.float64)


def slope(x):
    """silu′(x), to be differentiated."""
    return silu_gradient(torch.ones_like(x), x)


def pytorchs_slope(x):
    return torch.autograd.grad(F.silu(x).sum(), x, create_graph=True)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_pytorch_to_the_third_derivative(dtype):
    x = arguments().to(dtype).requires_grad_()
    own, expected = slope(x), pytorchs_slope(x)
    for _ in range(3):
        torch.testing.assert_close(own, expected)
        own, expected = (
            torch.autograd.grad(f.sum(), x, create_graph=True)[0] for f in (own, expected)
        )


def test_gradcheck():
    grad = torch.randn(11, dtype=torch.float64).requires_grad_()
    x = arguments()[::6].clone().requires_grad_()
    assert gradcheck(silu_gradient, (grad, x))
    assert gradgradcheck(silu_gradient, (grad, x))


def test_second_derivative_of_a_transposed_tensor():
    base = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(7, 5, dtype=torch.float64).t()
    found = [
        torch.autograd.grad((function(base.t()) * cotangent).sum(), base)[0]
        for function in (slope, pytorchs_slope)
    ]
    torch.testing.assert_close(*found)


def test_second_gradient_of_column_major_factors():
    tangent, grad, x = (torch.randn(5, 7, dtype=torch.float64).t() for _ in range(3))
    with torch.no_grad():
        found = silu_second_gradient(tangent, grad, x)
    s = x.sigmoid()
    expected = tangent * grad * s * (1 - s) * (2 + x * (1 - 2 * s))
    torch.testing.assert_close(found, expected)


def test_scaled_silu_keeps_a_variance_of_one():
    torch.manual_seed(0)
    x = torch.randn(100_000, dtype=torch.float64, requires_grad=True)
    y = SCALED_SILU.value(x)
    torch.testing.assert_close(y, F.silu(x) / 0.6)
    assert float(y.detach().square().mean()) == pytest.approx(1.0, abs=0.02)
    grad, tangent = torch.randn(2, 100_000, dtype=torch.float64)
    (first,) = torch.autograd.grad(y, x, grad, create_graph=True)
    torch.testing.assert_close(SCALED_SILU.gradient(grad, x), first)
    (second,) = torch.autograd.grad(first, x, tangent)
    with torch.no_grad():
        torch.testing.assert_close(SCALED_SILU.second_gradient(tangent, grad, x), second)
