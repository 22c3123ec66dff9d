"""Spherical harmonics of one and of two angles, as polynomials in components of unit vectors.

No angle is computed: not by acos, not by atan2, not by the norm of a cross product. So values and
all derivatives are finite if atoms are on one line or in one plane.

The two angles of a neighbour are seen from an axis, such as an edge or the way to the nearest atom,
and from a reference: θ is the angle between the axis and the neighbour, φ the torsion about the
axis from the reference to the neighbour, anticlockwise if the axis points at who looks. In a frame
of the axis, ``z = cos θ`` and ``x + iy = sin θ exp(iφ)`` are dot products, and so

    Y_lm(θ, φ) = N_lm Π_lm(z) · Re or Im (x + iy)ᵐ

The torsion between two neighbours a and b needs no reference: with any frame of the axis,
``(x_b + iy_b)(x_a − iy_a) = sin θ_a sin θ_b exp(i(φ_b − φ_a))``, which no turn of the frame
changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

COLLINEAR = 1e-6
"""sin² of the angle with an axis, 0.06°, below which a direction has no torsion about it."""


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
    """``H_lm``, so that ``Σ_m H_lm(u) H_lm(v) = Y_l0(u·v)``; see `harmonics`."""
    return _of_vectors(unit, [zonal_norm(l) for l in range(n_spherical)])


def racah_harmonics(unit: Tensor, n_spherical: int) -> Tensor:
    """``C_lm``, so that ``Σ_m C_lm(u) C_lm(v) = P_l(u·v)`` and C_00 = 1; see `harmonics`."""
    return _of_vectors(unit, [1.0] * n_spherical)


def _of_vectors(unit: Tensor, norms: Sequence[float]) -> Tensor:
    x, y, z = unit.unbind(-1)
    return harmonics(z, *powers(x, y, len(norms)), norms)


def orthonormal(n_spherical: int) -> list[float]:
    """Norms with which `harmonics` are orthonormal on the sphere: ``(2l + 1)/4π``.

    Args:
        n_spherical: number of orders.
    """
    return [zonal_norm(l) ** 2 for l in range(n_spherical)]


def powers(x: Tensor, y: Tensor, n: int) -> tuple[list[Tensor], list[Tensor]]:
    """Real and imaginary parts of ``(x + iy)ᵐ`` for m = 0 … n − 1.

    Args:
        x: (…,).
        y: (…,).
        n: their number, at least 1.

    Returns:
        Two lists of tensors like ``x``.
    """
    real, imaginary = [torch.ones_like(x)], [torch.zeros_like(x)]
    for _ in range(1, n):
        before = real[-1]
        real.append(x * before - y * imaginary[-1])
        imaginary.append(x * imaginary[-1] + y * before)
    return real, imaginary


def harmonics(
    z: Tensor, real: Sequence[Tensor], imaginary: Sequence[Tensor] | None, norms: Sequence[float]
) -> Tensor:
    """Real spherical harmonics of two angles, with ``Σ_m H_lm(u) H_lm(v) = norms[l] P_l(u·v)``.

    Associated Legendre functions without their sine factor, by recurrence in z, times the real and
    imaginary parts of (x + iy)ᵐ, which hold the sine: m > 0 goes with cos mφ, m < 0 with sin |m|φ.

    Args:
        z: (…,) cos θ.
        real: a tensor like ``z`` for each order: ``sinᵐθ cos mφ``, as from `powers`.
        imaginary: the same of ``sinᵐθ sin mφ``; None to leave out all m < 0. What is left does not
            change if everything is mirrored.
        norms: one for each order l = 0 … n_spherical − 1.

    Returns:
        (…, n_spherical²), orders ascending, m = −l … l within each. Without ``imaginary``
        (…, n_spherical (n_spherical + 1)/2), m = 0 … l within each.

    Source:
        Addition theorem: Abramowitz and Stegun 8.1; recurrences 8.5.3.
    """
    n_spherical = len(norms)
    columns: dict[tuple[int, int], Tensor] = {}
    for m in range(n_spherical):
        # Π_lm = P_lm / sinᵐ, without the Condon–Shortley phase
        previous = torch.zeros_like(z)
        current = torch.full_like(z, math.prod(range(1, 2 * m, 2)))
        for l in range(m, n_spherical):
            factor = math.factorial(l - m) / math.factorial(l + m) * (2 if m else 1)
            scale = math.sqrt(factor * norms[l])
            columns[l, m] = scale * current * real[m]
            if m and imaginary is not None:
                columns[l, -m] = scale * current * imaginary[m]
            following = ((2 * l + 1) * z * current - (l + m) * previous) / (l - m + 1)
            previous, current = current, following
    return torch.stack([columns[key] for key in sorted(columns)], dim=-1)


def perpendicular_axes(axis: Tensor) -> tuple[Tensor, Tensor]:
    """Two unit vectors that complete unit vectors to right-handed frames.

    They jump at z = 0, so only what no turn about the axis changes may be made of them. There is no
    direction at which they, or their derivatives, are not finite.

    Args:
        axis: (…, 3) unit vectors.

    Returns:
        Two tensors like ``axis``.

    Source:
        Duff, Burgess, Christensen, Hery, Kensler, Liani, Villemin, J. Comput. Graph. Tech. 6(1)
        (2017).
    """
    x, y, z = axis.unbind(-1)
    sign = torch.ones_like(z).where(z >= 0, -1.0)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = torch.stack([1.0 + sign * x.square() * a, sign * b, -sign * x], dim=-1)
    second = torch.stack([b, sign + y.square() * a, -y], dim=-1)
    return first, second


def normalised_plane(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """``exp(iφ)`` of ``x + iy = sin θ exp(iφ)``, or zero if the direction is on the axis.

    Args:
        x: (…,).
        y: (…,).

    Returns:
        Two tensors like ``x``, the real and the imaginary part.
    """
    square = x.square() + y.square()
    is_off_axis = square > COLLINEAR
    scale = square.where(is_off_axis, 1.0).rsqrt() * is_off_axis
    return x * scale, y * scale
