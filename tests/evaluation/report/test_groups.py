import numpy as np
import pytest
from rdkit import Chem

from molgeo.evaluation.report.groups import GROUPS, Molecules, by_element, by_group, by_size


def of(*smiles):
    mols = [Chem.AddHs(Chem.MolFromSmiles(one)) for one in smiles]
    return Molecules(smiles, [np.array([a.GetAtomicNum() for a in mol.GetAtoms()]) for mol in mols])


def named(found):
    return {one.name: one.among.tolist() for one in found}


def test_size_and_elements():
    molecules = of("CCO", "C", "CCF")
    assert named(by_size(molecules)) == {"1": [False, True, False], "3": [True, False, True]}
    assert named(by_element(molecules)) == {
        "with H": [True] * 3,
        "with C": [True] * 3,
        "with O": [True, False, False],
        "with F": [False, False, True],
    }


@pytest.mark.parametrize(
    ("smiles", "groups"),
    [
        ("CCO", {"alcohol"}),
        ("COC", {"ether"}),
        ("CC=O", {"aldehyde"}),
        ("CC(C)=O", {"ketone"}),
        ("CC(=O)O", {"carboxylic acid"}),
        ("CC(=O)OC", {"ester"}),
        ("CC(N)=O", {"amide"}),
        ("CCN", {"amine"}),
        ("CC=NC", {"imine, amidine or oxime"}),
        ("CC#N", {"nitrile"}),
        ("CC#C", {"alkyne"}),
        ("CC=C", {"alkene"}),
        ("Oc1ccccc1", {"phenol or enol", "aromatic carbons"}),
        ("c1ccncc1", {"aromatic ring with N or O"}),
        ("C1CC1", {"ring of three"}),
        ("CF", {"C–F"}),
        ("C", set()),
    ],
)
def test_functional_groups(smiles, groups):
    assert named(by_group(of(smiles))) == {one: [True] for one in groups}
    assert groups <= GROUPS.keys()
