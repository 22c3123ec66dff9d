import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from force_fields import BACKBONES, crystal, force_field

from molgeo.predictor.ensemble import members
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.relaxation import structure_of
from molgeo.simulation.together import Structure, Together

CPU = torch.device("cpu")


def some(*names):
    rng = np.random.default_rng(0)
    atoms = [molecule(name) for name in names]
    for each in atoms:
        each.positions += 0.02 * rng.standard_normal((len(each), 3)) + 50.0
    return atoms


def structure(atoms):
    cell, pbc = atoms.cell.array.copy(), atoms.pbc.copy()
    return Structure(atoms.numbers.astype(np.int64), atoms.positions.copy(), cell, pbc)


def together(models, all_atoms, **options):
    batch = Together(members(models, CPU, torch.float64), **options)
    batch.take([structure(atoms) for atoms in all_atoms])
    return batch


def positions(all_atoms):
    return torch.from_numpy(np.concatenate([atoms.positions for atoms in all_atoms]))


@pytest.mark.parametrize("models", [["schnet"], ["dimenet_pp"], ["spectrum_net", "schnet"]])
def test_as_the_calculator_one_by_one(models):
    models = [force_field(each, ("energy", "mu"), seed=k) for k, each in enumerate(models)]
    all_atoms = [*some("CH3CH2OH", "H2O", "CO2"), crystal(), *some("C6H6")]
    batch = together(models, all_atoms)
    forces = batch(positions(all_atoms)).split([len(atoms) for atoms in all_atoms])
    for k, atoms in enumerate(all_atoms):
        atoms.calc = MolgeoCalculator(models, device="cpu", dtype="float64", check_geometry=False)
        np.testing.assert_allclose(forces[k], atoms.get_forces(), atol=1e-9)
        found, expected = batch.results(k), dict(atoms.calc.results)
        expected.pop("stress", None)
        if atoms.pbc.any():
            found.pop("dipole")
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-9, err_msg=name)


def test_a_graph_is_kept_until_an_atom_has_moved_half_the_skin():
    all_atoms = some("CH3CH2OH", "C6H6")
    batch = together(force_field(), all_atoms, skin=0.5)
    pos = positions(all_atoms)
    batch(pos)
    first = batch._graph
    for shift, kept in ((0.2, True), (0.26, False)):
        moved = pos.clone()
        moved[3, 1] += shift
        found = batch(moved)
        assert (batch._graph is first) == kept
        anew = together(force_field(), all_atoms)(moved)
        torch.testing.assert_close(found, anew, atol=1e-10, rtol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_what_is_no_number_in_one_touches_no_other(name):
    """Oxygen has no finite features."""
    model = force_field(name)
    all_atoms = some("CH4", "H2O", "C6H6", "CO2", "C2H6")
    expected = together(model, all_atoms)
    expected = expected(positions(all_atoms)).split([len(atoms) for atoms in all_atoms])
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.weight.data[8] = torch.nan
    batch = together(model, all_atoms)
    found = batch(positions(all_atoms)).split([len(atoms) for atoms in all_atoms])
    assert not batch.potentials[0].energy[[1, 3]].isfinite().any()
    for k in (0, 2, 4):
        torch.testing.assert_close(found[k], expected[k], atol=1e-10, rtol=0)
        assert np.isfinite(batch.results(k)["energy"])


def test_the_closest_pair_of_each():
    far = Atoms("He2", [[0, 0, 0], [0, 0, 40.0]])
    all_atoms = [Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]), far, crystal()]
    batch = together(force_field(), all_atoms)
    batch(positions(all_atoms))
    d = all_atoms[2].get_all_distances(mic=True)
    nearest = d[np.triu_indices(6, 1)].min()
    np.testing.assert_allclose(batch.closest, [1.1, np.inf, nearest], rtol=1e-6)


def test_charges_are_those_of_the_calculator():
    model = force_field("spectrum_net", charges=True)
    all_atoms = some("CH3OH", "H2O", "CO2")
    for atoms, charge in zip(all_atoms, (0, 1, -1), strict=True):
        atoms.info["charge"] = charge
    batch = Together(members([model], CPU, torch.float64))
    batch.take([structure_of(atoms) for atoms in all_atoms])
    forces = batch(positions(all_atoms)).split([len(atoms) for atoms in all_atoms])
    graph = batch._graph
    assert graph.charge.tolist() == [0, 1, -1]
    for k, atoms in enumerate(all_atoms):
        z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions - 50.0)
        charge = torch.tensor([atoms.info["charge"]])
        energy, expected = model.double().energy_and_forces(z, pos, charge=charge)
        np.testing.assert_allclose(forces[k], expected, atol=1e-9)
        assert batch.results(k)["energy"] == pytest.approx(float(energy), abs=1e-9)
