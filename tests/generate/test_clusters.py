"""Clusters: the contact that was asked for, at random or face to face."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow
from molgeo.generate.bonded import Bonded
from molgeo.generate.clusters import contact, face, place, random_rotation

WATER = (np.array([8, 1, 1]), np.array([[0, 0, 0.1], [0, 0.76, -0.47], [0, -0.76, -0.47]]))
STICK = (np.array([6] * 7), np.arange(7.0)[:, None] * np.array([[1.3, 0, 0]]))


@given(seed=st.integers(0, 1000))
def test_rotations(seed):
    R = random_rotation(np.random.default_rng(seed))
    assert pytest.approx(np.eye(3), abs=1e-12) == R @ R.T
    assert np.linalg.det(R) == pytest.approx(1.0)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), wanted=st.floats(0.4, 2.0), long=st.booleans())
def test_the_contact_is_as_wanted(seed, wanted, long):
    a, b = (STICK, WATER) if long else (WATER, STICK)
    rng = np.random.default_rng(seed)
    placed = place(a, b, wanted, rng)
    assert contact(a, (b[0], placed)) == pytest.approx(wanted, abs=2e-3)
    shape = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (b[1], placed)]
    assert shape[0] == pytest.approx(shape[1], abs=1e-9)


def test_contact_counts_in_sums_of_radii():
    h = (np.array([1]), np.zeros((1, 3)))
    assert contact(h, (h[0], h[1] + [2.4, 0, 0])) == pytest.approx(1.0, abs=0.1)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(seed=st.integers(0, 1000), wanted=st.floats(0.5, 2.0))
def test_faces_have_the_contact_that_is_wanted(seed, wanted):
    a, b = (Bonded.of(embed(SmilesRow(smiles))[0]) for smiles in ("c1ccccc1", "CO"))
    placed = face(a, b, wanted, np.random.default_rng(seed))
    assert contact((a.z, a.pos), (b.z, placed)) == pytest.approx(wanted, abs=1e-6)
    shape = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (b.pos, placed)]
    assert shape[0] == pytest.approx(shape[1], abs=1e-9)


def test_hydrogen_bonds_are_common():
    """Two waters that face each other are bound by one more often than at random."""
    water = Bonded.of(embed(SmilesRow("O"))[0])
    rng = np.random.default_rng(0)

    def share(pairs):
        bound = 0
        for pos in pairs:
            d = np.linalg.norm(water.pos[:, None] - pos[None], axis=-1)
            i, j = np.unravel_index(d.argmin(), d.shape)
            apart = d[0, 0]  # O–H···O is straight if O···O is O–H and H···O
            bound += water.z[i] != water.z[j] and apart > 0.92 * (d.min() + 0.97)
        return bound / 200

    facing = share([face(water, water, 0.7, rng) for _ in range(200)])
    atoms = water.z, water.pos
    random = share([place(atoms, atoms, 0.7, rng) for _ in range(200)])
    assert facing > 0.4
    assert facing > 1.5 * random
