"""The radial part of DimeNet's spherical basis, and spherical Bessel functions without SciPy.

The basis functions ``R_ln(d) ∝ j_l(z_ln d/cutoff)`` are entire functions of d, so their Chebyshev
interpolants on [0, cutoff] converge faster than geometrically: with some forty terms they are exact
to float64's rounding. They are built once, in float64, from an accurate j_l; evaluating them is a
three-term recurrence in d and one small matrix product. There is no division by d, so none of
the cancellation that closed forms of j_l suffer at small arguments, and derivatives of every order
are polynomials too.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from molgeo.ops.basis.envelope import PolynomialEnvelope

EnvelopeForm = Literal["code", "paper"]


def spherical_bessel(l: int, x: Tensor) -> Tensor:
    """Spherical Bessel function of the first kind, ``j_l(x)``.

    Upward recurrence ``j_{l+1} = (2l+1)/x · j_l − j_{l−1}`` where it is stable (x > l + 1), else
    the power series ``j_l = xˡ Σ_k (−x²/2)ᵏ / (k! (2l+2k+1)!!)``.

    Args:
        l: order.
        x: (…,) float64, zero or more.

    Returns:
        (…,) float64.

    Source:
        Abramowitz and Stegun, 10.1.2 and 10.1.19.
    """
    term = x.pow(l) / math.prod(range(1, 2 * l + 2, 2))
    series = term
    for k in range(1, 20 + 2 * l):
        term = term * (-0.5 * x.square()) / (k * (2 * l + 2 * k + 1))
        series = series + term
    return torch.where(x > l + 1, _upward(l, x.clamp_min(l + 1)), series)


def _upward(l: int, x: Tensor) -> Tensor:
    """``j_l`` by upward recurrence, for x > l."""
    previous, current = x.cos() / x, x.sin() / x  # j_{−1}, j_0
    for order in range(l):
        previous, current = current, (2 * order + 1) / x * current - previous
    return current


def spherical_bessel_zeros(l_max: int, n: int) -> Tensor:
    """The first ``n`` positive zeros of ``j_0 … j_{l_max}``.

    The zeros of j_l and j_{l−1} interlace, so each lies in a known bracket, which is bisected.

    Args:
        l_max: highest order.
        n: number of zeros of each order.

    Returns:
        (l_max + 1, n) float64.
    """
    bracket = math.pi * torch.arange(1, n + l_max + 1, dtype=torch.float64)  # zeros of j_0
    zeros = [bracket[:n]]
    for l in range(1, l_max + 1):
        low, high = bracket[:-1], bracket[1:]  # all beyond l, where the recurrence is stable
        sign = _upward(l, low).sign()
        for _ in range(52):  # halves the bracket to float64's spacing
            middle = 0.5 * (low + high)
            below = _upward(l, middle).sign() == sign
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        bracket = 0.5 * (low + high)
        zeros.append(bracket[:n])
    return torch.stack(zeros)


class SphericalBesselBasis(nn.Module):
    """``R_ln(d) = √2/|j_{l+1}(z_ln)| · j_l(z_ln x) · envelope``, ``x = d/cutoff``, j_l(z_ln) = 0.

    Together with the zonal harmonics Y_l0(α) of `molgeo.ops.directional` these are the paper's 2D
    basis ``a_SBF,ln(d, α)``.

    Args:
        n_spherical: number of orders l = 0 … n_spherical − 1.
        n_radial: functions of each order.
        cutoff: Å.
        exponent: of the envelope.
        envelope: ``code``: u(x)/x as in published code and weights; ``paper``: u(x); None: 1 within
            the cutoff and 0 beyond it, so that values go on there and slopes do not.

    Source:
        Gasteiger, Groß, Günnemann, ICLR 2020 (DimeNet), eq. 6 and 8.

    Deviation:
        Without the paper's constant 1/√cutoff³, as in published code and weights. The division by x
        of ``code`` is an error according to the authors.
    """

    def __init__(
        self,
        n_spherical: int,
        n_radial: int,
        cutoff: float,
        exponent: int = 5,
        envelope: EnvelopeForm | None = "code",
    ) -> None:
        super().__init__()
        if envelope not in ("code", "paper", None):
            raise ValueError(f"envelope: expected 'code' or 'paper', got {envelope!r}")
        self.n_spherical = n_spherical
        self.n_radial = n_radial
        self.cutoff = cutoff
        self.has_envelope = envelope is not None
        self.envelope = PolynomialEnvelope(cutoff, exponent, divided=envelope == "code")
        self._table = _table(n_spherical, n_radial)

    def forward(self, d: Tensor) -> Tensor:
        """Expand (pairs,) distances in Å to (pairs, n_spherical, n_radial)."""
        if self._table.device != d.device:
            self._table = self._table.to(d.device)
        # The recurrence amplifies rounding by the square of its length: it needs float64.
        t = d.double().clamp(max=self.cutoff) * (2.0 / self.cutoff) - 1.0
        twice = 2.0 * t
        chebyshev = [torch.ones_like(t), t]
        for _ in range(2, self._table.shape[0]):
            chebyshev.append(twice * chebyshev[-1] - chebyshev[-2])
        values = (torch.stack(chebyshev, dim=-1) @ self._table).to(d.dtype)
        scale = self.envelope(d) if self.has_envelope else (d < self.cutoff).to(d.dtype)
        values = values * scale.unsqueeze(-1)
        return values.view(-1, self.n_spherical, self.n_radial)


@cache
def _table(n_spherical: int, n_radial: int) -> Tensor:
    """The coefficients on the CPU, whatever the device and mode that a model is built in."""
    with torch.inference_mode(False), torch.device("cpu"):
        return _chebyshev_coefficients(n_spherical, n_radial)


def _chebyshev_coefficients(n_spherical: int, n_radial: int) -> Tensor:
    """(terms, n_spherical·n_radial): ``√2/|j_{l+1}(z)| j_l(z x)`` on [0, 1]."""
    zeros = spherical_bessel_zeros(n_spherical - 1, n_radial)
    norm = torch.stack(
        [math.sqrt(2.0) / spherical_bessel(l + 1, z).abs() for l, z in enumerate(zeros)]
    )
    # A wave exp(izx) on [0, 1] has Chebyshev coefficients J_m(z/2), negligible 24 beyond m = z/2.
    n_terms = int(zeros.max() / 2) + 24
    m = torch.arange(n_terms, dtype=torch.float64)
    theta = math.pi * (m + 0.5) / n_terms
    x = 0.5 * (theta.cos() + 1.0)  # Chebyshev nodes
    # (nodes, n_spherical, n_radial)
    values = torch.stack([spherical_bessel(l, x[:, None] * z) for l, z in enumerate(zeros)], dim=1)
    transform = (2.0 / n_terms) * torch.cos(m[:, None] * theta)
    transform[0] *= 0.5
    return transform @ (norm * values).flatten(1)
