"""Springs between atoms as a first Hessian matrix."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from molgeo.predictor.ensemble import members
from molgeo.simulation.minimisation import Start, descend
from molgeo.simulation.springs import FLOOR, SPRING, spring_hessian
from molgeo.simulation.together import Structure, Together

MODEL = Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors"


def test_it_is_the_second_derivative_of_the_springs():
    atoms = molecule("CH3OH")
    z, pos = atoms.numbers.astype(np.int64), atoms.positions
    rest = torch.from_numpy(pos)
    a, b = torch.triu_indices(len(z), len(z), 1)
    length = (rest[a] - rest[b]).norm(dim=1)
    hessian = spring_hessian(z, pos)
    stiff = torch.from_numpy(-np.trace(hessian.reshape(len(z), 3, len(z), 3), axis1=1, axis2=3))

    def energy(x):
        moved = (x[a] - x[b]).norm(dim=1)
        return 0.5 * (stiff[a, b] * (moved - length) ** 2).sum()

    expected = torch.autograd.functional.hessian(energy, rest).reshape(3 * len(z), -1)
    np.testing.assert_allclose(hessian, expected.numpy() + FLOOR * np.eye(3 * len(z)), atol=1e-9)
    bond = stiff[list(z).index(6), list(z).index(8)]
    assert bond == pytest.approx(SPRING, rel=0.2)


def test_atoms_in_one_place_are_no_trouble():
    hessian = spring_hessian(np.array([6, 6, 1]), np.zeros((3, 3)))
    assert np.isfinite(hessian).all()
    assert np.linalg.eigvalsh(hessian).min() >= 0.99 * FLOOR


def test_the_minima_are_the_same_in_fewer_steps():
    together = Together(members(str(MODEL), torch.device("cpu"), torch.float64))
    starts = []
    for k, name in enumerate(("CH3CH2OH", "CH3OH", "C2H6")):
        atoms = molecule(name)
        starts.append(Start(k, Structure(atoms.numbers.astype(np.int64), atoms.positions.copy())))
    found = {
        springs: {
            one.start.key: one for one in descend(starts, together, 1e-3, 300, springs=springs)
        }
        for springs in (False, True)
    }
    for key, plain in found[False].items():
        assert plain.converged
        assert found[True][key].converged
        energies = [one[key].results["energy"] for one in found.values()]
        assert energies[1] == pytest.approx(energies[0], abs=1e-3)
    steps = [sum(one.n_steps for one in each.values()) for each in found.values()]
    assert steps[1] < steps[0]
