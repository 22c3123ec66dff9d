"""Zonal harmonics and their derivatives, as polynomials in a cosine."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def zonal_harmonics(cosine: Tensor, n_spherical: int, derivative: int = 0) -> Tensor:
    """``Y_l0(α) = √((2l+1)/4π) P_l(cos α)`` for l = 0 … n_spherical − 1, or a derivative of it.

    By recurrences without a division, so finite everywhere:

        l P_l = (2l−1) c P_{l−1} − (l−1) P_{l−2}
        P_l′ = c P_{l−1}′ + l P_{l−1},    P_l″ = c P_{l−1}″ + (l+1) P_{l−1}′

    Args:
        cosine: (…,) c = cos α.
        n_spherical: number of orders, at least 1.
        derivative: 0, or 1 or 2 for derivatives by the cosine.

    Returns:
        (…, n_spherical).
    """
    p = [torch.ones_like(cosine), cosine]
    for l in range(2, n_spherical):
        p.append((2 - 1 / l) * cosine * p[-1] - (1 - 1 / l) * p[-2])  # P_l
    for order in range(1, derivative + 1):
        q = [torch.zeros_like(cosine)]
        for l in range(1, n_spherical):
            q.append(torch.add((l + order - 1) * p[l - 1], cosine * q[-1]))  # P_l′, then P_l″
        p = q
    norms = [zonal_norm(l) for l in range(n_spherical)]
    return torch.stack([norm * p_l for norm, p_l in zip(norms, p, strict=False)], dim=-1)


def zonal_norm(l: int) -> float:
    """``√((2l+1)/4π)``, the value of Y_l0 at α = 0."""
    return math.sqrt((2 * l + 1) / (4 * math.pi))


def real_harmonics(unit: Tensor, n_spherical: int) -> Tensor:
    """``H_lm``, so that ``Σ_m H_lm(u) H_lm(v) = Y_l0(u·v)``; see `_scaled_harmonics`."""
    return _scaled_harmonics(unit, [zonal_norm(l) for l in range(n_spherical)])


def racah_harmonics(unit: Tensor, n_spherical: int) -> Tensor:
    """``C_lm``, so that ``Σ_m C_lm(u) C_lm(v) = P_l(u·v)`` C_00 = 1; see `_scaled_harmonics`."""
    return _scaled_harmonics(unit, [1.0] * n_spherical)


def _scaled_harmonics(unit: Tensor, norms: Sequence[float]) -> Tensor:
    """Real spherical harmonics with ``Σ_m H_lm(u) H_lm(v) = norms[l] P_l(u·v)``.

    Polynomials in the components of the vector: associated Legendre functions without their sine
    factor by recurrence in z, times the real and imaginary parts of (x + iy)ᵐ. All derivatives are
    finite, at the poles too.

    Args:
        unit: (…, 3) unit vectors.
        norms: one for each order l = 0 … n_spherical − 1.

    Returns:
        (…, n_spherical²), orders ascending, m = −l … l within each.

    Source:
        Addition theorem: Abramowitz and Stegun 8.1; recurrences 8.5.3.
    """
    n_spherical = len(norms)
    x, y, z = unit.unbind(-1)
    real, imaginary = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(1, n_spherical):
        real.append(x * real[-1] - y * imaginary[-1])  # Re (x + iy)ᵐ
        imaginary.append(x * imaginary[-1] + y * real[-2])  # Im (x + iy)ᵐ
    columns: dict[tuple[int, int], Tensor] = {}
    for m in range(n_spherical):
        # Π_lm = P_lm / sinᵐ, without the Condon–Shortley phase
        previous = torch.zeros_like(z)
        current = torch.full_like(z, math.prod(range(1, 2 * m, 2)))
        for l in range(m, n_spherical):
            factor = math.factorial(l - m) / math.factorial(l + m) * (2 if m else 1)
            scale = math.sqrt(factor * norms[l])
            columns[l, m] = scale * current * real[m]
            if m:
                columns[l, -m] = scale * current * imaginary[m]
            following = ((2 * l + 1) * z * current - (l + m) * previous) / (l - m + 1)
            previous, current = current, following
    return torch.stack(
        [columns[l, m] for l in range(n_spherical) for m in range(-l, l + 1)], dim=-1
    )
