"""Harmonic frequencies and the thermochemistry of an ideal gas, by ASE's modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.calculator import CalculationFailed
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import VibrationsData
from numpy.typing import NDArray

from molgeo.runtime.errors import InputError
from molgeo.runtime.progress import Report, silent
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.relaxation import structure_of
from molgeo.simulation.together import Array, Structure, Together, most_pairs

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
        report: called with how many of the 6n displaced structures are done.

    Returns:
        The modes, without drift and rotation.

    Raises:
        InputError: the structure is periodic, or has constraints, or forces are no gradient.
        CalculationFailed: a force is not finite.
        ValueError: the calculator refuses the atoms.
    """
    check_molecule(atoms)
    if isinstance(atoms.calc, MolgeoCalculator):
        atoms.calc.check(atoms)
        (hessian,) = hessians([structure_of(atoms)], atoms.calc, displacement, report)
        return modes_of(atoms, hessian)
    places = displaced(structure_of(atoms), displacement)
    return modes_of(atoms, _hessian(_one_by_one(atoms, places, report), displacement))


def modes_of(atoms: Atoms, hessian: Array) -> Modes:
    """The modes of a molecule with this Hessian matrix, (3n, 3n) eV/Å².

    Raises:
        CalculationFailed: it is not finite.
    """
    if not np.isfinite(hessian).all():
        raise CalculationFailed("the model gave no finite forces of displaced atoms")
    energies = VibrationsData.from_2d(atoms, hessian).get_energies()
    shape = shape_of(atoms)
    n_rest = {"monatomic": 3, "linear": 5, "nonlinear": 6}[shape]
    # Drift and rotation are the n_rest of smallest |E|. The imaginary mode of a saddle point has a
    # large one, so it stays, though its E² is the lowest. The modes that stay ascend by E².
    energies = energies[np.abs(energies).argsort()]
    rest, modes = energies[:n_rest], energies[n_rest:]
    return Modes(modes[(modes**2).real.argsort()], rest, shape)


def hessians(
    structures: Iterable[Structure],
    calculator: MolgeoCalculator,
    displacement: float = DISPLACEMENT,
    report: Report = silent,
) -> Iterator[Array]:
    """Hessian matrices of structures, whose displaced ones are computed many at a time.

    Args:
        structures: taken as there is room.
        calculator: which accepts them; its models compute.
        displacement: Å.
        report: called with how many displaced structures of how many are done.

    Yields:
        (3n, 3n) eV/Å² of each, in their order; not finite if a force is not.
    """
    n_done, n = 0, 0

    def all_displaced() -> Iterator[Structure]:
        nonlocal n
        for one in structures:
            n += 6 * len(one.z)
            yield from displaced(one, displacement)

    def all_forces() -> Iterator[Array]:
        nonlocal n_done
        together = Together(calculator.models, 0.0, calculator.parameters["replay"])
        for batch in _batches(all_displaced(), most_pairs(together.device)):
            together.take(batch)
            pos = torch.from_numpy(np.concatenate([one.pos for one in batch]))
            forces = together(pos.to(together.device)).cpu().numpy()
            for own in np.split(forces, np.cumsum([len(one.z) for one in batch[:-1]])):
                n_done += 1
                report(n_done, n)
                yield own

    forces = all_forces()
    for first in forces:
        yield _hessian([first, *islice(forces, 6 * len(first) - 1)], displacement)


def displaced(structure: Structure, displacement: float) -> Iterator[Structure]:
    """6n structures: each coordinate less and more by a displacement in Å."""
    for k in range(structure.pos.size):
        for step in (-displacement, displacement):
            pos = structure.pos.copy()
            pos.reshape(-1)[k] += step
            yield structure._replace(pos=pos)


def _batches(structures: Iterable[Structure], most: int) -> Iterator[list[Structure]]:
    """Structures in a row of which Σ n² is bounded; one that has more is alone."""
    batch: list[Structure] = []
    n_pairs = 0
    for one in structures:
        n_pairs += len(one.z) ** 2
        if batch and n_pairs > most:
            yield batch
            batch, n_pairs = [], len(one.z) ** 2
        batch.append(one)
    if batch:
        yield batch


def _one_by_one(atoms: Atoms, places: Iterable[Structure], report: Report) -> Iterator[Array]:
    """Forces of displaced atoms, by whatever calculator they have."""
    own = atoms.copy()
    own.calc = atoms.calc
    for k, structure in enumerate(places, 1):
        own.positions = structure.pos
        yield own.get_forces()
        report(k, 6 * len(own))


def _hessian(forces: Iterable[Array], displacement: float) -> Array:
    """(3n, 3n) eV/Å²: H_ab = [F_b(x_a − δ) − F_b(x_a + δ)] / 2δ, made symmetric."""
    stacked = np.stack([*forces])
    less, more = stacked.reshape(len(stacked) // 2, 2, -1).transpose(1, 0, 2)
    hessian = (less - more) / (2 * displacement)
    made: Array = (hessian + hessian.T) / 2
    return made


def check_molecule(atoms: Atoms) -> None:
    """Refuse what has no vibrations of a free molecule.

    Raises:
        InputError: the structure is periodic, or has constraints, or forces are no gradient.
    """
    if direct := getattr(atoms.calc, "direct_forces", None):
        raise InputError(
            f"vibrations: {direct}, so that their derivatives are no Hessian matrix; expected a "
            "model whose forces are the gradient"
        )
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


def check_conditions(temperature_K: float, pressure_bar: float, symmetry_number: int) -> None:
    """Refuse conditions of no gas; arguments as of `thermochemistry`.

    Raises:
        InputError: a value is out of its range.
    """
    positive = {"temperature": temperature_K, "pressure": pressure_bar}
    for name, value in (positive | {"symmetry_number": symmetry_number}).items():
        if not 0 < value < float("inf"):
            raise InputError(f"{name}: expected a number above zero, got {value}")


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
    check_conditions(temperature_K, pressure_bar, symmetry_number)
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
