"""Averages over conformers, against sums written out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.prediction.conformer_average import (
    LEAST_SHARE,
    SHARPNESS,
    SOFTNESS,
    STRETCH,
    Numbers,
    conformer_average,
    counting,
    extent,
)
from molgeo.prediction.rows import CONFORMER_COLUMNS, INTERVAL_COLUMNS, STD, SUFFIXES, VALUES
from molgeo.predictor.calibration import Calibration, Mixing, Scale
from molgeo.properties import Property
from molgeo.units import BOHR

KT = 8.617333262e-5 * 298.15


def test_two_conformers():
    average = conformer_average(np.array([[1.0, -2.0], [3.0, 5.0]]), np.array([-100.0, -100.05]))
    w = 1 / (1 + math.exp(-0.05 / SOFTNESS))
    assert average.value == pytest.approx([1 + 2 * w, -2 + 7 * w])
    assert average.std == pytest.approx([2 * math.sqrt(w * (1 - w)), 7 * math.sqrt(w * (1 - w))])
    w = 1 / (1 + math.exp(-0.05 / KT))
    assert average.boltzmann == pytest.approx([1 + 2 * w, -2 + 7 * w])
    assert average.lowest.tolist() == [3.0, 5.0]


def test_conformers_of_less_than_a_tenth_of_the_largest_weight_do_not_count():
    logs = 50.0 + np.log([0.3, 0.031, 0.029, 0.64 * LEAST_SHARE, 0.3])
    assert counting(logs).tolist() == [True, True, False, True, True]
    assert counting(np.zeros(100)).all(), "of a hundred that are alike each counts"
    assert counting(np.array([-7.0])).all()


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


# Numbers of a row: averages, errors and their ends.

KEYS = [*PROPERTIES, "u0_atomization"]
OUTPUTS = [*PROPERTIES.values(), PROPERTIES["u0"].atomization]
CALIBRATION = Calibration(8, 100, {name: Scale(0.5, 1.5, 3.0) for name in PROPERTIES})
POSITIVE = ["mu", "alpha", "gap", "r2", "zpve", "cv"]


def numbers(value, calibration=CALIBRATION, made=True, n=3):
    values = np.full((n, len(KEYS)), value) + 0.1 * np.arange(n)[:, None]
    known = calibration if made else None
    every = Numbers(OUTPUTS, calibration is not None, True)
    average = conformer_average(values, np.arange(n) * 0.05)
    return every.of(average, made or n > 1, known)


def test_norms_extents_and_gaps_are_not_negative_and_all_else_may_be():
    assert [name for name, known in PROPERTIES.items() if known.minimum == 0] == POSITIVE
    for one in (*PROPERTIES.values(), PROPERTIES["u0"].atomization):
        assert one.minimum == (0 if one.name in POSITIVE else -math.inf)
        assert one.maximum == math.inf


@given(
    st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3)),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.floats(0, 1e4),
)
@settings(deadline=None, max_examples=60, derandomize=True)
def test_no_number_leaves_the_range_and_the_value_is_between_the_ends(range_, places, error):
    one = Property("x", "", minimum=range_[0], maximum=sum(range_))
    values = np.clip(range_[0] + range_[1] * np.array(places), one.minimum, one.maximum)
    known = Calibration(8, 100, {"x": Scale(error, 1.5, 3.0)})
    average = conformer_average(values[:, None], 0.05 * np.arange(len(values)))
    found = Numbers([one], True, True).of(average, True, known)
    for suffix in VALUES:
        assert one.minimum <= found["x" + suffix] <= one.maximum
    assert found["x_low90"] <= found["x"] <= found["x_high90"]


def test_only_the_end_that_cannot_be_is_cut():
    found = numbers(1.0)
    average = conformer_average(np.array([[1.0], [1.1], [1.2]]), np.array([0.0, 0.05, 0.1]))
    half = 3.0 * (0.5 + average.std[0])
    assert found["mu_debye"] == pytest.approx(average.value[0])
    assert found["mu_debye_low90"] == 0
    assert found["mu_debye_high90"] == pytest.approx(average.value[0] + half)
    assert found["homo_eV_low90"] == pytest.approx(average.value[0] - half)
    assert found["mu_debye_std"] == pytest.approx(1.5 * (0.5 + average.std[0]))


def test_columns_of_a_property_stand_side_by_side():
    names = list(numbers(1.0))
    assert names[:7] == ["mu_debye" + suffix for suffix in SUFFIXES]
    assert ("", STD, *INTERVAL_COLUMNS, *CONFORMER_COLUMNS) == SUFFIXES
    assert names[7] == "alpha_bohr3"


def test_given_geometries_have_values_only():
    assert set(numbers(1.0, made=False, n=1)) == {
        name for name in numbers(1.0) if not name.endswith(SUFFIXES[1:])
    }


def test_without_a_calibration_nothing_is_said_of_errors():
    found = numbers(1.0, calibration=None)
    assert "mu_debye_conformer_std" in found
    assert not [name for name in found if name.endswith(("90", "V_std", "debye_std"))]


def test_what_is_not_finite_is_left_out():
    values = np.full((1, len(KEYS)), np.nan)
    average = conformer_average(values, np.zeros(1))
    assert Numbers(OUTPUTS, False, True).of(average, False) == {}


def test_extended_conformers_weigh_more_in_the_value_alone():
    values, energies = np.array([[0.0], [1.0]]), np.zeros(2)
    average = conformer_average(values, energies, extents=np.array([0.0, STRETCH * np.log(3.0)]))
    assert average.value[0] == pytest.approx(0.75)
    assert average.boltzmann[0] == pytest.approx(0.5)
    assert average.lowest[0] == 0.0


def test_the_extent_is_that_of_the_nuclei_about_their_centre():
    """r² of the electrons of molecules of one composition differs by as much."""
    z, pos = np.array([6, 8]), np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 4.4]])
    expected = 6 * 8 / 14 * (1.4 / BOHR) ** 2
    assert extent(z, pos) == pytest.approx(expected)
    assert extent(z, pos @ np.diag([-1.0, 1.0, 1.0]) + 5.0) == pytest.approx(expected)


def test_a_mean_of_two_models_has_the_share_of_each_property():
    """The third one's share falls with its spread, which is 10 times its σ₀: to 0.5 / 101."""
    one, other = (
        conformer_average(values, np.array([0.0, 0.0]), signals)
        for values, signals in (
            (np.array([[1.0, 10.0, 5.0], [3.0, 30.0, 7.0]]), np.array([[5.0], [5.0]])),
            (np.array([[2.0, 20.0, 9.0], [2.0, 20.0, 9.0]]), None),
        )
    )
    most = np.array([1.0, 0.25, 0.5])
    mixed = one.mixed(other, Mixing(most, np.array([0.0, 0.0, 10.0])))
    falling = np.array([1.0, 0.25, 0.5 / 101])
    for name in ("value", "std", "lowest", "boltzmann"):
        share = most if name in ("lowest", "boltzmann") else falling
        mine, its = getattr(one, name), getattr(other, name)
        expected = share * mine + (1 - share) * its
        np.testing.assert_allclose(getattr(mixed, name), expected, rtol=1e-12)
    assert mixed.signals.tolist() == [5.0]


def test_learned_weights_stand_in_for_those_of_energies():
    values, energies = np.array([[1.0], [3.0], [5.0]]), np.array([-100.0, -100.05, -99.9])
    logs = SHARPNESS * np.log([0.5, 0.2, 0.3]) + 700.0
    extents = np.array([100.0, 900.0, 300.0])
    found = conformer_average(values, energies, None, extents, logs)
    assert found.value == pytest.approx([0.5 + 0.6 + 1.5])
    assert found.std == pytest.approx([math.sqrt(0.5 * 1 + 0.2 * 9 + 0.3 * 25 - 2.6**2)])
    before = conformer_average(values, energies, None, extents)
    assert found.lowest == before.lowest == 3.0
    assert found.boltzmann == before.boltzmann
