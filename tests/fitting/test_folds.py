"""Test parts and folds."""

import numpy as np
import pytest

from molgeo.chem.molecule import SmilesRow
from molgeo.data.split import TEST, UNDECIDED, VALIDATION
from molgeo.fitting.folds import folds_of
from molgeo.generate.table import read_table


@pytest.fixture(scope="module")
def table():
    """120 benzenes, 30 of other rings, each with chains of its own."""
    common = [
        f"c1ccccc1{'C' * (k % 30 + 1)}{'O' if k % 2 else 'N'}{'C' * (k // 30)}" for k in range(120)
    ]
    rings = ["C1CCC1", "C1CCCC1", "c1ccncc1", "c1ccoc1", "C1CCNCC1", "c1ccsc1"]
    rare = [f"{ring}{'C' * (k + 1)}" for k in range(5) for ring in rings]
    rows = [SmilesRow(one, input=one, extra={"y": k}) for k, one in enumerate([*common, *rare])]
    return read_table(rows, [["y"]])


def test_scaffolds_stay_together_but_common_ones(table):
    found = folds_of(table, "scaffold", 0.1, 3, 0)
    families = table.families(np.arange(len(table.rows)))
    assert 5 <= len(found.test) <= 15
    assert not set(families[found.test]) & set(families[found.fold >= 0])
    sizes = np.bincount(found.fold[found.fold >= 0])
    assert sizes.min() > 0.7 * sizes.max()
    for family in set(families[found.strange].tolist()):
        assert len(set(found.fold[families == family].tolist())) == 1
        assert len(set(found.group[families == family].tolist())) == 1
    common = np.bincount(families).argmax()
    assert len(set(found.group[found.fold >= 0].tolist())) > len(set(families[found.strange]))
    assert set(found.fold[families == common].tolist()) == {0, 1, 2}
    assert not found.strange[families == common].any()


def test_molecules_stay_together_in_a_random_split(table):
    twice = table.of(np.repeat(np.arange(50), 2))
    found = folds_of(twice, "random", 0.2, 3, 0)
    assert (found.fold[::2] == found.fold[1::2]).all()
    assert len(found.test) == 20
    assert found.strange[found.fold >= 0].all()


def test_a_column_says_what_is_tested(table):
    parts = np.full(150, UNDECIDED)
    parts[:30], parts[30:60] = TEST, VALIDATION
    found = folds_of(table.__class__(**{**vars(table), "parts": parts}), "set", 0.5, 4, 0)
    assert found.test.tolist() == list(range(30))
    assert (found.fold[30:] >= 0).all()
    families = table.families(np.arange(150))
    for family in set(families[120:].tolist()):  # nobody knows how near such a test part is
        assert len(set(found.fold[families == family].tolist())) == 1


def test_folds_lie_among_the_rows_of_a_larger_table(table):
    kept = np.arange(0, 300, 2)
    own = folds_of(table, "scaffold", 0.1, 3, 0)
    found = own.among(kept, 300)
    assert (found.fold[kept] == own.fold).all()
    assert (found.group[kept] == own.group).all()
    assert (found.fold[1::2] == -1).all()
    assert not found.strange[1::2].any()
    assert (found.test == kept[own.test]).all()


def test_no_test_part(table):
    assert not len(folds_of(table, "random", 0.0, 3, 0).test)
