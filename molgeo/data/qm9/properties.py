"""QM9's twelve properties."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from molgeo.properties import Property
from molgeo.runtime.errors import SettingError
from molgeo.units import BOLTZMANN

PV_298: Final = BOLTZMANN * 298.15
"""H − U of an ideal gas at 298.15 K, eV per molecule: RT, the difference of QM9's own labels."""

_TABLE: Final = (
    Property("mu", "D", "dipole", "μ", "dipole moment", minimum=0.0, column="mu_debye"),
    Property(
        "alpha", "a0³", "sum", "α", "isotropic polarizability", minimum=0.0, column="alpha_bohr3"
    ),
    Property("homo", "eV", "mean", "ε_HOMO", "highest occupied orbital energy"),
    Property("lumo", "eV", "mean", "ε_LUMO", "lowest unoccupied orbital energy"),
    # The orbitals of closed shells are filled from below, so that no gap is negative.
    Property("gap", "eV", "mean", "Δε", "HOMO–LUMO gap, learned on its own", minimum=0.0),
    Property(
        "r2", "a0²", "extent", "⟨R²⟩", "electronic spatial extent", minimum=0.0, column="r2_bohr2"
    ),
    Property("zpve", "eV", "sum", "ZPVE", "zero-point vibrational energy", minimum=0.0),
    Property("u0", "eV", "sum", "U0", "internal energy at 0 K, total", is_energy=True),
    Property("u298", "eV", "sum", "U", "internal energy at 298.15 K, total", is_energy=True),
    Property(
        "h298",
        "eV",
        "sum",
        "H",
        "enthalpy at 298.15 K, total",
        is_energy=True,
        tied_to=("u298", PV_298),
    ),
    Property("g298", "eV", "sum", "G", "free energy at 298.15 K, total", is_energy=True),
    Property("cv", "cal/mol/K", "sum", "Cv", "heat capacity at constant volume", minimum=0.0),
)

PROPERTIES: Final[dict[str, Property]] = {one.name: one for one in _TABLE}
"""QM9's properties by name, in the order of its labels and of output columns."""

LOG_WEIGHT: Final = Property(
    "log_weight", "", "extent", "w", "how likely QM9's label is of this conformer: a logarithm"
)
"""Of the model that weighs the conformers of a molecule: their shares are ``softmax(w)``."""

NAMES: Final = tuple(PROPERTIES)
"""Their names."""


def named(names: Iterable[str]) -> tuple[Property, ...]:
    """Some of QM9's properties.

    Args:
        names: of them, as a run's config or an old checkpoint gives them.

    Raises:
        SettingError: QM9 has no such property.
    """
    names = [names] if isinstance(names, str) else list(names)
    other = [f"{name!r:.60}" for name in names if name not in PROPERTIES]
    if other or not names:
        got = ", ".join(other) or "none"
        raise SettingError(f"properties: expected some of {', '.join(NAMES)}, got {got}")
    return tuple(PROPERTIES[name] for name in names)
