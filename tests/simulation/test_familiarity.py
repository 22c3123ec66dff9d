"""What models say of molecules unlike their training data."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from force_fields import force_field

from molgeo.graph.environments import Environments
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.familiarity import UnfamiliarWarning, near_pairs, unfamiliar

ETHANOL = ("C(C,H,H,H)", "C(C,H,H,O)", "O(C,H)", "H(C)", "H(O)")


def trained_on(*environments, formulas=(), periodic=0, bonds=None, name="mine"):
    predictor = force_field()
    record = Environments(100, periodic, dict.fromkeys(environments, 50), bonds or {}, formulas)
    predictor.domain = replace(predictor.domain, environments=record)
    predictor.name = name
    return predictor


def test_what_is_known_is_not_spoken_of():
    for model in (trained_on(*ETHANOL), force_field()):  # the latter has no record
        assert unfamiliar([model], molecule("CH3CH2OH")) is None


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("H2O", "O bonded to H, H alone (in none of 100 training configurations)"),
        ("CO2", "C bonded to O, O alone"),
        ("C3H8", "C bonded to C, C, H, H alone"),  # to which each known end is bonded
        ("H2", "H bonded to H alone"),
    ],
)
def test_what_is_not_known(name, phrase):
    """Grave as no heavy atom is further than a bond from it."""
    found = unfamiliar([trained_on(*ETHANOL)], molecule(name))
    assert phrase in str(found)
    assert str(found).startswith("mine does not know ")
    assert found.grave


def test_a_part_of_a_large_molecule():
    """Ethanol ten Å from a water that is not known."""
    both = molecule("CH3CH2OH")
    other = molecule("H2O")
    other.positions += 10.0
    found = unfamiliar([trained_on(*ETHANOL)], both + other)
    assert (found.grave, len(found.phrases)) == (False, 1)


def test_a_model_of_one_molecule():
    """The same bonds in another formula."""
    model = trained_on(*ETHANOL, formulas=("C2H6O",))
    two = molecule("CH3CH2OH") + molecule("CH3CH2OH")
    two.positions[9:] += 6.0
    found = unfamiliar([model], two)
    assert found.grave
    assert found.phrases == ("the formula C4H12O2 (training held C2H6O alone)",)


def test_a_bond_that_is_long_is_said_only():
    model = trained_on(*ETHANOL, bonds={"O-H": (0.9, 1.1)})
    atoms = molecule("CH3CH2OH")
    atoms.set_distance(2, 3, 1.25, fix=0)
    found = unfamiliar([model], atoms)
    assert not found.grave
    assert "a bond O-H of 1.25 Å (0.90 to 1.10 Å in training)" in str(found)


def test_boundaries_are_seen():
    """A chain of carbons whose bonds run through the cell's side."""
    chain = Atoms("C2", [[0.2, 0, 0], [1.7, 0, 0]], cell=[3.0, 9, 9], pbc=[True, False, False])
    i, j, d = near_pairs(chain)
    assert sorted(zip(i.tolist(), j.tolist(), d.round(3).tolist(), strict=True)) == [
        (0, 1, 1.5),
        (0, 1, 1.5),
    ]
    for periodic in (0, 5):
        found = unfamiliar([trained_on("C(C,C)", periodic=periodic)], chain)
        assert (found is not None) == (periodic == 0)
        if found:
            assert found.periodic
            assert "periodic structures (none of 100" in str(found)


def test_the_gravest_of_an_ensemble_is_told():
    models = [trained_on(*ETHANOL), trained_on("H(C)", name="other")]
    assert unfamiliar(models, molecule("CH3CH2OH")).model == "other"


def test_a_calculator_warns_once_for_each_molecule():
    calc = MolgeoCalculator(trained_on(*ETHANOL), "cpu")
    water, ethanol = molecule("H2O"), molecule("CH3CH2OH")
    for atoms in (water, ethanol):
        atoms.calc = calc
    with pytest.warns(UnfamiliarWarning, match=r"H2O: mine does not know O bonded to H, H alone"):
        energy = water.get_potential_energy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ethanol.get_forces()
        assert water.get_potential_energy() == pytest.approx(energy)
        water.rattle(0.01, seed=0)
        water.get_forces()
        calc.set(allow_unfamiliar=True)
        water.get_forces()
    calc.set(allow_unfamiliar=False)
    with pytest.warns(UnfamiliarWarning):
        water.get_forces()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quiet = water.copy()
        quiet.calc = MolgeoCalculator(trained_on(*ETHANOL), "cpu", allow_unfamiliar=True)
        np.testing.assert_allclose(quiet.get_forces(), water.get_forces())
