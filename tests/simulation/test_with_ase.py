"""What people do with ASE, on the shipped force field with charges."""

import multiprocessing

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixInternals, Hookean
from ase.db import connect
from ase.io import Trajectory, read
from ase.mep import NEB, DimerControl, MinModeAtoms, MinModeTranslate
from ase.optimize import BFGS, FIRE, LBFGS, BFGSLineSearch, GPMin
from ase.optimize.basin import BasinHopping
from ase.optimize.minimahopping import MinimaHopping
from ase.optimize.precon import PreconLBFGS
from ase.optimize.sciopt import SciPyFminBFGS
from ase.phonons import Phonons
from ase.thermochemistry import IdealGasThermo
from ase.vibrations import Infrared, Vibrations

from molgeo import MolgeoCalculator
from molgeo.simulation.vibrations import vibrations

NAME = "spectrum_net-aimnet2"


@pytest.fixture(scope="module")
def calc():
    return MolgeoCalculator(NAME, "cpu")


@pytest.fixture(scope="module")
def exact():
    return MolgeoCalculator(NAME, "cpu", "float64", allow_unfamiliar=True)


def made(name, calculator, **info):
    atoms = molecule(name)
    atoms.info.update(info)
    atoms.calc = calculator
    return atoms


def nitrogen_dioxide(calculator, charge):
    """Bent by a charge of −1 and straight by +1: both have closed shells."""
    atoms = Atoms("ONO", [[-1.1, 0.4, 0], [0, 0, 0], [1.1, 0.4, 0]], info={"charge": charge})
    atoms.calc = calculator
    return atoms


@pytest.fixture(scope="module")
def ammonia(exact):
    atoms = made("NH3", exact)
    assert BFGS(atoms, logfile=None).run(fmax=0.01)
    return atoms


@pytest.fixture(scope="module")
def barrier(ammonia):
    """Of its inversion, eV: the plane, where symmetry makes a minimum of the saddle point."""
    flat = ammonia.copy()
    flat.positions[:, 2] = 0.0
    flat.calc = ammonia.calc
    assert BFGS(flat, logfile=None).run(fmax=0.01)
    return flat.get_potential_energy() - ammonia.get_potential_energy()


@pytest.mark.parametrize(
    ("constraint", "bond"),
    [
        (lambda: FixAtoms([0, 1]), 1.6),
        (lambda: FixBondLengths([(0, 1)]), 1.6),
        (lambda: FixInternals(bonds=[(1.6, [0, 1])]), 1.6),
        (lambda: Hookean(0, 1, k=1000.0, rt=1.4), 1.41),
    ],
)
def test_constraints_hold(calc, constraint, bond):
    atoms = made("CH3CH2OH", calc)
    atoms.set_distance(0, 1, 1.6)
    atoms.set_constraint(constraint())
    assert BFGS(atoms, logfile=None).run(fmax=0.05, steps=100)
    assert atoms.get_distance(0, 1) == pytest.approx(bond, abs=0.02)


def test_symmetry_stays(exact):
    pytest.importorskip("spglib")
    from ase.constraints import FixSymmetry
    from ase.spacegroup.symmetrize import check_symmetry

    atoms = bulk("C", "diamond", a=3.6)
    atoms.calc = exact
    number = check_symmetry(atoms).number
    atoms.set_constraint(FixSymmetry(atoms))
    BFGS(atoms, logfile=None).run(fmax=0.05, steps=5)
    assert check_symmetry(atoms).number == number


@pytest.mark.parametrize("is_shared", [True, False])
def test_elastic_bands(ammonia, barrier, is_shared):
    end = ammonia.copy()
    end.positions[:, 2] *= -1.0
    images = [*(ammonia.copy() for _ in range(3)), end]
    for image in images:
        image.calc = ammonia.calc if is_shared else MolgeoCalculator(NAME, "cpu")
    band = NEB(images, climb=True, method="improvedtangent", allow_shared_calculator=is_shared)
    band.interpolate()
    assert FIRE(band, logfile=None).run(fmax=0.05, steps=100)
    highest = max(image.get_potential_energy() for image in images)
    assert highest - ammonia.get_potential_energy() == pytest.approx(barrier, abs=2e-3)


def test_dimers(ammonia, barrier):
    atoms = ammonia.copy()
    atoms.calc = ammonia.calc
    atoms.positions[0, 2] -= 0.25
    way = np.zeros((4, 3))
    way[0, 2] = -0.05
    how = {"initial_eigenmode_method": "displacement", "displacement_method": "vector"}
    with DimerControl(**how, logfile=None) as control:
        pair = MinModeAtoms(atoms, control)
        pair.displace(displacement_vector=way, mask=[True] * 4)
        with MinModeTranslate(pair, logfile=None) as search:
            assert search.run(fmax=0.05, steps=50)
    height = atoms.get_potential_energy() - ammonia.get_potential_energy()
    assert height == pytest.approx(barrier, abs=2e-3)


@pytest.mark.filterwarnings("ignore::molgeo.simulation.familiarity.UnfamiliarWarning")
def test_a_charge_that_changes_is_noticed(calc):
    atoms = nitrogen_dioxide(calc, -1)
    anion, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.info["charge"] = 1
    cation = atoms.get_potential_energy()
    assert cation - anion > 5.0
    assert np.abs(atoms.get_forces() - forces).max() > 0.5
    del atoms.info["charge"]
    atoms.set_initial_charges([-0.5, 0.0, -0.5])
    assert atoms.get_potential_energy() == pytest.approx(anion, abs=1e-3)
    atoms.info["charge"] = 1  # which says the whole of it
    assert atoms.get_potential_energy() == pytest.approx(cation, abs=1e-3)


def test_a_charge_goes_where_atoms_go(calc, tmp_path):
    ion = nitrogen_dioxide(calc, -1)
    energy = ion.get_potential_energy()
    with Trajectory(tmp_path / "ion.traj", "w") as trajectory:
        trajectory.write(ion)
    ion.write(tmp_path / "ion.extxyz")
    ion.set_initial_charges([-1.0, 0.0, 0.0])  # a database keeps these, but no info
    ion.get_potential_energy()
    with connect(tmp_path / "ions.db") as database:
        database.write(ion)
        stored = database.get_atoms(1)
    for again in (read(tmp_path / "ion.traj"), read(tmp_path / "ion.extxyz"), stored):
        assert again.get_potential_energy() == pytest.approx(energy, abs=1e-3)
        again.calc = calc
        assert again.get_potential_energy() == pytest.approx(energy, abs=1e-3)


def forces_of(atoms):
    """What another process does."""
    return atoms.get_forces()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize(
    "method", sorted({"spawn", "fork"} & {*multiprocessing.get_all_start_methods()})
)
def test_other_processes(calc, method):
    some = [made("H2O", calc), nitrogen_dioxide(calc, -1)]
    expected = [atoms.get_forces() for atoms in some]
    with multiprocessing.get_context(method).Pool(1) as pool:
        for forces, own in zip(pool.map(forces_of, some), expected, strict=True):
            np.testing.assert_allclose(forces, own, rtol=0, atol=1e-5)


def test_atoms_come_and_go(calc):
    atoms, other = made("H2O", calc), made("CH4", calc)
    one = atoms.get_potential_energy()
    other.translate([0.0, 0.0, 15.0])
    two = other.get_potential_energy()
    atoms += other
    assert atoms.get_potential_energy() == pytest.approx(one + two, abs=1e-3)
    del atoms[3:]
    assert atoms.get_potential_energy() == pytest.approx(one, abs=1e-3)


def test_sums_of_calculators(exact):
    atoms, pairs = made("H2O", exact), LennardJones(epsilon=1e-3, sigma=1.0)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SumCalculator([exact, pairs])
    assert atoms.get_potential_energy() == pytest.approx(energy + pairs.get_potential_energy(atoms))
    np.testing.assert_allclose(atoms.get_forces(), forces + pairs.get_forces(atoms), atol=1e-9)
    assert BFGS(atoms, logfile=None).run(fmax=0.05)


def test_dispersion_on_top(exact):
    module = pytest.importorskip("dftd3.ase")
    atoms = made("H2O", exact)
    energy = atoms.get_potential_energy()
    dispersion = module.DFTD3(method="pbe", damping="d3bj")
    atoms.calc = SumCalculator([exact, dispersion])
    assert atoms.get_potential_energy() == energy + dispersion.get_potential_energy(atoms) < energy


# At GPMin's own scale, 0.4 Å, its first step goes anywhere, from some starts on any force field.
OPTIMISERS = {GPMin: {"scale": 0.2}} | {
    kind: {} for kind in (LBFGS, FIRE, BFGSLineSearch, SciPyFminBFGS, PreconLBFGS)
}


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.filterwarnings("ignore:The system is likely too small to benefit")
def test_optimisers_find_one_minimum(exact, optimizer):
    atoms = made("H2O", exact)
    best = atoms.copy()
    best.calc = exact
    BFGS(best, logfile=None).run(fmax=1e-3)
    optimizer(atoms, logfile=None, **OPTIMISERS[optimizer]).run(fmax=0.01, steps=100)
    assert atoms.get_potential_energy() == pytest.approx(best.get_potential_energy(), abs=1e-3)


def test_searches_for_minima(calc, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.random.seed(0)  # noqa: NPY002 - of the generator that these searches take
    atoms = made("H2O2", calc)
    options = {"temperature": 300 * units.kB, "dr": 0.1, "fmax": 0.2}
    search = BasinHopping(atoms, **options, logfile=None, optimizer_logfile=None)
    search.run(2)
    lowest, _ = search.get_minimum()
    MinimaHopping(made("H2O2", calc), T0=300.0, fmax=0.2)(totalsteps=1)
    found = read("minima.traj@:")
    assert lowest <= found[0].get_potential_energy() + 0.01


def test_vibrations_are_our_own(exact, tmp_path):
    atoms = made("H2O", exact)
    BFGS(atoms, logfile=None).run(fmax=1e-4)
    theirs = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.001)
    theirs.run()
    own = vibrations(atoms)
    np.testing.assert_allclose(theirs.get_frequencies().real[-3:], own.frequencies_cm, atol=0.1)
    gas = IdealGasThermo(
        theirs.get_energies()[-3:], "nonlinear", atoms.get_potential_energy(), atoms, 2, 0
    )
    entropy = gas.get_entropy(298.15, 1e5, verbose=False)
    assert entropy / (units.kJ / units.mol) * 1e3 == pytest.approx(188.8, abs=1.0)  # J/mol/K, NIST


def polyethylene(calculator):
    """C2H4 along z, in one conformation."""
    c, h = [0.42, 0.0, 0.635], [1.06, 0.88, 0.635]
    here = [c, h, [h[0], -h[1], h[2]]]
    turned = [[-x, -y, z + 1.27] for x, y, z in here]
    cell = [0.0, 0.0, 2.54]
    atoms = Atoms("CH2CH2", [*here, *turned], cell=cell, pbc=[False, False, True])
    atoms.calc = calculator
    assert BFGS(atoms, logfile=None).run(fmax=1e-3)
    return atoms


def test_phonons(exact, tmp_path):
    chain = polyethylene(exact)
    chain.cell[0, 0] = chain.cell[1, 1] = 20.0  # ASE's band paths want them
    phonons = Phonons(chain, exact, (1, 1, 3), delta=0.005, name=str(tmp_path / "phonon"))
    phonons.run()
    phonons.read(acoustic=True)
    middle, edge = phonons.band_structure([[0, 0, 0], [0, 0, 0.5]], verbose=False) / units.invcm
    np.testing.assert_allclose(middle[:4], 0.0, atol=15.0)  # drift, and the chain's rotation
    assert 2800 < middle[-1] < 3200  # C–H
    assert edge[-1] < middle[-1]


def test_what_needs_a_dipole_is_told_so(calc, tmp_path):
    spectrum = Infrared(made("H2O", calc), name=str(tmp_path / "ir"))
    with pytest.raises(PropertyNotImplementedError, match=f"^dipole: {NAME} gives none, only ener"):
        spectrum.run()
    with pytest.raises(PropertyNotImplementedError, match=r"^stress: expected periodic at"):
        made("H2O", calc).get_stress()


@pytest.mark.parametrize("internal", [True, False])
def test_sella(ammonia, barrier, internal):
    module = pytest.importorskip("sella")
    atoms = ammonia.copy()
    atoms.calc = ammonia.calc
    atoms.positions[0, 2] -= 0.25
    assert module.Sella(atoms, order=1, internal=internal, logfile=None).run(0.01, 100)
    height = atoms.get_potential_energy() - ammonia.get_potential_energy()
    assert height == pytest.approx(barrier, abs=2e-3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files left open
def test_geometric(calc, tmp_path):
    pytest.importorskip("geometric")
    from geometric.ase_engine import EngineASE
    from geometric.molecule import Molecule
    from geometric.optimize import run_optimizer

    ion = nitrogen_dioxide(calc, -1)
    ion.write(tmp_path / "ion.xyz", format="xyz")
    engine = EngineASE(Molecule(str(tmp_path / "ion.xyz")), calc)
    engine.ase_atoms.info["charge"] = -1
    path = run_optimizer(customengine=engine, input=str(tmp_path / "ion.txt"), check=0)
    assert BFGS(ion, logfile=None).run(fmax=0.01)
    energy = path.qm_energies[-1] * units.Hartree
    assert energy == pytest.approx(ion.get_potential_energy(), abs=2e-3)


def test_phonopy(exact):
    pytest.importorskip("phonopy")
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    chain = polyethylene(exact)
    chain.cell[0, 0] = chain.cell[1, 1] = 20.0
    symbols, where = chain.get_chemical_symbols(), chain.get_scaled_positions()
    unit = PhonopyAtoms(symbols, cell=chain.cell.array, scaled_positions=where)
    phonons = Phonopy(unit, np.diag([1, 1, 3]), primitive_matrix=np.eye(3))
    phonons.generate_displacements(distance=0.005)
    forces = []
    for one in phonons.supercells_with_displacements:
        atoms = Atoms(one.symbols, one.positions, cell=one.cell, pbc=True, calculator=exact)
        forces.append(atoms.get_forces())
    phonons.forces = forces
    phonons.produce_force_constants()
    stiffest = phonons.run_qpoints([[0, 0, 0]]).frequencies[0][-1]  # THz, C–H
    assert 2800 < stiffest * 1e12 / units._c / 100 < 3200
