"""Bonds and coordinates of one molecule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molgeo.chem import bonds


def with_hydrogens(smiles):
    return Chem.AddHs(Chem.MolFromSmiles(smiles))


def lengths(mol, pos):
    return [
        np.linalg.norm(pos[b.GetBeginAtomIdx()] - pos[b.GetEndAtomIdx()]) for b in mol.GetBonds()
    ]


def test_every_molecule_of_the_fixture_is_matched(samples):
    for smiles, z, pos in samples.values():
        mol = with_hydrogens(smiles)
        order = bonds.assign(mol, z, pos)
        assert sorted(order) == list(range(len(z)))
        np.testing.assert_array_equal(z[order], bonds.atomic_numbers(mol))
        assert max(lengths(mol, pos[order])) < 1.7
        assert bonds.agree(mol, pos[order])


@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_atoms_does_not_matter(samples, seed):
    smiles, z, pos = samples["CC12NC1C(CO)C=C2"]
    shuffled = np.random.default_rng(seed).permutation(len(z))
    mol = with_hydrogens(smiles)
    straight = lengths(mol, pos[bonds.assign(mol, z, pos)])
    order = bonds.assign(mol, z[shuffled], pos[shuffled])
    assert bonds.agree(mol, pos[shuffled][order])
    assert sorted(lengths(mol, pos[shuffled][order])) == pytest.approx(sorted(straight))


def test_carboxylic_oxygens_are_told_apart_by_length():
    """The skeletons of both oxygens of an anion are the same; the double bond is the shorter."""
    mol = with_hydrogens("[O-]C=O")
    pos = np.array([[1.20, 0.0, 0.0], [0.0, 0.0, 0.0], [-1.30, 0.3, 0.0], [0.0, -1.1, 0.0]])
    order = bonds.assign(mol, np.array([8, 6, 8, 1]), pos)
    assert order.tolist() == [2, 1, 0, 3]


def test_other_molecules_are_not_matched(samples):
    ethanol, ether = samples["CCO"], samples["COC"]
    assert bonds.assign(with_hydrogens("COC"), ethanol.z, ethanol.pos) is None
    assert bonds.assign(with_hydrogens("CCO"), ether.z, ether.pos) is None
    assert bonds.assign(with_hydrogens("CCC"), ether.z, ether.pos) is None
    assert bonds.assign(with_hydrogens("[H][H]"), np.array([1, 1]), np.eye(2, 3)) is None


def test_from_coordinates(samples):
    _, z, pos = samples["CC(N)=O"]
    mol = bonds.from_coordinates(z, pos)
    assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == "CC(N)=O"
    assert bonds.atomic_numbers(mol).tolist() == z.tolist()


def test_no_bonds_make_sense():
    assert bonds.from_coordinates(np.array([6, 9, 9]), 100 * np.eye(3)) is None


def test_agreement_ends_where_a_bond_breaks_or_forms(samples):
    smiles, z, pos = samples["CCO"]
    mol = with_hydrogens(smiles)
    pos = pos[bonds.assign(mol, z, pos)]
    assert bonds.agree(mol, pos)
    stretched, nan, swapped = pos.copy(), pos.copy(), pos.copy()
    stretched[2] += 1.5
    nan[0] = np.nan
    hydrogen_of_carbon, hydrogen_of_oxygen = 3, 8
    swapped[hydrogen_of_carbon] = pos[hydrogen_of_oxygen] + 0.2
    for broken in (stretched, nan, swapped):
        assert not bonds.agree(mol, broken)


def test_a_contact_that_is_shorter_than_a_bond_disagrees():
    """A square of carbons with its ring bond opened has four short pairs for three bonds."""
    mol = with_hydrogens("CCCC")
    pos = np.zeros((14, 3))
    pos[:4] = [[0, 0, 0], [1.54, 0, 0], [1.54, 1.9, 0], [0, 1.54, 0]]
    pos[4:] = [pos[a.GetNeighbors()[0].GetIdx()] + [0, 0, 1.09] for a in list(mol.GetAtoms())[4:]]
    assert not bonds.agree(mol, pos)


def test_hydrogen_alone_agrees():
    mol = with_hydrogens("[H][H]")
    assert bonds.agree(mol, np.array([[0, 0, 0], [0, 0, 0.74]]))
    assert not bonds.agree(mol, np.array([[0, 0, 0], [0, 0, 2.0]]))


def test_bonds_are_the_same_until_an_atom_leaves_or_comes():
    mol = with_hydrogens("OCC=O")
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    z, before = bonds.atomic_numbers(mol), mol.GetConformer().GetPositions()
    rng = np.random.default_rng(0)
    assert bonds.same_bonds(z, before, before + 0.03 * rng.standard_normal(before.shape))
    hydrogen = int(np.flatnonzero(z == 1)[0])
    (neighbour,) = [one.GetIdx() for one in mol.GetAtomWithIdx(hydrogen).GetNeighbors()]
    far = before.copy()
    far[hydrogen] += 1.5 * (before[hydrogen] - before[neighbour])
    assert not bonds.same_bonds(z, before, far)
    moved = before.copy()
    other = int(np.flatnonzero(z == 8)[-1])
    moved[hydrogen] = before[other] + 0.6
    assert not bonds.same_bonds(z, before, moved)
    torn = before.copy()
    torn[0] += 5.0
    assert not bonds.same_bonds(z, before, torn)
    hydrogens = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
    assert bonds.same_bonds(np.array([1, 1]), hydrogens, hydrogens)
