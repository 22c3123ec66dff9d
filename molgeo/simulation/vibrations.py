"""Harmonic frequencies and the thermochemistry of an ideal gas, by ASE's modules."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from ase import Atoms, units
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import Vibrations
from numpy.typing import NDArray

from molgeo.chem.molecule import InputError
from molgeo.runtime.progress import Report, silent

Shape = Literal["monatomic", "linear", "nonlinear"]

DISPLACEMENT: Final = 0.001
"""Å, in both directions of every coordinate: small, as anharmonicity of a stiff bond shows in the
square of it, which float64 forces afford."""

LINEAR: Final = 1e-3
"""A molecule is linear where its smallest moment of inertia is less than this part of the largest;
a bend of 1° in CO2 makes 1e-4, water 0.3."""


@dataclass(frozen=True)
class Modes:
    """The vibrations of a molecule.

    Attributes:
        energies: (modes,) ħω in eV, ascending; complex, as imaginary ones are.
        rest: (3n − modes,) ħω in eV of what is left: drift and rotation, near zero at a minimum.
        shape: monatomic, linear or nonlinear, which says how many modes there are.
    """

    energies: NDArray[np.complex128]
    rest: NDArray[np.complex128]
    shape: Shape

    @property
    def frequencies_cm(self) -> list[float]:
        """Wave numbers in 1/cm; imaginary ones are negative."""
        return _wave_numbers(self.energies)

    @property
    def rest_cm(self) -> list[float]:
        """Wave numbers of drift and rotation in 1/cm; imaginary ones are negative."""
        return _wave_numbers(self.rest)

    @property
    def n_imaginary(self) -> int:
        """Modes along which the energy falls: zero at a minimum."""
        return int((self.energies.imag > 0).sum())


class _Reported(Vibrations):
    """ASE's vibrations, which say how far they have come."""

    report: Report = staticmethod(silent)
    done = 0

    def calculate(self, atoms: Atoms, disp: Any) -> dict[str, Any]:
        result: dict[str, Any] = super().calculate(atoms, disp)
        self.done += 1
        self.report(self.done, 2 * 3 * len(self.indices) + 1)
        return result


def vibrations(atoms: Atoms, displacement: float = DISPLACEMENT, report: Report = silent) -> Modes:
    """Harmonic vibrations about a stationary point, from central differences of forces.

    Args:
        atoms: a molecule with a calculator, best in float64; they are copied.
        displacement: Å.
        report: called for each of the 6n + 1 structures.

    Returns:
        The modes, without drift and rotation.

    Raises:
        InputError: the structure is periodic, or has constraints.
        ValueError: the calculator refuses the atoms.
    """
    check_molecule(atoms)
    own = atoms.copy()
    own.calc = atoms.calc
    with tempfile.TemporaryDirectory() as folder:  # ASE keeps each structure's forces in a file
        finite = _Reported(own, name=str(Path(folder) / "vibrations"), delta=displacement)
        finite.report = report
        finite.run()
        energies = finite.get_vibrations().get_energies()
    shape = shape_of(atoms)
    n_rest = {"monatomic": 3, "linear": 5, "nonlinear": 6}[shape]
    # By size, not by square: the imaginary mode of a saddle point is a mode.
    order = np.abs(energies).argsort()
    return Modes(_ascending(energies[order[n_rest:]]), _ascending(energies[order[:n_rest]]), shape)


def check_molecule(atoms: Atoms) -> None:
    """Refuse what has no vibrations of a free molecule.

    Raises:
        InputError: the structure is periodic, or has constraints.
    """
    if atoms.pbc.any():
        raise InputError(f"vibrations: expected a molecule, got pbc {atoms.pbc.tolist()}")
    if atoms.constraints:
        names = ", ".join(sorted({type(each).__name__ for each in atoms.constraints}))
        raise InputError(
            f"vibrations: expected a free molecule, got constraints ({names}): "
            "remove them from the input"
        )


def shape_of(atoms: Atoms) -> Shape:
    """How a molecule can rotate."""
    if len(atoms) == 1:
        return "monatomic"
    moments = atoms.get_moments_of_inertia()
    return "linear" if moments.min() < LINEAR * moments.max() else "nonlinear"


def thermochemistry(
    atoms: Atoms,
    modes: Modes,
    temperature_K: float = 298.15,
    pressure_bar: float = 1.01325,
    symmetry_number: int = 1,
) -> dict[str, float]:
    """Rigid rotor, harmonic oscillators, ideal gas, closed shell (`ase.thermochemistry`).

    Args:
        atoms: at a minimum, with a calculator.
        modes: of them, all real.
        temperature_K: K.
        pressure_bar: bar.
        symmetry_number: rotations that bring the molecule onto itself: 2 for water, 12 for benzene.

    Returns:
        ``zpe_eV``, the internal energy ``u_eV``, enthalpy ``h_eV``, Gibbs energy ``g_eV``, all
        three with the potential energy, and the entropy ``s_eV_K``.

    Raises:
        InputError: a mode is imaginary, or a value is out of its range.
    """
    positive = {"temperature": temperature_K, "pressure": pressure_bar}
    for name, value in (positive | {"symmetry_number": symmetry_number}).items():
        if not 0 < value < float("inf"):
            raise InputError(f"{name}: expected a number above zero, got {value}")
    if modes.n_imaginary:
        raise InputError(
            f"{modes.n_imaginary} of {len(modes.energies)} frequencies are imaginary, the largest "
            f"{min(modes.frequencies_cm):.0f}i 1/cm: no minimum, hence no thermochemistry"
        )
    gas = IdealGasThermo(
        modes.energies.real.tolist(),
        modes.shape,
        atoms.get_potential_energy(),
        atoms,
        symmetry_number,
        spin=0,
        vib_selection="exact",
    )
    T, pressure_Pa = temperature_K, pressure_bar * 1e5
    return {
        "zpe_eV": float(gas.get_ZPE_correction()),
        "u_eV": float(gas.get_internal_energy(T, verbose=False)),
        "h_eV": float(gas.get_enthalpy(T, verbose=False)),
        "s_eV_K": float(gas.get_entropy(T, pressure_Pa, verbose=False)),
        "g_eV": float(gas.get_gibbs_energy(T, pressure_Pa, verbose=False)),
    }


def _ascending(energies: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Imaginary ones first, the largest of them at the head."""
    return energies[(energies**2).real.argsort()]


def _wave_numbers(energies: NDArray[np.complex128]) -> list[float]:
    signed = np.where(energies.imag > 0, -energies.imag, energies.real)
    return [float(value) for value in signed / units.invcm]
