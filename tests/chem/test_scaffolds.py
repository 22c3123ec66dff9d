"""Families of molecules."""

import pytest
from rdkit import Chem

from molgeo.chem.scaffolds import NO_RING, scaffold


@pytest.mark.parametrize(
    ("smiles", "family"),
    [
        ("Cc1ccccc1O", "c1ccccc1"),
        ("O=C(CCc1ccccc1)c1ccncc1", "O=C(CCc1ccccc1)c1ccncc1"),  # the chain links two rings
        ("F/C=C/C1CCC1", "C1CCC1"),
        ("[Na+].[O-]C(=O)c1ccccc1", "c1ccccc1"),
        ("CCCCCCCCCCCC(=O)O.c1ccncc1", "c1ccncc1"),
        ("CCCC", "no ring: no functional group"),
        ("CCO", "no ring: [OH]"),
        ("CCOC", "no ring: [O]"),
        ("NCCN", "no ring: [NH2]"),
        ("CC(=O)O", "no ring: [OH][C]=[O]"),
        ("CCC(=O)OCCCl", "no ring: [Cl].[O][C]=[O]"),
        ("C[N+](C)(C)C", "no ring: [N+1]"),
        ("not a SMILES", ""),
        ("", ""),
    ],
)
def test_what_it_is(smiles, family):
    assert scaffold(smiles) == family


def test_a_homologous_series_is_one_family_and_its_groups_are_not():
    assert {scaffold("C" * n + "O") for n in range(1, 9)} == {f"{NO_RING}[OH]"}
    kinds = ["CCO", "CCOC", "CCN", "CCNC", "CC=O", "CC#N", "CC(=O)O", "CC(=O)N", "CCF", "CCS"]
    assert len({scaffold(one) for one in kinds}) == len(kinds)


def test_all_spellings_and_stereo_are_one_family():
    mol = Chem.MolFromSmiles("C[C@H](N)C(=O)N[C@@H]1CC[C@H](/C=C/c2ccncc2)C1")
    names = {scaffold(Chem.MolToSmiles(mol, doRandom=True)) for _ in range(10)}
    names.add(scaffold(Chem.MolToSmiles(mol, isomericSmiles=False)))
    assert len(names) == 1
    chain = Chem.MolFromSmiles("ClC/C=C/C(N)CC(=O)OCC#N")
    assert len({scaffold(Chem.MolToSmiles(chain, doRandom=True)) for _ in range(10)}) == 1
