"""Functions that take interactions smoothly to zero at the cutoff."""

from __future__ import annotations

import math

from torch import Tensor, nn


def cosine_cutoff(d: Tensor, cutoff: float) -> Tensor:
    """``½ (cos(πd/cutoff) + 1)`` inside the cutoff, zero outside.

    Args:
        d: distances in Å.
        cutoff: Å.

    Returns:
        A tensor like ``d``.

    Source:
        Behler, J. Chem. Phys. 134, 074106 (2011), eq. 3.
    """
    return 0.5 * ((d * (math.pi / cutoff)).cos() + 1.0) * (d < cutoff)


class PolynomialEnvelope(nn.Module):
    """A polynomial with three vanishing derivatives at the cutoff, zero outside.

    ``u(x) = 1 − ½(p+1)(p+2) xᵖ + p(p+2) xᵖ⁺¹ − ½p(p+1) xᵖ⁺²`` with ``x = d/cutoff`` and
    ``p = exponent + 1``; the divided form is ``u(x)/x``.

    Args:
        cutoff: Å.
        exponent: as published configurations give it, one less than the paper's p.
        divided: divide by x, as published code does for the radial *and* the spherical basis.

    Source:
        Gasteiger, Groß, Günnemann, ICLR 2020 (DimeNet), eq. 8.
    """

    def __init__(self, cutoff: float, exponent: int = 5, *, divided: bool = True) -> None:
        super().__init__()
        if exponent < 0:
            raise ValueError(f"exponent: expected 0 or more, got {exponent}")
        self.cutoff = cutoff
        self.divided = divided
        self.p = exponent + 1

    def forward(self, d: Tensor) -> Tensor:
        """Evaluate at distances ``d`` in Å; the result has the shape of ``d``."""
        p = self.p
        x = d * (1.0 / self.cutoff)
        polynomial = -0.5 * (p + 1) * (p + 2) + x * (p * (p + 2) - 0.5 * p * (p + 1) * x)
        if self.divided:
            value = x.reciprocal() + x.pow(p - 1) * polynomial
        else:
            value = 1.0 + x.pow(p) * polynomial
        return value * (x < 1.0)
