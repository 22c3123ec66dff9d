"""Intervals hold the share that they promise, whatever the errors look like."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.predictor.calibration import (
    INTERVAL,
    ONE_SIGMA,
    Compared,
    Scale,
    calibration_from,
    calibration_of,
    within,
)
from molgeo.predictor.header import Facts
from molgeo.properties import Property


def molecules(n, seed):
    """Values with heavy-tailed errors that grow with the conformers' spread, in two units."""
    rng = np.random.default_rng(seed)
    spread = rng.exponential(1.0, (n, 2)) * (rng.random((n, 1)) < 0.6)
    error = (0.3 + spread) * rng.standard_t(3, (n, 2))
    labels = rng.normal(0.0, 5.0, (n, 2))
    unit = np.array([1.0, 1000.0])
    return (labels + error) * unit, spread * unit, labels * unit


@pytest.fixture(scope="module")
def calibration():
    return calibration_from(Compared(["mu", "gap"], *molecules(3000, 0)), conformers=8)


@pytest.mark.parametrize(("column", "name"), [(0, "mu"), (1, "gap")])
def test_the_promised_share_of_other_molecules_lies_within(calibration, column, name):
    values, stds, labels = (a[:, column] for a in molecules(50_000, 1))
    for k, share in enumerate((ONE_SIGMA, INTERVAL)):
        width = calibration.half_widths(name, stds)[k]
        # 3,000 molecules know a share to 0.8% (one standard deviation).
        assert np.mean(np.abs(values - labels) <= width) == pytest.approx(share, abs=0.025)


RANGES = st.tuples(st.floats(-100, 100), st.floats(0.1, 100), st.booleans(), st.booleans())


@given(RANGES, st.integers(0, 2**16))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_within_a_range_intervals_hold_as_many_labels(range_, seed):
    least, width, has_least, has_most = range_
    one = Property(
        "x",
        "",
        minimum=least if has_least else -np.inf,
        maximum=least + width if has_most else np.inf,
    )
    rng = np.random.default_rng(seed)
    raw = rng.normal(least + width / 2, width, (200, 1))
    labels = np.clip(raw + width * rng.standard_t(3, raw.shape), one.minimum, one.maximum)
    values = np.clip(raw, one.minimum, one.maximum)
    assert (np.abs(values - labels) <= np.abs(raw - labels)).all()
    known = calibration_from(Compared(["x"], values, np.zeros_like(values), labels), 0)
    half = known.half_widths("x", np.zeros(len(values)))[1][:, None]
    low, high = within([one], values - half), within([one], values + half)
    in_order = np.hstack([np.full_like(low, one.minimum), low, values, high])
    assert (np.diff(in_order, axis=1) >= 0).all()
    assert (high <= one.maximum).all()
    held = np.abs(values - labels) <= half
    assert held.mean() >= INTERVAL
    tiny = 1e-9 * (abs(least) + width)  # v − h is rounded
    assert (((low - tiny <= labels) & (labels <= high + tiny)) >= held).all()
    assert (((low + tiny < labels) & (labels < high - tiny)) <= held).all()


def test_the_smallest_sample_takes_its_largest_score():
    values, labels = np.arange(9.0)[:, None], np.zeros((9, 1))
    found = calibration_from(Compared(["mu"], values, np.zeros((9, 1)), labels), 1)
    assert found.scales["mu"] == Scale(error=4.0, sigma=6 / 4, interval=8 / 4)
    assert found.half_widths("mu", np.zeros(1)) == (6.0, 8.0)
    with pytest.raises(ValueError, match="calibrate: expected at least 9 molecules, got 8"):
        calibration_from(Compared(["mu"], values[:8], np.zeros((8, 1)), labels[:8]), 1)


def test_different_conformers_widen_the_interval(calibration):
    sigma, interval = calibration.half_widths("mu", np.array([0.0, 0.5]))
    assert sigma[0] < sigma[1]
    assert interval[0] < interval[1]
    assert (sigma < interval).all()


def test_a_header_keeps_it(calibration):
    told = json.dumps(Facts(calibration=[calibration]).told())
    assert Facts.model_validate_json(told).calibration == [calibration]


def test_the_largest_number_of_conformers_that_is_not_exceeded(calibration):
    known = [replace(calibration, conformers=n) for n in (8, 2, 4)]
    found = {n: calibration_of(known, n) for n in (1, 2, 3, 4, 7, 8, 100)}
    assert found[1] is None
    assert [found[n].conformers for n in (2, 3, 4, 7, 8, 100)] == [2, 2, 4, 4, 8, 8]
    assert calibration_of([], 8) is None


def far_and_near(n, seed, far):
    """Errors that grow with the first of two signals; those far away are larger by a half again."""
    rng = np.random.default_rng(seed)
    signals = rng.gamma(4.0, 0.25, (n, 2)) + far * rng.random((n, 1)) * 3
    scale = 0.2 + 2.0 * np.clip(signals[:, 0] - 0.9, 0, None) * (1.5 if far else 1.0)
    labels = rng.normal(0.0, 5.0, (n, 1))
    values = labels + (scale * rng.standard_t(4, n))[:, None]
    return Compared(["mu"], values, np.zeros((n, 1)), labels, signals, np.full(n, bool(far)))


@pytest.fixture(scope="module")
def classes():
    return calibration_from(far_and_near(2000, 0, 0), 0, far_and_near(300, 1, 1))


@pytest.mark.parametrize("far", [0, 1])
def test_both_classes_hold_their_share(classes, far):
    other = far_and_near(20_000, 2 + far, far)
    errors = np.abs(other.values - other.labels)[:, 0]
    halves = classes.half_widths("mu", other.stds[:, 0], other.signals, other.outside)
    for half, share in zip(halves, (ONE_SIGMA, INTERVAL), strict=True):
        # 300 molecules know a share to 2% (one standard deviation of 90%: 1.7%; of 68%: 2.7%).
        assert np.mean(errors <= half) == pytest.approx(share, abs=0.06 if far else 0.03)


def test_the_signal_that_orders_errors_has_the_weight(classes):
    first, second = classes.scales["mu"].weights
    assert first > 1.0
    assert second < 0.2 * first
    assert classes.n_outside == 300


def test_what_no_molecule_has_gets_no_weight_but_conformers_do():
    near = far_and_near(500, 0, 0)
    near = near._replace(signals=near.signals * np.array([1.0, 0.0]))
    scale = calibration_from(near, 1).scales["mu"]
    assert scale.weights[0] > 1.0
    assert (scale.weights[1], scale.apart, scale.spread) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("sizes", [(1e-5, 1.0), (0.01, 1000.0), (300.0, 1000.0)])
def test_the_size_of_a_signal_does_not_matter(classes, sizes):
    near, far, sizes = far_and_near(2000, 0, 0), far_and_near(300, 1, 1), np.array(sizes)
    scaled = [one._replace(signals=one.signals * sizes) for one in (near, far)]
    found = calibration_from(scaled[0], 0, scaled[1])
    other = far_and_near(1000, 5, 1)
    own = found.half_widths("mu", other.stds[:, 0], other.signals * sizes, other.outside)
    expected = classes.half_widths("mu", other.stds[:, 0], other.signals, other.outside)
    for half, known in zip(own, expected, strict=True):
        np.testing.assert_allclose(half, known, rtol=1e-3)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    near=st.lists(st.floats(0, 50), min_size=2, max_size=2),
    more=st.lists(st.floats(0, 50), min_size=2, max_size=2),
    outside=st.booleans(),
)
def test_more_distance_never_narrows(classes, near, more, outside):
    signals = np.array([near, np.add(near, more)])
    for half in classes.half_widths("mu", np.zeros(2), signals, np.full(2, outside)):
        assert half[0] <= half[1]


def test_what_is_outside_without_a_signal_has_a_floor():
    """Octatetraene: its bonds are strange, the features of its atoms are not."""
    far = far_and_near(300, 1, 0)
    errors = np.random.default_rng(2).laplace(0.0, 4.0, (300, 1))
    far = far._replace(values=far.labels + errors, outside=np.ones(300, bool))
    found = calibration_from(far_and_near(2000, 0, 0), 0, far)
    assert found.scales["mu"].apart > 2.0
    usual = np.array([found.origin])
    inside, outside = (
        found.half_widths("mu", np.zeros(1), usual, np.array([each]))[1][0]
        for each in (False, True)
    )
    assert outside > 5 * inside
    assert np.mean(np.abs(errors) <= outside) > 0.8


def test_an_element_at_infinity_has_a_finite_interval(classes):
    assert np.isfinite(classes.half_widths("mu", np.zeros(1), np.full((1, 2), np.inf))).all()


def test_few_molecules_outside_make_no_class_of_their_own():
    found = calibration_from(far_and_near(500, 0, 0), 0, far_and_near(8, 1, 1))
    assert found.scales["mu"].outside is None
    assert found.n_outside == 0


def grouped(n, seed):
    """Groups of 1 to 40 molecules that err together; the larger ones, as of common kinds, less."""
    rng = np.random.default_rng(seed)
    sizes = np.minimum(rng.geometric(0.15, n), 40)
    groups = np.repeat(np.arange(n), sizes)
    together = (2.0 / sizes**0.5 * rng.normal(0, 1, n))[groups]
    labels = rng.normal(0.0, 5.0, (len(groups), 1))
    values = labels + (together + rng.normal(0, 0.2, len(groups)))[:, None]
    return Compared(["x"], values, np.zeros_like(values), labels, groups=groups)


def test_the_promised_share_of_new_groups_lies_within():
    other = grouped(4000, 1)
    first = np.unique(other.groups, return_index=True)[1]  # a molecule of each group
    errors = np.abs(other.values - other.labels)[first, 0]
    known = grouped(400, 0)
    sigma, half = calibration_from(known, 0).half_widths("x", np.zeros(1))
    assert np.mean(errors <= half) == pytest.approx(INTERVAL, abs=0.03)
    assert np.mean(errors <= sigma) == pytest.approx(ONE_SIGMA, abs=0.05)
    _, narrow = calibration_from(known._replace(groups=None), 0).half_widths("x", np.zeros(1))
    assert np.mean(errors <= narrow) < 0.8


def test_groups_of_one_molecule_are_none():
    known = far_and_near(200, 0, 0)
    alone = known._replace(groups=np.arange(200))
    assert calibration_from(alone, 0) == calibration_from(known, 0)


def test_a_calibration_needs_nine_groups():
    known = grouped(8, 0)
    with pytest.raises(ValueError, match="expected at least 9 groups of molecules, got 8"):
        calibration_from(known, 0)


def test_a_header_keeps_classes_and_weights(classes):
    told = json.dumps(Facts(calibration=[classes]).told())
    assert Facts.model_validate_json(told).calibration == [classes]
