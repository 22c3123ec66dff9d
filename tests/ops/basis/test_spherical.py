"""The spherical basis against SciPy."""

import numpy as np
import pytest
import torch
from devices import gradcheck, gradgradcheck, placed
from scipy.special import spherical_jn

from molgeo.ops.basis.spherical import (
    SphericalBesselBasis,
    spherical_bessel,
    spherical_bessel_zeros,
)

pytestmark = pytest.mark.usefixtures("on_device")

CUTOFF = 5.0


def test_bessel_functions_agree_with_scipy():
    x = torch.cat([torch.zeros(1), torch.logspace(-6, 2, 400)]).double()
    for l in range(12):
        expected = torch.as_tensor(spherical_jn(l, x.cpu().numpy()))
        torch.testing.assert_close(spherical_bessel(l, x), expected, rtol=1e-9, atol=1e-14)


def test_zeros_are_zeros_in_order():
    zeros = spherical_bessel_zeros(9, 12)
    torch.testing.assert_close(zeros[0], torch.pi * torch.arange(1.0, 13.0, device="cpu").double())
    for l, z in enumerate(zeros):
        assert np.abs(spherical_jn(l, z.numpy())).max() < 1e-14
        # None is missed: the function has one sign change between neighbours.
        middle = spherical_jn(l, torch.cat([z[:1] / 2, (z[:-1] + z[1:]) / 2]).numpy())
        assert (np.sign(middle) == (-1.0) ** np.arange(12)).all()


def reference(l: int, n: int, d: np.ndarray, divided: bool) -> tuple[np.ndarray, np.ndarray]:
    """R_ln and its derivative in closed form, float64."""
    zero = spherical_bessel_zeros(l, n + 1)[l, n].item()
    norm = np.sqrt(2) / abs(spherical_jn(l + 1, zero))
    x = d / CUTOFF
    j, dj = spherical_jn(l, zero * x), zero * spherical_jn(l, zero * x, derivative=True)
    u = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    du = -168 * x**5 + 336 * x**6 - 168 * x**7
    if divided:
        u, du = u / x, du / x - u / x**2
    return norm * j * u, norm * (dj * u + j * du) / CUTOFF


@pytest.mark.parametrize("envelope", ["code", "paper"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-11)])
def test_values_and_derivatives(envelope, dtype, tolerance):
    basis = placed(SphericalBesselBasis(7, 6, CUTOFF, envelope=envelope))
    # Distances that float32 holds, so that its rounding of d is not what is measured.
    d = torch.linspace(0.4, CUTOFF - 1e-3, 500).to(dtype)
    values, slopes = torch.func.jvp(basis, (d,), (torch.ones_like(d),))
    assert values.shape == (500, 7, 6)
    assert values.dtype == dtype
    for l in range(7):
        for n in range(6):
            expected, slope = reference(l, n, d.double().cpu().numpy(), envelope == "code")
            error = np.abs(values[:, l, n].cpu().numpy() - expected).max()
            slope_error = np.abs(slopes[:, l, n].cpu().numpy() - slope).max()
            assert error < tolerance * np.abs(expected).max()
            assert slope_error < tolerance * np.abs(slope).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_second_derivatives_are_finite_everywhere(dtype):
    basis = placed(SphericalBesselBasis(7, 6, CUTOFF))
    d = torch.tensor([0.05, 0.4, 2.0, 4.999, CUTOFF, 6.0], dtype=dtype, requires_grad=True)
    (first,) = torch.autograd.grad(basis(d).sum(), d, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), d)
    assert second.isfinite().all()
    assert basis(d)[-2:].abs().max() == 0.0


def test_gradcheck():
    basis = placed(SphericalBesselBasis(4, 3, CUTOFF))
    d = torch.tensor([0.5, 1.7, 4.2], dtype=torch.float64, requires_grad=True)
    assert gradcheck(basis, d)
    assert gradgradcheck(basis, d)


def test_functions_of_one_order_are_orthonormal():
    basis = placed(SphericalBesselBasis(7, 6, CUTOFF, envelope=None))
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x = torch.as_tensor(0.5 * (nodes + 1))
    values = basis(CUTOFF * x)
    gram = torch.einsum("x,xln,xlm->lnm", torch.as_tensor(weights) / 2 * x**2, values, values)
    torch.testing.assert_close(gram, torch.eye(6).double().expand(7, 6, 6))


def test_unknown_envelope():
    with pytest.raises(ValueError, match="envelope: expected 'code' or 'paper', got 'none'"):
        SphericalBesselBasis(7, 6, CUTOFF, envelope="none")
