"""Langevin dynamics: the temperature asked for, in a potential whose distribution is known."""

import itertools

import numpy as np
import pytest

from molgeo.generate.dynamics import langevin
from molgeo.units import BOLTZMANN


def test_a_spring_has_the_spread_of_its_temperature():
    """⟨x²⟩ = kT/K for each coordinate, whatever the mass."""
    z = np.array([1, 8] * 30)
    K, T = 2.0, 400.0
    rng = np.random.default_rng(0)
    rest = 50.0 * rng.standard_normal((60, 3))
    samples = langevin(z, rest, lambda x: -K * x, T, rng, 200, timestep_fs=0.5)
    seen = np.stack(list(itertools.islice(samples, 10, 60)))
    # The centre of mass is taken out, which is one part in hundreds here.
    for element in (1, 8):
        assert seen[:, z == element].var() == pytest.approx(BOLTZMANN * T / K, rel=0.1)


def test_the_seed_is_all_there_is():
    z, pos = np.array([1, 1]), np.array([[0.0, 0, 0], [0.74, 0, 0]])

    def run(seed):
        rng = np.random.default_rng(seed)
        return next(langevin(z, pos, lambda x: -x, 300.0, rng, 20))

    assert np.array_equal(run(1), run(1))
    assert not np.array_equal(run(1), run(2))


def test_a_broken_potential_is_an_error():
    z, pos = np.array([1, 1]), np.array([[0.0, 0, 0], [0.74, 0, 0]])
    rng = np.random.default_rng(0)
    for forces in (lambda x: 100.0 * x, lambda x: np.full_like(x, np.nan)):
        with (
            pytest.raises(FloatingPointError, match="300 K: an atom was thrown out"),
            np.errstate(all="ignore"),
        ):
            next(langevin(z, pos, forces, 300.0, rng, 500))
