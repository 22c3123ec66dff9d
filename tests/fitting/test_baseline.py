"""The 2D baseline and the mean: models that did not see the rows that they predict."""

import numpy as np
import pytest

from molgeo.chem.molecule import SmilesRow
from molgeo.fitting.baseline import baselines
from molgeo.fitting.features import features_of
from molgeo.fitting.outcome import scores

ENDS = ["O", "N", "Cl", "F", "C#N", "C(=O)O", "OC", "c1ccccc1"]
SMILES = [f"{'C' * n}{end}" for n in range(1, 11) for end in ENDS]
ROWS = [SmilesRow(smiles, "", f"row {k}", {}) for k, smiles in enumerate(SMILES)]
FEATURES = features_of(ROWS, np.arange(len(ROWS)), np.arange(len(ROWS)))
FOLD = np.random.RandomState(0).permutation(np.arange(len(ROWS)) % 4 - 1)
HEAVY = np.array([sum(c.isalpha() for c in smiles) - ("l" in smiles) for smiles in SMILES], float)


def labels():
    noise = np.random.default_rng(0).normal(0, 0.1, len(ROWS))
    y = np.stack([0.5 * HEAVY + noise, (HEAVY > 7.5).astype(float)], axis=1)
    y[::9, 0] = np.nan
    return y


@pytest.fixture(scope="module")
def found():
    return baselines(FEATURES, labels(), FOLD, [False, True])


def test_it_learns_numbers_and_classes(found):
    y = labels()
    known = np.isfinite(y[:, 0])
    assert np.isfinite(found.values).all()
    own = scores(y[known, 0], found.values[known, 0], False)
    mean = scores(y[known, 0], found.mean[known, 0], False)
    assert own["mae"] < 0.3 * mean["mae"]
    p = found.values[:, 1]
    assert ((p >= 0) & (p <= 1)).all()
    assert scores(y[:, 1], p, True)["roc_auc"] > 0.95
    assert all(name.endswith("on Morgan counts and descriptors") for name in found.names)


def test_the_mean_is_that_of_the_training_rows(found):
    y = labels()
    for part in range(-1, 3):
        train = (FOLD >= 0) & (part != FOLD)
        assert found.mean[part == FOLD, 1] == pytest.approx(y[train, 1].mean())
        assert found.mean[part == FOLD, 0] == pytest.approx(np.nanmean(y[train, 0]))


def test_test_labels_are_not_looked_at(found):
    y = labels()
    y[FOLD < 0] = [1e3, 0.0]
    again = baselines(FEATURES, y, FOLD, [False, True])
    assert (again.values == found.values).all()
    assert (again.mean == found.mean).all()
    assert again.names == found.names


def test_values_that_are_all_the_same_are_predicted():
    y = np.full((12, 1), 3.5)
    found = baselines(FEATURES.of(slice(12)), y, np.arange(12) % 3 - 1, [False])
    assert found.values == pytest.approx(3.5)
