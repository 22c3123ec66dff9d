"""Radial bases and envelopes."""

import copy
import math

import pytest
import torch
from devices import gradcheck, gradgradcheck, placed

from molgeo.ops.basis.envelope import PolynomialEnvelope, cosine_cutoff
from molgeo.ops.basis.radial import BesselBasis, GaussianBasis, SineBasis

pytestmark = pytest.mark.usefixtures("on_device")


def derivatives(function, d: torch.Tensor, order: int) -> list[torch.Tensor]:
    found = [function(d)]
    for _ in range(order):
        found.append(torch.autograd.grad(found[-1].sum(), d, create_graph=True)[0])
    return found


@pytest.mark.parametrize("exponent", [0, 1, 5])
@pytest.mark.parametrize("divided", [True, False])
def test_envelope_is_smooth_at_the_cutoff(exponent, divided):
    envelope = PolynomialEnvelope(5.0, exponent, divided=divided)
    inside = torch.tensor([5.0 - 1e-7], dtype=torch.float64, requires_grad=True)
    for value in derivatives(envelope, inside, 2):
        assert value.abs().item() < 1e-4
    assert envelope(torch.tensor([5.0, 7.0])).abs().max() == 0.0


def test_envelope_values():
    d = torch.tensor([0.5, 2.5, 4.5], dtype=torch.float64)
    x = d / 5.0
    p = 6
    expected = (
        1
        - (p + 1) * (p + 2) / 2 * x**p
        + p * (p + 2) * x ** (p + 1)
        - p * (p + 1) / 2 * x ** (p + 2)
    )
    torch.testing.assert_close(PolynomialEnvelope(5.0, 5, divided=False)(d), expected)
    torch.testing.assert_close(PolynomialEnvelope(5.0, 5)(d), expected / x)


def test_negative_exponent():
    with pytest.raises(ValueError, match="exponent: expected 0 or more, got -1"):
        PolynomialEnvelope(5.0, -1)


def test_cosine_cutoff():
    d = torch.tensor([0.0, 2.5, 5.0, 6.0], dtype=torch.float64)
    torch.testing.assert_close(
        cosine_cutoff(d, 5.0), torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64)
    )


def test_sine_basis():
    basis = placed(SineBasis(3, 5.0)).double()
    d = torch.tensor([0.6, 1.1, 3.0], dtype=torch.float64)
    expected = [[math.sin(n * math.pi * x / 5.0) / x for n in (1, 2, 3)] for x in d.tolist()]
    torch.testing.assert_close(basis(d), torch.tensor(expected).double(), rtol=1e-6, atol=1e-7)
    assert basis(torch.tensor([5.0], dtype=torch.float64)).abs().max() < 1e-6


def test_bessel_basis():
    basis = placed(BesselBasis(4, 5.0)).double()
    d = torch.tensor([0.6, 1.1, 3.0, 5.0], dtype=torch.float64)
    n = torch.arange(1, 5, dtype=torch.float64)
    waves = torch.sin(n * math.pi * d[:, None] / 5.0)
    expected = waves * PolynomialEnvelope(5.0, 5)(d)[:, None]
    torch.testing.assert_close(basis(d), expected, rtol=1e-6, atol=1e-7)
    assert basis.frequencies.requires_grad
    with torch.no_grad():
        basis.frequencies.zero_()
    assert basis(d).abs().max() == 0.0
    basis.reset_parameters()
    torch.testing.assert_close(basis.frequencies.detach(), n * math.pi)


def test_gaussian_basis():
    basis = placed(GaussianBasis(0.0, 5.0, 6)).double()
    d = torch.tensor([0.0, 1.5, 5.0], dtype=torch.float64)
    expected = torch.exp(-0.5 * (d[:, None] - torch.arange(6.0).double()) ** 2)
    torch.testing.assert_close(basis(d), expected)


@pytest.mark.parametrize("basis", [BesselBasis(6, 5.0), GaussianBasis(0.0, 5.0, 8)])
def test_gradients(basis):
    basis = placed(copy.deepcopy(basis)).double()
    d = torch.tensor([0.7, 2.0, 4.5], dtype=torch.float64, requires_grad=True)
    assert gradcheck(basis, d)
    assert gradgradcheck(basis, d)
