"""One internal coordinate changes, the others stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow
from molgeo.generate.bonded import Bonded
from molgeo.generate.distortions import bent, stretched, turned

MADE = {}


def bonded(smiles):
    if smiles not in MADE:
        MADE[smiles] = Bonded.of(embed(SmilesRow(smiles))[0])
    return MADE[smiles]


def lengths(one, pos):
    ends = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in one.mol.GetBonds()]
    return np.array([np.linalg.norm(pos[i] - pos[j]) for i, j in ends])


def angles(one, pos):
    found = []
    for j, near in enumerate(one.neighbours):
        for a, i in enumerate(near):
            for k in near[a + 1 :]:
                u, v = pos[i] - pos[j], pos[k] - pos[j]
                cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
                found.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.array(found)


seeds = given(seed=st.integers(0, 1000))
few = settings(deadline=None, max_examples=25, derandomize=True)


@few
@seeds
def test_torsions_keep_bonds_and_angles(seed):
    one = bonded("CCC(=O)NCC1CC1")
    pos = turned(one, np.zeros_like(one.pos), np.random.default_rng(seed), 0)
    assert lengths(one, pos) == pytest.approx(lengths(one, one.pos), abs=1e-9)
    assert angles(one, pos) == pytest.approx(angles(one, one.pos), abs=1e-5)
    assert np.abs(pos - one.pos).max() > 0.01


@few
@seeds
def test_a_displacement_turns_with_its_atoms(seed):
    """A stretched C–H is as long after the turn as before it."""
    one = bonded("CCO")
    displacement = 0.05 * np.random.default_rng(1).standard_normal(one.pos.shape)
    displacement -= displacement.mean(0)
    pos = turned(one, displacement, np.random.default_rng(seed), 0)
    before, after = lengths(one, one.pos + displacement), lengths(one, pos)
    kept = np.isclose(before, after, atol=1e-9).sum()
    assert kept >= len(before) - 3  # all but the bonds about which it was turned


def test_nothing_to_turn():
    assert turned(bonded("C=C"), np.zeros((6, 3)), np.random.default_rng(0), 0) is None


@few
@seeds
def test_a_stretch_changes_one_bond(seed):
    one = bonded("CC(F)=O")
    pos, factor = stretched(one, one.pos, np.random.default_rng(seed))
    ratio = lengths(one, pos) / lengths(one, one.pos)
    assert 0.8 <= factor <= 2.5
    assert np.sort(ratio[~np.isclose(ratio, 1.0)]) == pytest.approx([factor] if factor != 1 else [])


@few
@seeds
def test_a_ring_is_stretched_too(seed):
    one = bonded("C1CC1")
    pos, factor = stretched(one, one.pos, np.random.default_rng(seed))
    ratio = lengths(one, pos) / lengths(one, one.pos)
    assert np.isclose(ratio, factor).any()
    assert (
        np.isclose(
            ratio[[b.GetIsAromatic() or not b.IsInRing() for b in one.mol.GetBonds()]], 1.0
        ).sum()
        >= 5
    )


@few
@seeds
def test_a_bend_keeps_bonds(seed):
    one = bonded("O=C=O")
    pos = bent(one, one.pos, np.random.default_rng(seed))
    assert lengths(one, pos) == pytest.approx(lengths(one, one.pos), abs=1e-9)
    assert 119.0 < angles(one, pos)[0] < 180.1


def test_two_atoms_have_no_angle():
    assert bent(bonded("N#N"), bonded("N#N").pos, np.random.default_rng(0)) is None
