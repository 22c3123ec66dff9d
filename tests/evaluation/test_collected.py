"""Values of two models together."""

from collections import Counter

import numpy as np
import pytest
import torch

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.evaluation.collected import Collected, best_mixing
from molgeo.predictor.calibration import Mixing

OF = [PROPERTIES["gap"], PROPERTIES["mu"]]


def collected(values, stds, labels, rows):
    """Of two properties that no signal is told of."""
    nothing = torch.zeros(len(rows), dtype=torch.bool)
    told = [torch.from_numpy(one) for one in (values, stds, labels)]
    rows = torch.as_tensor(rows)
    return Collected(OF, *told, Counter(), rows, None, nothing, nothing, rows)


def test_the_best_shares_are_those_that_the_labels_were_made_with():
    """One falls with the spread, twice what its 90% quantile is; the other one is half and half."""
    rng = np.random.default_rng(5)
    mine, its = rng.normal(size=(2, 400, 2))
    stds = rng.uniform(0, 1, size=(400, 2))
    falls = np.array([2.5 / np.quantile(stds[:, 0], 0.9), 0.0])
    share = np.array([0.8, 0.5]) / (1 + (falls * stds) ** 2)
    labels, rows = share * mine + (1 - share) * its, np.arange(400)
    own = collected(mine, stds, labels, rows)
    other = collected(its, np.zeros((400, 2)), labels, rows)
    found = best_mixing(own, other)
    assert found.most == pytest.approx([0.8, 0.5])
    assert found.falls == pytest.approx(falls)
    mixed = own.mixed(other, found)
    np.testing.assert_allclose(mixed.values, labels, rtol=1e-12)
    np.testing.assert_allclose(mixed.stds, share * stds, rtol=1e-12)


def test_molecules_that_the_other_model_lacks_are_left_out():
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    own = collected(values, np.zeros((3, 2)), values, [7, 8, 9])
    other = collected(10 * values[:2], np.zeros((2, 2)), values[:2], [9, 7])
    mixed = own.mixed(other, Mixing(np.array([0.5, 1.0]), np.zeros(2)))
    assert mixed.rows.tolist() == [7, 9]
    assert mixed.values.tolist() == [[15.5, 2.0], [7.5, 6.0]]
