"""The property table: what molgeo predicts, in which unit, and which physics its head follows."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

HeadKind = Literal["sum", "mean", "dipole", "extent"]


@dataclass(frozen=True)
class Property:
    """One molecular property.

    Attributes:
        name: short name, as in ``--properties``.
        column: name with its unit, as in every output.
        symbol: as papers write it.
        unit: of predictions, labels and errors.
        description: one line for people.
        head: how per-atom outputs become the property: ``sum`` (extensive), ``mean`` (intensive),
            ``dipole`` (norm of a sum of charges times positions) or ``extent`` (second moment).
        is_energy: a total energy, which has atom references and an atomization energy.
        minimum: what no molecule's value is below, in the unit: 0 for norms, extents, sums of
            squares, and for the gap, as the orbitals of closed shells are filled from below.
    """

    name: str
    column: str
    symbol: str
    unit: str
    description: str
    head: HeadKind
    is_energy: bool = False
    minimum: float = -math.inf


_TABLE: Final = (
    Property("mu", "mu_debye", "μ", "D", "dipole moment", "dipole", minimum=0.0),
    Property("alpha", "alpha_bohr3", "α", "a0³", "isotropic polarizability", "sum", minimum=0.0),
    Property("homo", "homo_eV", "ε_HOMO", "eV", "highest occupied orbital energy", "mean"),
    Property("lumo", "lumo_eV", "ε_LUMO", "eV", "lowest unoccupied orbital energy", "mean"),
    Property("gap", "gap_eV", "Δε", "eV", "HOMO–LUMO gap, learned on its own", "mean", minimum=0.0),
    Property("r2", "r2_bohr2", "⟨R²⟩", "a0²", "electronic spatial extent", "extent", minimum=0.0),
    Property("zpve", "zpve_eV", "ZPVE", "eV", "zero-point vibrational energy", "sum", minimum=0.0),
    Property("u0", "u0_eV", "U0", "eV", "internal energy at 0 K, total", "sum", True),
    Property("u298", "u298_eV", "U", "eV", "internal energy at 298.15 K, total", "sum", True),
    Property("h298", "h298_eV", "H", "eV", "enthalpy at 298.15 K, total", "sum", True),
    Property("g298", "g298_eV", "G", "eV", "free energy at 298.15 K, total", "sum", True),
    Property(
        "cv",
        "cv_cal_mol_K",
        "Cv",
        "cal/mol/K",
        "heat capacity at constant volume",
        "sum",
        minimum=0.0,
    ),
    Property("energy", "energy_eV", "E", "eV", "potential energy, total", "sum", True),
)

PROPERTIES: Final[dict[str, Property]] = {p.name: p for p in _TABLE}
"""Every known property by name, in the order of output columns."""

QM9_PROPERTIES: Final = tuple(name for name in PROPERTIES if name != "energy")
"""The twelve of QM9, which knows relaxed molecules only; ``energy`` is a force field's."""

ATOMIZATION: Final = "_atomization"
"""Suffix of the key of an energy relative to its free atoms: ``u0`` → ``u0_atomization``."""


def first_energy(names: Iterable[str]) -> str | None:
    """The first energy of some properties: forces derive from it, conformers are weighted by it.

    Args:
        names: known properties.
    """
    return next((name for name in names if PROPERTIES[name].is_energy), None)


def column(key: str) -> str:
    """Output column of a property or of an energy's atomization energy.

    Args:
        key: a property's name, or one with ``_atomization`` (``u0_atomization``).

    Returns:
        The name with its unit: ``gap`` → ``gap_eV``, ``u0_atomization`` → ``u0_atomization_eV``.

    Raises:
        KeyError: the property is unknown, or has no atomization energy.
    """
    known = PROPERTIES.get(key.removesuffix(ATOMIZATION))
    if known is None or not (known.name == key or known.is_energy):
        raise KeyError(
            f"property: expected one of {', '.join(PROPERTIES)}, or an energy with "
            f"{ATOMIZATION!r}, got {key!r}"
        )
    return known.column if known.name == key else f"{key}_{known.unit}"
