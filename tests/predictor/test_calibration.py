"""Intervals hold the share that they promise, whatever the errors look like."""

import json
from dataclasses import replace

import numpy as np
import pytest

from molgeo.predictor.calibration import (
    INTERVAL,
    ONE_SIGMA,
    Scale,
    calibration_from,
    calibration_of,
    half_widths,
)
from molgeo.predictor.header import Facts


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
    return calibration_from(["mu", "gap"], *molecules(3000, 0), conformers=8)


@pytest.mark.parametrize(("column", "name"), [(0, "mu"), (1, "gap")])
def test_the_promised_share_of_other_molecules_lies_within(calibration, column, name):
    values, stds, labels = (a[:, column] for a in molecules(50_000, 1))
    for k, share in enumerate((ONE_SIGMA, INTERVAL)):
        width = np.array([half_widths(calibration.scales[name], s)[k] for s in stds.tolist()])
        # 3,000 molecules know a share to 0.8% (one standard deviation).
        assert np.mean(np.abs(values - labels) <= width) == pytest.approx(share, abs=0.025)


def test_the_smallest_sample_takes_its_largest_score():
    values, labels = np.arange(9.0)[:, None], np.zeros((9, 1))
    scale = calibration_from(["mu"], values, np.zeros((9, 1)), labels, 1).scales["mu"]
    assert scale == Scale(error=4.0, sigma=6 / 4, interval=8 / 4)
    assert half_widths(scale, 0.0) == (6.0, 8.0)
    with pytest.raises(ValueError, match="calibrate: expected at least 9 molecules, got 8"):
        calibration_from(["mu"], values[:8], np.zeros((8, 1)), labels[:8], 1)


def test_different_conformers_widen_the_interval(calibration):
    narrow, wide = (half_widths(calibration.scales["mu"], s) for s in (0.0, 0.5))
    assert narrow < wide
    assert narrow[0] < narrow[1]


def test_a_header_keeps_it(calibration):
    told = json.dumps(Facts(calibration=[calibration]).told())
    assert Facts.model_validate_json(told).calibration == [calibration]


def test_the_largest_number_of_conformers_that_is_not_exceeded(calibration):
    known = [replace(calibration, conformers=n) for n in (8, 2, 4)]
    found = {n: calibration_of(known, n) for n in (1, 2, 3, 4, 7, 8, 100)}
    assert found[1] is None
    assert [found[n].conformers for n in (2, 3, 4, 7, 8, 100)] == [2, 2, 4, 4, 8, 8]
    assert calibration_of([], 8) is None
