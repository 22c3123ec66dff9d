"""Structures of several charges, sizes and elements go together, as the commands take them."""

import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from rdkit import Chem

from molgeo.chem.molecule import BadRow
from molgeo.cli import program as cli
from molgeo.simulation.structures import structures

MODEL = ["--model", "spectrum_net-aimnet2"]
SMILES = ["O", "CC(=O)[O-]", "C[CH2]", "C[NH3+]", "CS", "[Xe]"]
BAD = [2, 5]
"""A radical, and an element that the model does not know."""
GOOD = [0, 1, 3, 4]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def of_smiles():
    Path("in.smi").write_text("\n".join(SMILES) + "\n")
    return "in.smi", [[smiles] for smiles in SMILES]


def of_xyz():
    """A charge in each comment; odd electrons and an unknown element are as bad there."""
    blocks = []
    for smiles, atoms in zip(SMILES, structures(of_smiles()[0]), strict=True):
        if isinstance(atoms, BadRow):
            blocks.append("3\ncharge=-1\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n")
            continue
        rows = zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)
        lines = [f"{symbol} {x} {y} {z}" for symbol, (x, y, z) in rows]
        comment = f"{smiles} charge={atoms.info.get('charge', 0)}"
        blocks.append("\n".join([str(len(atoms)), comment, *lines, ""]))
    return "in.xyz", blocks


def of_sdf():
    """M  CHG lines; the radical's record is one without an atom of its own."""
    records = []
    for smiles, atoms in zip(SMILES, structures(of_smiles()[0]), strict=True):
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        conformer = Chem.Conformer(mol.GetNumAtoms())
        for k in range(mol.GetNumAtoms()):
            pos = [float(k), 0.0, 0.1] if isinstance(atoms, BadRow) else atoms.positions[k]
            conformer.SetAtomPosition(k, [float(x) for x in pos])
        mol.AddConformer(conformer)
        records.append(Chem.MolToMolBlock(mol) + "\n$$$$\n")
    return "in.sdf", records


@pytest.fixture
def input_file(request):
    """A file of many, and for each of its structures an input of its own."""
    name, alone = request.param()
    if request.param is of_smiles:
        return name, [smiles for (smiles,) in alone]
    ending = Path(name).suffix
    Path(name).write_text("".join(alone))
    for k, text in enumerate(alone):
        Path(f"one-{k}{ending}").write_text(text)
    return name, [f"one-{k}{ending}" for k in range(len(alone))]


def run(capsys, *words):
    status = cli.main([str(word) for word in [*words, *MODEL]])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


@pytest.mark.parametrize("input_file", [of_xyz, of_sdf], indirect=True)
def test_relax(capsys, input_file):
    name, alone = input_file
    status, _, err = run(capsys, "relax", name, "--output", "all.extxyz", "--fmax", 0.02)
    found = ase.io.read("all.extxyz", ":")
    assert (status, len(found)) == (3, len(GOOD))
    assert all(f"{name}:{k + 1}:" in err for k in BAD)
    assert [atoms.info.get("charge", 0) for atoms in found] == [0, -1, 1, 0]
    for k, atoms in zip(GOOD, found, strict=True):
        words = ["relax", alone[k], "--output", "one.extxyz", "--fmax", 0.02, "--force"]
        assert run(capsys, *words)[0] == 0
        one = ase.io.read("one.extxyz")
        assert atoms.get_potential_energy() == pytest.approx(one.get_potential_energy(), abs=2e-4)


@pytest.mark.parametrize("input_file", [of_smiles], indirect=True)
def test_vib(capsys, input_file):
    name, alone = input_file
    status, out, _ = run(capsys, "vib", name)
    rows = json.loads(out)
    assert status == 3
    assert [k for k, row in enumerate(rows) if row["status"] == "error"] == BAD
    k = GOOD[1]
    one = json.loads(run(capsys, "vib", alone[k])[1])
    np.testing.assert_allclose(rows[k]["frequencies_cm"], one["frequencies_cm"], atol=1.0)
    assert rows[k]["energy_eV"] == pytest.approx(one["energy_eV"], abs=1e-6)


@pytest.mark.parametrize("input_file", [of_sdf], indirect=True)
def test_md(capsys, input_file):
    name, alone = input_file
    steps = ["--steps", 10, "--interval", 5, "--dtype", "float64"]
    status, _, err = run(capsys, "md", name, *steps)
    assert status == 3
    assert sorted(str(path) for path in Path().glob("traj-*.extxyz")) == [
        f"traj-{k + 1}.extxyz" for k in GOOD
    ]
    for k in GOOD:
        words = ["md", alone[k], *steps, "--seed", k, "--force"]
        assert run(capsys, *words)[0] == 0
        one, together = (ase.io.read(f) for f in ("traj.extxyz", f"traj-{k + 1}.extxyz"))
        np.testing.assert_allclose(together.positions, one.positions, rtol=0, atol=1e-7)
    assert err.count("\n") == 1 + len(BAD)
