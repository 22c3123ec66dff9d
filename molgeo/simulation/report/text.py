"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

PER_LINE: Final = 6
"""Frequencies in one line."""

_THERMOCHEMISTRY: Final = {
    "zpe_eV": ("zero-point vibrational energy", "eV"),
    "u_eV": ("internal energy U", "eV"),
    "h_eV": ("enthalpy H", "eV"),
    "s_eV_K": ("entropy S", "eV/K"),
    "g_eV": ("Gibbs energy G", "eV"),
}


def aligned_lines(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values under each other."""
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"{name.ljust(width)}  {value}\n" for name, value in rows)


def vibration_table(result: dict[str, Any]) -> str:
    """Frequencies and thermochemistry of one molecule.

    Args:
        result: as ``molgeo vib`` writes it in JSON; without thermochemistry if there is none.
    """
    label = result["name"] or result["smiles"] or result["formula"]
    about = [result["formula"], f"{result['n_atoms']} atoms", result["geometry"], result["model"]]
    lines = [label, "  ".join(about), "", "frequencies in 1/cm (imaginary ones negative)"]
    frequencies = [f"{value:9.1f}" for value in result["frequencies_cm"]]
    starts = range(0, len(frequencies), PER_LINE)
    lines += ["".join(frequencies[first : first + PER_LINE]) for first in starts]
    rows = [("potential energy", f"{result['energy_eV']:14.6f}  eV")]
    if "max_force_std_eV_A" in result:
        value = f"{result['max_force_std_eV_A']:14.6f}  eV/Å"
        rows.append(("largest expected error of a force", value))
    if "zpe_eV" in result:
        lines.append("")
        lines.append(
            f"ideal gas at {result['temperature_K']:g} K and {result['pressure_bar']:g} bar, "
            f"symmetry number {result['symmetry_number']}"
        )
        rows += [(name, f"{result[k]:14.6f}  {u}") for k, (name, u) in _THERMOCHEMISTRY.items()]
    return "\n".join(lines) + "\n" + aligned_lines(rows)
