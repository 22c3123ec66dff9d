"""Harmonics against scipy's Legendre polynomials, by the addition theorem."""

import math

import pytest
import torch
from numpy.polynomial.legendre import leggauss
from scipy.special import eval_legendre, factorial, lpmv

from molgeo.ops.basis.harmonics import (
    harmonics,
    normalised_plane,
    orthonormal,
    perpendicular_axes,
    powers,
    racah_harmonics,
    real_harmonics,
    zonal_harmonics,
)

pytestmark = pytest.mark.usefixtures("on_device")

N_SPHERICAL = 8


@pytest.fixture
def unit() -> torch.Tensor:
    """Directions, both poles and the axes among them."""
    torch.manual_seed(0)
    drawn = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=-1)
    return torch.cat([torch.eye(3).double(), -torch.eye(3).double(), drawn])


@pytest.mark.parametrize("racah", [False, True])
def test_addition_theorem(unit: torch.Tensor, racah: bool) -> None:
    harmonics = (racah_harmonics if racah else real_harmonics)(unit, N_SPHERICAL)
    cosine = unit @ unit.T
    for l in range(N_SPHERICAL):
        own = harmonics[:, l * l : (l + 1) ** 2]
        norm = 1.0 if racah else math.sqrt((2 * l + 1) / (4 * math.pi))
        expected = norm * torch.as_tensor(eval_legendre(l, cosine.cpu().numpy()))
        torch.testing.assert_close(own @ own.T, expected, rtol=0, atol=1e-12)


def test_components_are_orthogonal_on_the_sphere() -> None:
    """By quadrature: Gauss and Legendre in z, even steps around it."""
    z, weight = (torch.as_tensor(x) for x in leggauss(10))
    phi = torch.arange(20, dtype=torch.float64) * (2 * math.pi / 20)
    rho = (1 - z.square()).sqrt()
    parts = rho[:, None] * phi.cos(), rho[:, None] * phi.sin(), z[:, None].expand(-1, 20)
    c = racah_harmonics(torch.stack(parts, -1).double(), 5).flatten(0, 1)
    gram = c.T @ (weight.repeat_interleave(20)[:, None] * c) / 40
    orders = torch.tensor([2 * l + 1 for l in range(5) for _ in range(2 * l + 1)])
    torch.testing.assert_close(gram, torch.diag(1 / orders.double()), rtol=0, atol=1e-12)


def test_second_derivatives_are_finite_at_the_poles(unit: torch.Tensor) -> None:
    unit = unit.requires_grad_()
    total = racah_harmonics(unit, N_SPHERICAL).square().sum()
    (first,) = torch.autograd.grad(total, unit, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), unit)
    assert first.isfinite().all()
    assert second.isfinite().all()


@pytest.mark.parametrize("derivative", [1, 2])
def test_derivatives_of_zonal_harmonics(derivative: int) -> None:
    cosine = torch.linspace(-1.0, 1.0, 11, dtype=torch.float64, requires_grad=True)
    value = zonal_harmonics(cosine, N_SPHERICAL)
    for l in range(N_SPHERICAL):
        expected = value[:, l]
        for _ in range(derivative):
            (expected,) = torch.autograd.grad(
                expected.sum(), cosine, create_graph=True, allow_unused=True, materialize_grads=True
            )
        found = zonal_harmonics(cosine.detach(), N_SPHERICAL, derivative)[:, l]
        torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-9)


def of_angles(theta: float, phi: float) -> list[float]:
    """Orthonormal real harmonics of two angles, by their definition."""
    values = []
    for l in range(N_SPHERICAL):
        for m in range(-l, l + 1):
            k = abs(m)
            norm = math.sqrt(
                (2 * l + 1) / (4 * math.pi) * factorial(l - k) / factorial(l + k) * (2 if m else 1)
            )
            legendre = (-1) ** k * lpmv(k, l, math.cos(theta))  # without the phase
            values.append(norm * legendre * (math.cos(m * phi) if m >= 0 else math.sin(k * phi)))
    return values


def test_harmonics_of_two_angles() -> None:
    angles = [(0.3, 1.0), (2.9, -2.0), (1.2, 3.1), (0.0, 0.0), (math.pi, 0.0), (math.pi / 2, 5.0)]
    expected = torch.tensor([of_angles(*each) for each in angles], dtype=torch.float64)
    theta, phi = torch.tensor(angles, dtype=torch.float64).unbind(-1)
    norms = orthonormal(N_SPHERICAL)
    turned = powers(theta.sin() * phi.cos(), theta.sin() * phi.sin(), N_SPHERICAL)
    found = harmonics(theta.cos(), *turned, norms)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    even = [
        n for n, m in enumerate(m for l in range(N_SPHERICAL) for m in range(-l, l + 1)) if m >= 0
    ]
    found = harmonics(theta.cos(), turned[0], None, norms)
    torch.testing.assert_close(found, expected[:, even], rtol=0, atol=1e-13)


def test_axes_complete_right_handed_frames(unit: torch.Tensor) -> None:
    first, second = perpendicular_axes(unit)
    frames = torch.stack([first, second, unit], dim=1)
    eye = torch.eye(3, dtype=unit.dtype).expand_as(frames)
    torch.testing.assert_close(frames @ frames.mT, eye, rtol=0, atol=1e-14)
    torch.testing.assert_close(torch.linalg.cross(first, second), unit, rtol=0, atol=1e-14)


def test_what_is_on_the_axis_has_no_torsion() -> None:
    x = torch.tensor([0.0, 3e-4, 0.6], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.0, 3e-4, -0.8], dtype=torch.float64)
    real, imaginary = normalised_plane(x, y)
    assert real.tolist() == pytest.approx([0.0, 0.0, 0.6], abs=1e-15)
    assert imaginary.tolist() == pytest.approx([0.0, 0.0, -0.8], abs=1e-15)
    (slope,) = torch.autograd.grad(real.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), x)
    assert slope[:2].tolist() == [0.0, 0.0]
    assert second.isfinite().all()
