"""Errors on rows that are held out in the other way."""

import numpy as np
import pytest

from molgeo.fitting.members import train_members
from molgeo.fitting.other_split import errors_of_other_split
from molgeo.fitting.outcome import FitTarget
from molgeo.fitting.preparing import given, prepared


@pytest.fixture
def found(table, quick, tmp_path):
    """Of a fit with a split: the errors, and the data whose members were trained."""

    def of(n, **fields):
        settings = quick(pooling="sum", epochs=1, test_fraction=0.2, **fields)
        own = prepared(given(table(), settings), settings)
        targets = [FitTarget.of(one) for one in own.base.learned]
        seen = []

        def train(data, n):
            seen.append(data)
            return train_members(own.base, data, n, own.recipe.folds, tmp_path / "other")

        return errors_of_other_split(own, targets, train, n), seen[0]

    return of


def shared(data, groups):
    """Groups that a held-out fold shares with the rows that its member has seen."""
    fold = data.folds.fold
    return np.intersect1d(groups[fold == 0], groups[fold != 0])


def test_at_random_beside_by_scaffold(found):
    errors, data = found(2)
    fold = data.folds.fold
    assert (fold >= 0).all(), "rows to test on are divided too"
    assert len(shared(data, data.table.families(np.arange(len(fold)))))
    (told,) = errors["y"].values()
    assert list(errors["y"]) == ["random"]
    assert told["n"] == int(np.isin(fold, (0, 1)).sum())
    assert told["model"].keys() == told["baseline"].keys() == {"mae", "rmse", "r2", "spearman"}
    assert 0 < told["baseline"]["mae"] < told["mean"]["mae"]
    assert "within90" not in told


def test_by_scaffold_beside_at_random(found):
    errors, data = found(1, split="random")
    assert list(errors["y"]) == ["scaffold"]
    assert errors["y"]["scaffold"]["n"] == int((data.folds.fold == 0).sum())
    families = data.table.families(np.arange(len(data.folds.fold)))
    common = np.unique(families[~data.folds.strange])
    assert set(shared(data, families)) <= set(common), "but for scaffolds that all folds have"
