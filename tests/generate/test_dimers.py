"""Dimers: the contact that was asked for, in any direction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.generate.dimers import contact, place, random_rotation

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
