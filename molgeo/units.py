"""Physical constants and unit conversions; the only place in molgeo that converts.

Inside molgeo energies are eV, lengths Å, forces eV/Å, dipoles Debye (e·Å for ASE), times fs and
temperatures K. Constants are CODATA 2018 (Tiesinga et al., Rev. Mod. Phys. 93, 025010, 2021) unless
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

KJ_MOL: Final = KCAL_MOL / 4.184
"""One kJ/mol in eV."""

ENERGY_UNITS: Final = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": KCAL_MOL,
    "kJ/mol": KJ_MOL,
    "hartree": HARTREE,
    "rydberg": 0.5 * HARTREE,
}
"""Units of energy that data sets come in, by name, in eV."""

LENGTH_UNITS: Final = {"angstrom": 1.0, "bohr": BOHR, "nm": 10.0}
"""Units of length that data sets come in, by name, in Å."""

COORDINATE_UNITS: Final = {**LENGTH_UNITS, "pm": 0.01}
"""Units that coordinates of one molecule come in, by name, in Å."""


def force_unit(name: str) -> float:
    """A unit of force in eV/Å.

    Args:
        name: ``ENERGY/LENGTH`` of `ENERGY_UNITS` and `LENGTH_UNITS`, such as ``hartree/bohr`` or
            ``kcal/mol/angstrom``.

    Raises:
        ValueError: the name is not of that form.
    """
    energy, _, length = name.rpartition("/")
    if energy not in ENERGY_UNITS or length not in LENGTH_UNITS:
        raise ValueError(
            f"force_unit: expected ENERGY/LENGTH with one of {', '.join(ENERGY_UNITS)} and one of "
            f"{', '.join(LENGTH_UNITS)}, got {name!r}"
        )
    return ENERGY_UNITS[energy] / LENGTH_UNITS[length]
