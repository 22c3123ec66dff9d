"""Averages over conformers, against sums written out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molgeo.prediction.conformer_average import SOFTNESS, conformer_average

KT = 8.617333262e-5 * 298.15


def test_two_conformers():
    average = conformer_average(np.array([[1.0, -2.0], [3.0, 5.0]]), np.array([-100.0, -100.05]))
    w = 1 / (1 + math.exp(-0.05 / SOFTNESS))
    assert average.value == pytest.approx([1 + 2 * w, -2 + 7 * w])
    assert average.std == pytest.approx([2 * math.sqrt(w * (1 - w)), 7 * math.sqrt(w * (1 - w))])
    w = 1 / (1 + math.exp(-0.05 / KT))
    assert average.boltzmann == pytest.approx([1 + 2 * w, -2 + 7 * w])
    assert average.lowest.tolist() == [3.0, 5.0]


def test_one_conformer_is_itself():
    average = conformer_average(np.array([[1.5, -2.0]]), np.array([7.0]))
    for part in (average.value, average.lowest, average.boltzmann):
        assert part.tolist() == [1.5, -2.0]
    assert average.std.tolist() == [0.0, 0.0]


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-20_000, 0)), min_size=1, max_size=9))
def test_any_conformers(pairs):
    values, energies = np.array(pairs).T
    average = conformer_average(values[:, None], energies)
    for part in (average.value, average.boltzmann, average.lowest):
        assert values.min() - 1e-9 <= part[0] <= values.max() + 1e-9
    assert 0 <= average.std[0] <= np.ptp(values) + 1e-9
    shifted = conformer_average(values[:, None] + 1.0, energies)
    assert shifted.value[0] == pytest.approx(average.value[0] + 1.0, abs=1e-9)
