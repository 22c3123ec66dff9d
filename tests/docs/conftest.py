"""A folder with the files that the pages speak of."""

import shutil
import sys
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"

TEXTS = {
    "library.smi": "CCO ethanol\nC1=CC=CC=C1 benzene\nCC(=O)O acetic acid\n",
    "names.smi": "CCO ethanol\nO water\n",
    "table.csv": "id,structure,batch\nM1,CCO,a\nM2,CC(N)=O,b\n",
    "solubility.csv": "smiles,logS\n"
    + "".join(
        f"{'C' * n}{end},{1.2 - (0.5 + 0.02 * k) * n:.2f}\n"
        for n in range(1, 9)
        for k, end in enumerate(("O", "C(=O)O", "N", "Cl", "C#N", "F", "OC"))
    ),
    "water.xyz": "3\n\nO 0 0 0.119\nH 0 0.763 -0.477\nH 0 -0.763 -0.477\n",
}


@pytest.fixture
def folder(small_data, tmp_path, monkeypatch):
    """A working folder: the files of the pages, the configs, and some of QM9 as the data."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    from molgeo.chem.files import formats

    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    with Chem.SDWriter(str(tmp_path / "molecules.sdf")) as writer:
        for smiles in ("CCN", "CC=O"):
            molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
            AllChem.EmbedMolecule(molecule, randomSeed=1)
            writer.write(molecule)
    (tmp_path / "rmd17").mkdir()
    shutil.copy(FIXTURES / "forces" / "ethanol.npz", tmp_path / "rmd17")
    shutil.copytree(Path(__file__).parents[2] / "configs", tmp_path / "configs")
    monkeypatch.setenv("MOLGEO_DATA", str(small_data))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(formats, "_registered", {})
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    formats.formats.cache_clear()
    formats.by_ending.cache_clear()
