"""Physical constants and unit conversions; the only place in molgeo that converts.

Inside molgeo energies are eV, lengths Å, forces eV/Å, dipoles Debye (e·Å towards ASE), time fs and
temperature K. Constants are CODATA 2018 (Tiesinga et al., Rev. Mod. Phys. 93, 025010, 2021) unless
stated otherwise. PyG's ``QM9`` uses 27.211386246 eV per Hartree and ASE 27.211386024 (CODATA 2014);
over the largest QM9 energy (19,444 eV) the difference to the value below is below 0.2 meV.
"""

from __future__ import annotations

from typing import Final

HARTREE: Final = 27.211386245988
"""One Hartree in eV."""

BOHR: Final = 0.529177210903
"""One Bohr radius in Å."""

KCAL_MOL: Final = 4184.0 / 96485.33212331001
"""One kcal/mol in eV (thermochemical calorie, CODATA 2018 Faraday constant)."""

DEBYE: Final = 1e-11 / (299792458 * 1.602176634e-19)
"""One Debye in e·Å: 1e-21 C·m²/s over the speed of light and the elementary charge; exact."""

BOLTZMANN: Final = 1.380649e-23 / 1.602176634e-19
"""Boltzmann's constant in eV/K; exact, as joule, kelvin and elementary charge are defined."""
