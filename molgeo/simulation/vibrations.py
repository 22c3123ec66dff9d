"""Harmonic frequencies and the thermochemistry of an ideal gas, by ASE's modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from ase import Atoms, units
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import VibrationsData
from numpy.typing import NDArray

from molgeo.runtime.errors import InputError
from molgeo.runtime.progress import Report, silent

Shape = Literal["monatomic", "linear", "nonlinear"]

DISPLACEMENT: Final = 0.001
"""Å, in both directions of every coordinate: small, as anharmonicity of a stiff bond shows in the
square of it, which float64 forces afford."""

LINEAR: Final = 1e-3
"""A molecule is linear if its smallest moment of inertia is less than this part of the largest;
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
        signed = np.where(self.energies.imag > 0, -self.energies.imag, self.energies.real)
        return [float(value) for value in signed / units.invcm]

    @property
    def n_imaginary(self) -> int:
        """Modes along which the energy falls: zero at a minimum."""
        return int((self.energies.imag > 0).sum())


def vibrations(atoms: Atoms, displacement: float = DISPLACEMENT, report: Report = silent) -> Modes:
    """Harmonic vibrations about a stationary point, from central differences of forces.

    Args:
        atoms: a molecule with a calculator, best in float64; they are copied.
        displacement: Å.
        report: called for each of the 6n displaced structures.

    Returns:
        The modes, without drift and rotation.

    Raises:
        InputError: the structure is periodic, or has constraints.
        ValueError: the calculator refuses the atoms.
    """
    check_molecule(atoms)
    own = atoms.copy()
    own.calc = atoms.calc
    energies = VibrationsData.from_2d(own, _hessian(own, displacement, report)).get_energies()
    shape = shape_of(atoms)
    n_rest = {"monatomic": 3, "linear": 5, "nonlinear": 6}[shape]
    # Drift and rotation are the n_rest of smallest |E|. The imaginary mode of a saddle point has a
    # large one, so it stays, though its E² is the lowest. The modes that stay ascend by E².
    energies = energies[np.abs(energies).argsort()]
    rest, modes = energies[:n_rest], energies[n_rest:]
    return Modes(modes[(modes**2).real.argsort()], rest, shape)


def _hessian(atoms: Atoms, displacement: float, report: Report) -> NDArray[np.float64]:
    """(3n, 3n) eV/Å²: H_ab = [F_b(x_a − δ) − F_b(x_a + δ)] / 2δ, made symmetric."""
    places = atoms.positions.flatten()
    rows = []
    for k in range(len(places)):
        forces = []
        for step in (-displacement, displacement):
            moved = places.copy()
            moved[k] += step
            atoms.positions = moved.reshape(-1, 3)
            forces.append(atoms.get_forces().ravel())
            report(2 * k + len(forces), 2 * len(places))
        rows.append((forces[0] - forces[1]) / (2 * displacement))
    atoms.positions = places.reshape(-1, 3)
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2


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
            f"{min(modes.frequencies_cm):.0f}i 1/cm: no minimum, so no thermochemistry"
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
