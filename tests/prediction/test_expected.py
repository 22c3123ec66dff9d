import ase.io
import pytest
from ase.build import molecule
from rdkit import Chem

from molgeo.chem.files.readers import read_all
from molgeo.prediction.expected import expected_rows


def test_files_tell_how_many_rows_they_give(tmp_path):
    (tmp_path / "a.smi").write_text("C\nCC\nCCC")
    (tmp_path / "b.csv").write_text("smiles,name\nC,a\nCC,b\n")
    ase.io.write(tmp_path / "c.xyz", [molecule("H2O"), molecule("CH4")], format="xyz")
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CC"))
    (tmp_path / "d.sdf").write_text(block + "$$$$\n" + block)
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    for name in names:
        assert expected_rows([name]) == len(list(read_all([name])))
    assert expected_rows(["CCO", *names]) == 1 + 3 + 2 + 2 + 2


@pytest.mark.parametrize("name", ["-", "broken.xyz", "a.db"])
def test_what_does_not_tell_is_unknown(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.xyz").write_text("many\n\n")
    (tmp_path / "a.db").write_text("x")
    assert expected_rows(["C", name]) is None
