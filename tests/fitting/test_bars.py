"""Error bars from rows that were held out."""

from collections import Counter

import numpy as np
import pytest
import torch

from molgeo.evaluation.collected import Collected
from molgeo.fitting.bars import HeldOut, calibration_of_rows
from molgeo.fitting.folds import Folds
from molgeo.properties import Property

N = 400


def held_out(n_outside, seed=0):
    """Rows in folds, whose errors are of size 1, and of size 5 outside the domain."""
    rng = np.random.default_rng(seed)
    outside = torch.arange(N) < n_outside
    labels = torch.from_numpy(rng.normal(0, 3, (N, 1)))
    errors = torch.from_numpy(rng.laplace(0, 1, (N, 1))) * torch.where(outside, 5.0, 1.0)[:, None]
    found = Collected(
        properties=[Property("x", "")],
        values=labels + errors,
        stds=torch.zeros(N, 1).double(),
        labels=labels,
        reasons=Counter(),
        rows=torch.arange(N),
        signals=torch.from_numpy(rng.random((N, 5))),
        flagged=outside,
        larger=torch.zeros(N, dtype=torch.bool),
        heavy=torch.full((N,), 9),
    )
    return HeldOut(found, torch.arange(N) % 5)


def folds(group, strange=None):
    strange = np.ones(N, bool) if strange is None else strange
    return Folds(np.arange(0), np.arange(N) % 5, strange, group, True)


@pytest.mark.parametrize(("n_outside", "expected"), [(60, 60), (8, 0)])
def test_enough_rows_outside_have_an_interval_of_their_own(n_outside, expected):
    found = calibration_of_rows(held_out(n_outside), folds(np.arange(N)), 4)
    assert found.n_outside == expected
    signals, stds = np.full((1, 5), 0.5), np.zeros(1)
    inside, outside = (
        found.half_widths("x", stds, signals, np.array([each]))[1][0] for each in (False, True)
    )
    if expected:
        assert outside > 2 * inside


def test_a_scaffold_with_many_rows_counts_as_one():
    """Half of the rows are of one scaffold, and nearly right."""
    held = held_out(0)
    common = torch.arange(N) < N // 2
    near = torch.where(common[:, None], 0.01, 1.0) * (held.found.values - held.found.labels)
    held = held._replace(found=held.found._replace(values=held.found.labels + near))
    group = np.where(common, 0, np.arange(N))
    errors = near[~common].abs().numpy()
    by_row, by_group = (calibration_of_rows(held, folds(one), 4) for one in (np.arange(N), group))
    signals, stds = np.full((1, 5), 0.5), np.zeros(1)
    narrow, half = (one.half_widths("x", stds, signals)[1][0] for one in (by_row, by_group))
    assert (errors <= narrow).mean() < 0.85
    assert (errors <= half).mean() == pytest.approx(0.9, abs=0.04)


def test_rows_of_few_scaffolds_count_one_by_one():
    few = calibration_of_rows(held_out(0), folds(np.arange(N) % 7), 4)
    assert few == calibration_of_rows(held_out(0), folds(np.arange(N)), 4)


def test_rows_of_scaffolds_that_members_knew_do_not_count_if_there_are_others():
    strange = np.arange(N) % 4 < 2
    found = calibration_of_rows(held_out(0), folds(np.arange(N), strange), 4)
    assert found.n == strange.sum()
    few = np.arange(N) < 80
    assert calibration_of_rows(held_out(0), folds(np.arange(N), few), 4).n == N
