"""Which models may be together."""

import pytest
import torch
from ase.build import molecule
from force_fields import force_field

from molgeo.predictor.ensemble import check_levels
from molgeo.predictor.header import Facts
from molgeo.simulation.calculator import MolgeoCalculator, UnsupportedAtomsError


def trained(level="GFN2-xTB", **options):
    predictor = force_field(**options)
    predictor.header = Facts(trained_on_forces=True, level_of_theory=level)
    return predictor


def test_models_of_one_level():
    """However it is spelt; and where one of them does not say which it has."""
    check_levels([trained(), trained("gfn2-XTB ", seed=1), trained("not stated", seed=2)])
    check_levels([trained(), force_field()])


@pytest.mark.parametrize(
    ("other", "match"),
    [
        ({"level": "PBE0/def2-SVP"}, "levels of theory of .* are GFN2-xTB and PBE0/def2-SVP"),
        ({"properties": ("u0",)}, "the energies of random-schnet-0 and .* are energy and u0"),
    ],
)
def test_models_of_two_levels(other, match):
    with pytest.raises(ValueError, match=match):
        MolgeoCalculator([trained(), trained(seed=1), trained(seed=2, **other)])


def test_free_atoms_tell_levels():
    models = [trained("not stated", seed=k) for k in range(2)]
    for predictor in models:
        predictor.atom_reference[0, [1, 8]] = torch.tensor([-13.6, -2042.0]).double()
    check_levels(models)
    models[1].atom_reference[0, 6] = -1030.0  # the other knows nothing of it
    models[1].atom_reference[0, 8] += 0.01
    check_levels(models)
    models[1].atom_reference[0, 8] = -102.0
    with pytest.raises(ValueError, match=r"free O atom .* has -2042.000 and -102.000 eV"):
        check_levels(models)


def test_energies_tell_levels_that_are_not_stated():
    """Random references are hundreds of eV apart."""
    models = [trained("not stated", seed=k) for k in range(2)]
    atoms = molecule("H2O")
    atoms.calc = MolgeoCalculator(models, "cpu")
    with pytest.raises(UnsupportedAtomsError, match="eV apart: expected models of one level"):
        atoms.get_potential_energy()
    models[1].load_state_dict(models[0].state_dict())
    with torch.no_grad():
        models[1].heads.out_bias += 0.1
    atoms.calc = MolgeoCalculator(models, "cpu")
    atoms.get_potential_energy()
    assert atoms.calc.results["energy_std"] > 0


@pytest.mark.parametrize("twice", [["dimenet_pp-gfn2"] * 2, "predictor"])
def test_the_same_model_twice(twice):
    model = [trained()] * 2 if twice == "predictor" else twice
    with pytest.raises(ValueError, match="is given twice: an ensemble needs models"):
        MolgeoCalculator(model)
