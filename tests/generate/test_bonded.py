"""Force fields of bonded molecules: gradients, relaxation, Boltzmann's distribution."""

import numpy as np
import pytest

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.generate.bonded import Bonded, Vibrations, clashes
from molgeo.units import BOLTZMANN


def bonded(smiles):
    (molecule,) = embed(SmilesRow(smiles))
    return Bonded.of(molecule)


def test_forces_are_the_gradient():
    methanol = bonded("CO")
    forces = methanol.forces()
    pos = methanol.pos + 0.05 * np.random.default_rng(0).standard_normal(methanol.pos.shape)
    got = forces(pos)
    assert np.abs(got.sum(0)).max() < 1e-6
    step = 1e-4
    direction = np.random.default_rng(1).standard_normal(pos.shape)
    energies = [
        forces.field.CalcEnergy((pos + s * direction).ravel().tolist()) for s in (step, -step)
    ]
    work = -(energies[0] - energies[1]) / (2 * step) / 23.060547830619026
    assert float((got * direction).sum()) == pytest.approx(work, rel=1e-4)


def test_mmff_needs_bonds_it_knows():
    with pytest.raises(ValueError, match="the SMILES that the atoms were made from"):
        Bonded.of(Molecule(np.array([8, 1, 1]), np.eye(3), smiles="CO"))
    borane = Bonded.of(Molecule(np.array([5, 1, 1, 1]), np.eye(4)[:, :3], smiles="B"))
    with pytest.raises(ValueError, match="no parameters"):
        borane.forces("mmff")
    assert np.isfinite(borane.forces()(borane.pos)).all()  # UFF does


def test_a_relaxation_holds_distances_against_bonds():
    water = bonded("O")
    held = water.at(water.pos * 1.3).relaxed(200, [(0, 1, 1.25)])
    lengths = np.linalg.norm(held.pos[1:] - held.pos[0], axis=1)
    assert lengths == pytest.approx([1.2, 0.97], abs=0.03)
    assert water.relaxed(0) is water


def test_two_as_one_attract_each_other():
    """The force field acts between the molecules too."""
    water = bonded("O")
    pair = water.beside(water.at(water.pos + np.array([3.6, 0, 0])))
    relaxed = pair.relaxed(500)
    d = np.linalg.norm(relaxed.pos[:3, None] - relaxed.pos[None, 3:], axis=-1)
    assert 1.6 < d.min() < 2.1  # a hydrogen bond
    assert pair.charge == 0
    assert pair.neighbours[3] == [4, 5]


def test_vibrations_hold_kt_by_two_each():
    """⟨U⟩ = ½ kT for each of 3n − 6 modes of the harmonic potential."""
    methane = bonded("C")
    vibrations = methane.vibrations()
    assert len(vibrations.spread) == 3 * 5 - 6
    rng, T = np.random.default_rng(0), 300.0
    drawn = np.stack([vibrations.draw(T, rng) for _ in range(2000)])
    assert np.abs(drawn.mean(1)).max() < 1e-9  # the centre rests
    along = drawn.reshape(2000, -1) @ vibrations.directions
    energy = 0.5 * np.square(along / vibrations.spread).sum(1)
    assert energy.mean() == pytest.approx(0.5 * 9 * BOLTZMANN * T, rel=0.05)
    # and that potential is the force field's
    small = 1e-3 * vibrations.directions[:, -1].reshape(-1, 3)
    kappa = -(methane.forces()(methane.pos + small) * small).sum() / 1e-6
    assert kappa == pytest.approx(vibrations.spread[-1] ** -2, rel=0.01)


def test_a_line_has_one_mode_more():
    pos = np.array([[0.0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
    assert len(Vibrations.of(np.eye(9), pos).spread) == 4


def test_clashes():
    z = np.array([6, 6])
    assert clashes(z, np.array([[0, 0, 0], [0.7, 0, 0]]))
    assert not clashes(z, np.array([[0, 0, 0], [0.8, 0, 0]]))
