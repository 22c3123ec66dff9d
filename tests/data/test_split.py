"""Groups that are never divided: parts by rows, and folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.data.split import UNDECIDED, folds, split_groups
from molgeo.runtime.errors import InputError

GROUPS = st.lists(st.integers(-1, 12), min_size=12, max_size=80).map(np.array)
QUICK = settings(deadline=None, max_examples=25, derandomize=True)


def sizes_of(groups, seed, by_rows=True):
    undecided = np.full(len(groups), UNDECIDED)
    return split_groups(groups, undecided, 0.1, 0.1, seed, by_rows=by_rows)


@QUICK
@given(GROUPS, st.integers(0, 9))
def test_parts_by_rows_are_disjoint_and_divide_no_group(groups, seed):
    try:
        parts = sizes_of(groups, seed)
    except InputError as error:
        assert "scaffold" in str(error)  # noqa: PT017
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    known = [{*groups[part.numpy()].tolist()} - {-1} for part in parts]
    assert sum(map(len, known)) == len(set.union(*known))


@pytest.mark.parametrize("seed", range(5))
def test_parts_have_the_sizes_asked_for_and_the_largest_groups_are_trained_on(seed):
    sizes = [250, 60, 40, 20, 10, 8, *[3] * 30, *[1] * 122]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    train, validation, test = sizes_of(groups, seed)
    assert len(test) == round(0.1 * len(groups))
    assert len(validation) == round(0.1 * (len(groups) - len(test)))
    assert {0, 1, 2} <= set(groups[train.numpy()].tolist())
    again = sizes_of(groups, seed)
    assert all(a.equal(b) for a, b in zip(again, (train, validation, test), strict=True))
    assert not sizes_of(groups, seed + 100).test.equal(test)


def test_whole_groups_are_taken_if_none_fits():
    train, validation, test = sizes_of(np.repeat(np.arange(3), [50, 30, 20]), 0)
    assert (len(train), len(validation), len(test)) == (50, 30, 20)


def test_too_few_groups_are_said():
    with pytest.raises(InputError, match=r"\(2 scaffolds\).*need one scaffold each"):
        sizes_of(np.repeat([0, 1], 20), 0)


@QUICK
@given(GROUPS, st.integers(0, 9), st.integers(2, 5))
def test_folds_divide_no_group_and_are_about_equal(groups, seed, n):
    count = len(set(groups[groups >= 0].tolist())) + int((groups < 0).sum())
    if count < n:
        with pytest.raises(InputError, match=f"expected at most {count}"):
            folds(groups, n, seed)
        return
    found = folds(groups, n, seed)
    rows = np.bincount(found, minlength=n)
    assert (rows > 0).all()
    largest = max(1, np.bincount(groups[groups >= 0], minlength=1).max())
    assert np.ptp(rows) <= largest
    for one in set(groups[groups >= 0].tolist()):
        assert len(set(found[groups == one].tolist())) == 1
    assert (folds(groups, n, seed) == found).all()
