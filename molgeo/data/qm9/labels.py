"""QM9's labels as they were published: units and digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molgeo.units import HARTREE

HARTREE_PROPERTIES: Final = ("homo", "lumo", "gap", "zpve", "u0", "u298", "h298", "g298")
"""Properties that QM9 gives in Hartree."""

DECIMALS: Final = {
    "mu": 4, "alpha": 2, "homo": 4, "lumo": 4, "gap": 4, "r2": 4,
    "zpve": 6, "u0": 6, "u298": 6, "h298": 6, "g298": 6, "cv": 3,
}  # fmt: skip
"""Published digits of each label, in QM9's own units."""


def in_units(values: np.ndarray, properties: Sequence[str]) -> np.ndarray:
    """Convert (molecules, properties) from QM9's units to molgeo's, in float64."""
    factors = [HARTREE if name in HARTREE_PROPERTIES else 1.0 for name in properties]
    return values.astype(np.float64) * np.array(factors)
