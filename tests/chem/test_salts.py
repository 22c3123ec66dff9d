import pytest
from rdkit import Chem

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import read
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.chem.salts import parent


@pytest.mark.parametrize(
    ("salt", "smiles", "stripped"),
    [
        ("CC[NH3+].[Cl-]", "CCN", "[Cl-]"),
        ("Cl.CCN", "CCN", "Cl"),
        ("[Na+].CC(=O)[O-]", "CC(=O)O", "[Na+]"),
        ("CCO.O", "CCO", "O"),
        ("c1ccccc1CN.OC(=O)/C=C/C(=O)O", "NCc1ccccc1", "O=C(O)/C=C/C(=O)O"),
        ("CCCCN.Cc1ccc(cc1)S(=O)(=O)O", "CCCCN", "Cc1ccc(S(=O)(=O)O)cc1"),
        ("CCN.CCN.OS(=O)(=O)O", "CCN", "CCN.O=S(=O)(O)O"),
        ("C[N+](C)(C)C.[Br-]", "C[N+](C)(C)C", "[Br-]"),
        ("CN(C)C=O.c1ccccc1CCN", "NCCc1ccccc1", "CN(C)C=O"),
        ("C[C@H](N)C(=O)O.Cl", "C[C@H](N)C(=O)O", "Cl"),
    ],
)
def test_the_parent_and_what_is_stripped(salt, smiles, stripped):
    found = parent(salt)
    assert found == (smiles, stripped)
    reverse = parent(".".join(reversed(salt.split("."))))
    assert reverse.smiles == smiles
    n = sum(Chem.MolFromSmiles(s).GetNumHeavyAtoms() for s in found)
    assert n == Chem.MolFromSmiles(salt).GetNumHeavyAtoms()


@pytest.mark.parametrize("smiles", ["CCO", "C1CC.O", "", "CC.O.[X]"])
def test_what_is_no_salt_is_left_alone(smiles):
    assert parent(smiles) is None


@pytest.mark.parametrize("mixture", ["c1ccccc1.Cc1ccccc1", "[Na+].[Cl-]", "CCCCCCCCN.CCCCCCCCO.Cl"])
def test_a_mixture_is_not_cut(mixture):
    assert "are of similar size: strip_salts cannot tell which one is meant" in parent(mixture)


def test_rows_tell_what_was_stripped(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("CC[NH3+].[Cl-] a\nCCO b\nc1ccccc1.Cc1ccccc1 c\nC1CC.O d\n")
    rows = list(read(path, ReadOptions(strip_salts=True)))
    assert rows[0] == SmilesRow("CCN", "a", f"{path}:1", stripped="[Cl-]")
    assert rows[1] == SmilesRow("CCO", "b", f"{path}:2")
    assert isinstance(rows[2], BadRow)
    assert rows[3].smiles == "C1CC.O"
    assert next(iter(read(path))).smiles == "CC[NH3+].[Cl-]"


def test_salts_of_drawings(tmp_path):
    path = tmp_path / "a.sdf"
    path.write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CC[NH3+].[Cl-]")) + "$$$$\n")
    (row,) = read(path, ReadOptions(strip_salts=True))
    assert (row.smiles, row.stripped) == ("CCN", "[Cl-]")
