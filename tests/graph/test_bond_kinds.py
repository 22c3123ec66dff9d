import numpy as np
import pytest
from ase.build import molecule

from molgeo.graph.bond_kinds import BondKinds, bond_kinds_of, names_of_kinds
from molgeo.graph.environments import bonds, near_pairs


def flat(*names):
    found = [molecule(name) for name in names]
    z = np.concatenate([atoms.numbers for atoms in found]).astype(np.int64)
    pos = np.concatenate([atoms.positions for atoms in found])
    ptr = np.cumsum([0, *map(len, found)])
    return z, ptr, near_pairs(z, pos, ptr)


def test_a_kind_says_both_ends_and_what_else_they_are_bonded_to():
    z, _, pairs = flat("CH3CH2OH")
    assert sorted(set(names_of_kinds(z, bonds(z, pairs)))) == [
        "C(C,H,H)-H",
        "C(C,H,H)-O(H)",
        "C(C,H,O)-H",
        "C(H,H,H)-C(H,H,O)",
        "H-O(C)",
    ]


def test_each_molecule_counts_once_per_kind():
    known = bond_kinds_of(*flat("C2H6", "CH3CH2OH", "C2H4"))
    assert known.molecules == 3
    assert known.counts["C(C,H,H)-H"] == 2
    assert known.counts["C(H,H)-C(H,H)"] == 1
    z, _, pairs = flat("C2H6", "CH3CH2OH", "C2H4")
    assert known.counts.keys() == set(names_of_kinds(z, bonds(z, pairs)))


def test_what_too_few_molecules_held_is_strange_and_the_rarest_comes_first():
    known = BondKinds(50_000, 10, {"H-O(C)": 9, "C(H,H,H)-O(H)": 10, "C(H,H,O)-H": 40})
    z, _, pairs = flat("CH3OH")
    assert known.strange(z, pairs) == [("H-O(C)", 9)]
    z, _, pairs = flat("H2O2")
    assert known.strange(z, pairs) == [("H-O(O)", 0), ("O(H)-O(H)", 0)]


@pytest.mark.parametrize(("copies", "needed"), [(1, 0), (400, 10), (4, 3)])
def test_a_set_calls_few_of_its_own_molecules_strange(copies, needed):
    """Each of three molecules alone has kinds of its own: with four copies three others have."""
    known = bond_kinds_of(*flat(*["C2H6", "CH3CH2OH", "C2H4"] * copies))
    assert known.needed == needed


def test_a_set_of_lone_atoms_has_no_kinds():
    z, ptr, pairs = flat("C", "O")
    known = bond_kinds_of(z, ptr, pairs)
    assert known == BondKinds(2, 0, {})
    assert known.strange(*flat("CH4")[::2]) == []
