"""The property of data with forces."""

from __future__ import annotations

from typing import Final

from molgeo.properties import Property

ENERGY: Final = Property("energy", "eV", "sum", "E", "potential energy, total", is_energy=True)
"""The energy whose negative gradient the forces are."""
