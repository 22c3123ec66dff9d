"""Conformers of many molecules relaxed together, and what happens to those that cannot be."""

import numpy as np
import pytest
from ase import Atoms

from molgeo.chem.conformers.conformers import generate
from molgeo.chem.conformers.distinct import first_alike
from molgeo.chem.molecule import SmilesRow
from molgeo.predictor.checkpoint import load
from molgeo.simulation import engine as module
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.engine import GeometryEngine
from molgeo.units import KCAL_MOL

NAME = "spectrum_net-aimnet2"


@pytest.fixture(scope="module")
def engine():
    return GeometryEngine(NAME, "cpu")


def of(smiles, n=3):
    return generate(SmilesRow(smiles), n)


def test_relaxed_conformers_are_minima_lowest_first(engine):
    given = [of("CCO"), of("C1CC1", 1), of("OCC=O")]
    found = engine.relax(given)
    calculator = MolgeoCalculator(NAME, "cpu", "float32")
    for old, new in zip(given, found, strict=True):
        assert new.geometry == f"etkdg+mmff+{NAME}"
        assert new.z is old.z
        assert sorted(new.number.tolist()) == sorted(old.number.tolist())
        assert (np.diff(new.energy) >= 0).all()
        for pos, energy in zip(new.pos, new.energy, strict=True):
            atoms = Atoms(new.z, pos, calculator=calculator)
            assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 1.1 * module.FMAX
            assert atoms.get_potential_energy() == pytest.approx(energy * KCAL_MOL, abs=1e-3)
        place = old.number.tolist().index(int(new.number[0]))
        atoms = Atoms(old.z, old.pos[place], calculator=calculator)
        assert np.linalg.norm(atoms.get_forces(), axis=1).max() > module.FMAX


def test_equal_conformers_are_relaxed_once(engine):
    done = []
    rigid = of("C1CC1", 4)
    (found,) = engine.relax([rigid], lambda n, total: done.append((n, total)))
    assert done == [(1, 1)]
    assert len(found.pos) == 4
    assert (found.pos == found.pos[0]).all()
    assert found.number.tolist() == rigid.number.tolist()


def test_what_the_force_field_does_not_know_stays_as_it_was(engine, monkeypatch):
    water, helium = of("O", 1), of("O", 1)._replace(z=np.array([2, 1, 1]))
    torn = water._replace(pos=water.pos * np.nan)
    many = [helium, torn, water, water._replace(charge=7)]
    found = engine.relax(many)
    assert [one.geometry.endswith(NAME) for one in found] == [False, False, True, False]
    assert all(found[k] is many[k] for k in (0, 1, 3))
    monkeypatch.setattr(module, "LARGEST", 2)
    assert engine.relax([water])[0] is water
    assert engine.relax([]) == []


def test_conformers_that_fail_are_left_out(engine, monkeypatch):
    """One that does not come to rest, and one whose bonds are others in the end."""
    given, rigid = of("OCCC#N", 6), of("C1CC1", 1)
    whole = engine.relax([given, rigid])
    assert len(set(first_alike(given.z, given.pos).tolist())) > 2
    real = module.descend

    def spoilt(*options, **more):
        for minimum in real(*options, **more):
            key = minimum.start.key
            if key == 0:
                minimum = minimum._replace(fmax=1.0, converged=False)
            elif key == 1:
                pos = minimum.pos.copy()
                pos[-1] += 3.0
                minimum = minimum._replace(pos=pos)
            yield minimum

    monkeypatch.setattr(module, "descend", spoilt)
    found = engine.relax([given, rigid])
    assert found[0].geometry.endswith(NAME)
    assert set(found[0].number) < set(whole[0].number)
    np.testing.assert_array_equal(found[1].pos, whole[1].pos)
    monkeypatch.setattr(module, "LOOSE", 0.0)
    assert engine.relax([given])[0] is given


def test_a_batch_that_fails_is_repeated_one_by_one(engine, monkeypatch):
    given = [of("CCO", 1), of("O", 1), of("CO", 1)]
    real = module.descend

    def failing(starts, *options, **more):
        starts = list(starts)
        if any(len(start.structure.z) == 3 for start in starts):
            raise RuntimeError("this one does not converge")
        yield from real(starts, *options, **more)

    monkeypatch.setattr(module, "descend", failing)
    found = engine.relax(given)
    assert [one.geometry.endswith(NAME) for one in found] == [True, False, True]
    assert found[1] is given[1]


def test_a_doubtful_minimum_is_none(engine, monkeypatch):
    """The force field expects its own error there to be above its limit."""
    given = of("CCO", 1)
    monkeypatch.setattr(module, "largest_error", lambda models: 1e-6)
    assert engine.relax([given])[0] is given


def test_a_predictor_is_an_engine_too():
    predictor = load(NAME)
    found = GeometryEngine(predictor).relax([of("O", 1)])
    assert found[0].geometry == f"etkdg+mmff+{NAME}"
    assert all(weight.requires_grad for weight in predictor.parameters())
