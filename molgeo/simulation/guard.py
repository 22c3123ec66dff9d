"""When a simulation has left what its model knows, so that going on is worth nothing.

Four rules, each a method of `Guard`: the temperature, bonds that break, atoms that come too close,
and errors of forces that the models expect of themselves.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.stats import chi2

from molgeo.elements import COVALENT_RADII
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.familiarity import error_reason
from molgeo.simulation.motion import temperature

BOND: Final = 1.25
"""Bonds at the start are the pairs closer than this times the sum of their covalent radii."""

BROKEN: Final = 1.75
"""A bond is broken beyond this times that sum: 2.7 Å for C–C, 1.9 Å for C–H."""

MOVING: Final = 2 / 3
"""Part of a model's own limit of expected errors that holds in a run. The limit itself is that of
the training data, which have bonds torn and protons on their way; molecules that move and stay what
they are remain below two thirds of it, up to 3000 K."""

MOST_SPREAD: Final = 0.5
"""eV/Å, beyond which the forces of models that have no limit of their own disagree."""

SO_UNLIKELY: Final = 1e-9
"""Temperature rule: a temperature less probable than this is no fluctuation."""

HEADROOM: Final = 1.5
"""Temperature rule: times the least of these, for what a relaxing geometry sets free."""

HOT: Final = 3.0
"""Temperature rule: times the temperature of the run, below which a large system is only warm."""


class Guard:
    """Watches a run, and says why it should stop.

    Args:
        atoms: at the start, with a calculator; their bonds are those that should hold.
        temperature_K: of the run. The limit is this times the larger of `HOT` and `HEADROOM` times
            the chi-square quantile for so many degrees of freedom: the fewer there are, the more
            the temperature fluctuates.
        n_degrees: degrees of freedom.
        max_force_error: eV/Å, expected of the force on an atom; None for `MOVING` times the
            models' own limit, or `MOST_SPREAD` if they have none.

    Attributes:
        closest: Å, below which a pair lies outside the domain of the models; 0 if none is known.
        hottest: K, above which the temperature is no fluctuation.
    """

    def __init__(
        self,
        atoms: Atoms,
        temperature_K: float,
        n_degrees: int,
        max_force_error: float | None = None,
    ) -> None:
        self.n_degrees = n_degrees
        models = atoms.calc.models if isinstance(atoms.calc, MolgeoCalculator) else []
        domains = [each.domain for each in models if each.domain is not None]
        self.closest = max((domain.closest for domain in domains), default=0.0)
        own = getattr(atoms.calc, "max_force_error", None)
        limit = MOST_SPREAD if own is None else MOVING * own
        self.max_force_error = limit if max_force_error is None else max_force_error
        # 2 E_kin / kT is a sum of n squares of normal numbers: chi-square distributed, of mean n.
        quantile = float(chi2.isf(SO_UNLIKELY, n_degrees)) / n_degrees
        self.hottest = max(HEADROOM * quantile, HOT) * temperature_K
        self.bonds = bonds_of(atoms)

    def stop_reason(self, atoms: Atoms) -> str | None:
        """Why a run should not go on from here, or None."""
        return (
            self._temperature_reason(atoms)
            or self._bond_reason(atoms)
            or self._contact_reason(atoms)
            or self._error_reason(atoms)
        )

    def state(self) -> dict[str, Any]:
        """The bonds that should hold, and the limit of the temperature."""
        return {"bonds": list(self.bonds), "hottest": self.hottest}

    def restore(self, state: dict[str, Any]) -> None:
        """Watch over what another guard watched over."""
        self.bonds = Bonds(*state["bonds"])
        self.hottest = state.get("hottest", self.hottest)

    def _temperature_reason(self, atoms: Atoms) -> str | None:
        now = temperature(atoms, self.n_degrees)
        if now <= self.hottest:  # False for NaN
            return None
        return (
            f"the temperature ran away: {now:.0f} K, above the limit of {self.hottest:.0f} K; "
            "try a shorter timestep, or relax the structure first"
        )

    def _bond_reason(self, atoms: Atoms) -> str | None:
        length = self.bonds.lengths(atoms)
        stretch = length / self.bonds.longest
        if not (stretch > 1).any():
            return None
        k = int(stretch.argmax())
        name = _pair(atoms, self.bonds.i[k], self.bonds.j[k])
        return f"the bond {name} broke: {length[k]:.2f} Å"

    def _contact_reason(self, atoms: Atoms) -> str | None:
        if not self.closest:
            return None
        i, j, d = neighbor_list("ijd", atoms, self.closest)
        if not len(d):
            return None
        k = int(d.argmin())
        return (
            f"atoms {_pair(atoms, i[k], j[k])} are {d[k]:.2f} Å apart, outside the model's domain: "
            f"expected at least {self.closest:.2f} Å"
        )

    def _error_reason(self, atoms: Atoms) -> str | None:
        return error_reason(atoms, atoms.calc.results, self.max_force_error)


class Bonds(NamedTuple):
    """Bonds that should hold.

    Attributes:
        i: (bonds,) one atom of each.
        j: (bonds,) the other.
        shift: (bonds, 3) lattice translation of j.
        longest: (bonds,) Å, beyond which it is broken.
    """

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    shift: NDArray[np.int64]
    longest: NDArray[np.float64]

    def lengths(self, atoms: Atoms) -> NDArray[np.float64]:
        """(bonds,) Å."""
        apart = atoms.positions[self.j] - atoms.positions[self.i] + self.shift @ atoms.cell.array
        lengths: NDArray[np.float64] = np.linalg.norm(apart, axis=1)
        return lengths


def bonds_of(atoms: Atoms) -> Bonds:
    """Pairs within `BOND` times the sum of their covalent radii, periodic or not."""
    radii = np.array(COVALENT_RADII)[atoms.numbers]
    i, j, shift, d = neighbor_list("ijSd", atoms, 2 * BOND * radii.max(initial=0.0))
    bonded = (d < BOND * (radii[i] + radii[j])) & (i < j)  # one atom's own images are no bonds
    i, j, shift = i[bonded], j[bonded], shift[bonded]
    return Bonds(i, j, shift, BROKEN * (radii[i] + radii[j]))


def broken_bonds(before: Bonds, atoms: Atoms) -> list[str]:
    """Names of the bonds that are broken now."""
    broken = np.flatnonzero(before.lengths(atoms) > before.longest)
    return [_pair(atoms, before.i[k], before.j[k]) for k in broken]


def _name(atoms: Atoms, k: int) -> str:
    return f"{atoms.symbols[k]}{k + 1}"


def _pair(atoms: Atoms, i: int, j: int) -> str:
    return "–".join(_name(atoms, k) for k in sorted((int(i), int(j))))
