"""SiLU and its derivatives."""

import pytest
import torch
from torch.nn import functional as F

from molgeo.ops.activation import silu, silu_second_gradient

X = torch.linspace(-30, 30, 61, dtype=torch.float64)


def derivatives(function, x, order):
    """The function and its derivatives by x, all differentiable."""
    found = [function(x)]
    for _ in range(order):
        found += torch.autograd.grad(found[-1].sum(), x, create_graph=True)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_pytorch_to_the_third_derivative(dtype):
    x = X.to(dtype).requires_grad_()
    for own, expected in zip(derivatives(silu, x, 3), derivatives(F.silu, x, 3), strict=True):
        torch.testing.assert_close(own, expected)


def test_gradcheck():
    x = X[::6].clone().requires_grad_()
    assert torch.autograd.gradcheck(silu, x)
    assert torch.autograd.gradgradcheck(silu, x)


def test_without_derivatives_it_is_pytorchs():
    assert torch.equal(silu(X), F.silu(X))


def test_second_derivative_of_a_transposed_tensor():
    base = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    cotangent = torch.randn(7, 5, dtype=torch.float64).t()
    found = []
    for function in (silu, F.silu):
        (first,) = torch.autograd.grad(
            function(base.t()), base, cotangent.contiguous().t().t(), create_graph=True
        )
        found.append(torch.autograd.grad((first * cotangent.t()).sum(), base)[0])
    torch.testing.assert_close(*found)


def test_second_gradient_of_column_major_factors():
    tangent, grad, x = (torch.randn(5, 7, dtype=torch.float64).t() for _ in range(3))
    with torch.no_grad():
        found = silu_second_gradient(tangent, grad, x)
    s = x.sigmoid()
    expected = tangent * grad * s * (1 - s) * (2 + x * (1 - 2 * s))
    torch.testing.assert_close(found, expected)
