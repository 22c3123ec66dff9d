"""Functions that take interactions smoothly to zero at the cutoff."""

from __future__ import annotations

import math

from torch import Tensor


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
