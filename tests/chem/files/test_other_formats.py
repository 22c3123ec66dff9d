import io
import sys

import ase.io
import pytest
from ase.build import molecule as g2
from rdkit import Chem

from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import read
from molgeo.chem.files.smiles_lines import looks_like
from molgeo.chem.molecule import Molecule
from molgeo.runtime.errors import InputError


def text_of(format):
    stream = io.StringIO()
    ase.io.write(stream, g2("CH3CH2OH"), format=format)
    return stream.getvalue()


MOL = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
OTHERS = {
    "xyz": [text_of("xyz"), text_of("extxyz"), "3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"],
    "sdf": [MOL + "$$$$\n", MOL, Chem.MolToV3KMolBlock(Chem.MolFromSmiles("CCO"))],
    "csv": [
        "name,smiles\nethanol,CCO\n",
        "CCO,ethanol\nCCN,amine\n",
        '"acetic acid";"CC(=O)O"\n"ethanol";"CCO"\n',
        "id|SMILES\n1|CCO\n",
    ],
    "pdb": [text_of("proteindatabank")],
    "mol2": ["@<TRIPOS>MOLECULE\nx\n"],
    "cif": ["data_x\n_cell_length_a 1\n"],
    "json": ['{"smiles": "CCO"}\n', '[{"smiles": "CCO"}]\n'],
    "xyz without its two first lines": ["C 0.0 0.0 0.0\n", "C 0. 0. 1\nH 0 0 1e-3\n6 0 0 0\n"],
}
SMILES = [
    "CCO ethanol, pure\nCCN amine, pure\n",
    "CCO\n",
    "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3 a\nInChI=1S/CH4/h1H4 b\n",
    "CCO\t1.0\t2.0\t3.0\n",
    "C methane\nN ammonia\n",
    "[Na+].[Cl-] salt\n",
    "\n\n",
    "ethanol\n",
]


@pytest.mark.parametrize(("format", "text"), [(k, t) for k, texts in OTHERS.items() for t in texts])
@pytest.mark.parametrize("origin", ["stdin", "smi"])
def test_other_formats_are_refused(tmp_path, monkeypatch, format, text, origin):
    source = "-"
    if origin == "stdin":
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    else:
        source = tmp_path / "a.smi"
        source.write_text(text)
    with pytest.raises(InputError, match=f"looks like {format}, not like lines of SMILES: "):
        list(read(source))


@pytest.mark.parametrize("text", SMILES)
def test_lines_of_smiles_are_not(text):
    assert looks_like(text.splitlines(keepends=True)) is None


@pytest.mark.parametrize(
    ("format", "text", "formula"),
    [
        ("xyz", text_of("xyz"), "C2H6O"),
        ("extxyz", text_of("extxyz"), "C2H6O"),
        ("sdf", MOL + "$$$$\n", None),
        ("csv", "name,smiles\nethanol,CCO\n", None),
        ("csv", "CCO;ethanol\n", None),
        ("tsv", "name\tsmiles\nethanol\tCCO\n", None),
        ("txt", "name,smiles\nethanol,CCO\n", None),
        ("smi", "CCO ethanol\n", None),
    ],
)
@pytest.mark.parametrize("origin", ["stdin", "file"])
def test_the_format_can_be_said(tmp_path, monkeypatch, format, text, formula, origin):
    source = "-"
    if origin == "stdin":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    else:
        source = tmp_path / "data"
        source.write_text(text)
    (row,) = read(source, ReadOptions(input_format=format))
    if formula:
        assert isinstance(row, Molecule)
        assert row.formula == formula
    else:
        assert row.smiles == "CCO"


def test_binary_files_are_not_read_from_standard_input():
    with pytest.raises(InputError, match="standard input: db cannot be read from there"):
        list(read("-", ReadOptions(input_format="db")))


def test_lines_are_smiles_if_a_user_says_so(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("C 0.0 0.0 0.0\n")
    (row,) = read(path, ReadOptions(input_format="smi"))
    assert (row.smiles, row.name) == ("C", "0.0 0.0 0.0")
