"""What the bonds of a fit's molecules say."""

import numpy as np

from molgeo.chem.descriptors import BITS, Descriptors, groups
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.fitting.features import COMMON, features_of

ROWS = [SmilesRow(smiles) for smiles in ("CCO", "CCN", "CCCO", "c1ccccc1", "C1CC")]


def test_rows_that_are_not_used_are_not_looked_at():
    found = features_of(ROWS, np.array([0, 1, 2, 3]))
    assert found.counts.shape == (5, BITS)
    assert not found.descriptors[4].any()  # RDKit cannot read it
    assert found.descriptors[:4].any(1).all()


def test_columns_are_those_of_their_names():
    found, names = features_of(ROWS, np.arange(4)), ("TPSA", "Morgan_80", "MolLogP", *groups())
    np.testing.assert_array_equal(found.named(names)[:4], Descriptors(names).of_rows(ROWS[:4]))


def test_common_is_what_some_molecules_have():
    found = features_of(ROWS, np.arange(4))
    assert found.common.sum() < (found.counts > 0).any(0).sum()
    assert ((found.counts > 0).sum(0)[found.common] >= COMMON).all()
    assert not found.of([3, 4]).common.any()


def test_without_a_smiles_the_composition_is_known():
    water = Molecule(np.array([8, 1, 1]), np.eye(3))
    found = features_of([water, ROWS[0]], np.arange(2))
    assert found.counts.shape == found.groups.shape == (2, 0)
    assert found.descriptors[0, [1, 8]].tolist() == [2.0, 1.0]
