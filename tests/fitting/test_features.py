"""What the bonds of a fit's molecules say."""

import numpy as np
import pytest

from molgeo.chem.descriptors import COUNTED, Descriptors, groups, names
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.fitting import features
from molgeo.fitting.features import COMMON, features_of

ROWS = [SmilesRow(smiles) for smiles in ("CCO", "CCN", "CCCO", "c1ccccc1", "C1CC")]
USED = np.arange(4)


def test_rows_that_are_not_used_are_not_looked_at():
    found = features_of(ROWS, USED, USED)
    assert len(found.counts) == 5
    assert not found.columns[4].any()  # RDKit cannot read it
    assert found.descriptors[:4].any(1).all()


def test_columns_are_those_of_their_names():
    found = features_of(ROWS, USED, USED)
    np.testing.assert_array_equal(found.columns[:4], Descriptors(found.names).of_rows(ROWS[:4]))
    assert found.names[: len(names())] == names()
    assert found.names[-len(groups()) :] == groups()
    some = found.of([2, 0])
    np.testing.assert_array_equal(some.columns, found.columns[[2, 0]])
    assert some.names == found.names


def test_substructures_are_those_of_molecules_that_are_learned_from():
    found = features_of(ROWS, USED, USED)
    assert ((found.counts[:4] > 0).sum(0) >= COMMON).all()
    assert found.common.all()
    assert not found.of([3, 4]).common.any()
    assert not features_of(ROWS, USED, np.arange(2)).counts.size  # none is in three


@pytest.mark.parametrize("most", [1, 2])
def test_of_many_substructures_the_most_frequent_are_taken(monkeypatch, most):
    whole = features_of(ROWS, USED, USED)
    monkeypatch.setattr(features, "MOST_COUNTED", most)
    found = features_of(ROWS, USED, USED)
    assert found.counts.shape == (5, most)
    assert set(found.names) < set(whole.names)
    rarest = (found.counts > 0).sum(0).min()
    left_out = [
        column
        for name, column in zip(whole.names, whole.columns.T, strict=True)
        if name.startswith(COUNTED) and name not in found.names
    ]
    assert left_out
    assert all((column > 0).sum() <= rarest for column in left_out)


def test_without_a_smiles_the_composition_is_known():
    water = Molecule(np.array([8, 1, 1]), np.eye(3))
    found = features_of([water, ROWS[0]], np.arange(2), np.arange(2))
    assert found.counts.shape == found.groups.shape == (2, 0)
    assert found.descriptors[0, [1, 8]].tolist() == [2.0, 1.0]
    assert found.names == ()
