"""Cheap geometries of the fixture's molecules: all of them, repeatable, whatever happens."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from rdkit import Chem

from molgeo.chem.bonds import agree, assign, has_stereo, stereo_smiles
from molgeo.chem.conformers.canonical import canonical
from molgeo.chem.conformers.conformers import embed, generate
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.data.geometries import read_geometries
from molgeo.data.loader import FlatLoader
from molgeo.data.qm9.dataset import QM9, geometry_path
from molgeo.data.qm9.sources import write
from molgeo.generate import geometries, qm9
from molgeo.predictor.checkpoint import catalogue
from molgeo.simulation.engine import GeometryEngine

ENGINE = "spectrum_net-aimnet2"

KINDS = ["mmff", "smiles", "flat"]


@pytest.fixture
def root(some_qm9, tmp_path):
    """A folder of its own with the prepared fixture."""
    write(some_qm9, tmp_path / "qm9.safetensors", "fixture")
    return tmp_path


@pytest.fixture(scope="module")
def prepared(some_qm9, tmp_path_factory):
    """A folder with all kinds of geometries, two conformers a SMILES."""
    folder = tmp_path_factory.mktemp("prepared")
    write(some_qm9, folder / "qm9.safetensors", "fixture")
    for kind in KINDS:
        qm9.prepare(folder, kind, 2)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_molecule_has_a_status(prepared, kind):
    data = QM9(prepared)
    found = data.geometry(kind)
    everything = torch.arange(len(data))
    assert sum(found.tally(everything).values()) == 61
    assert geometries.tally(geometry_path(prepared, kind)) == found.tally(everything)
    assert found.exists.all()
    assert found.first.diff().max() <= (1 if kind == "mmff" else 2)
    assert not list(prepared.glob("*.parts"))


def test_mmff_keeps_the_order_of_atoms_and_the_labels(prepared):
    data = QM9(prepared)
    found = data.geometry("mmff").molecules
    for name in ("z", "ptr", "y", "idx"):
        assert torch.equal(getattr(found, name), getattr(data.molecules, name))
    assert 0.0 < (found.pos - data.molecules.pos).norm(dim=1).median() < 0.2


def test_smiles_have_the_stereo_of_the_data_set(prepared):
    data = QM9(prepared)
    found = data.geometry("smiles")
    first = data.molecules.ptr.tolist()
    for row in range(len(data)):
        atoms = slice(first[row], first[row + 1])
        z = data.molecules.z[atoms].numpy().astype(np.int64)
        smiles = stereo_smiles(data.smiles(row), z, data.molecules.pos[atoms].double().numpy())
        mol = Chem.AddHs(canonical(Chem.MolFromSmiles(smiles)).mol)
        for conformer in range(*found.first[row : row + 2].tolist()):
            ends = slice(*found.molecules.ptr[conformer : conformer + 2].tolist())
            pos = found.molecules.pos[ends].double().numpy()
            assert [a.GetAtomicNum() for a in mol.GetAtoms()] == found.molecules.z[ends].tolist()
            assert agree(mol, pos)
            assert has_stereo(mol, pos)
            assert assign(mol, z, data.molecules.pos[atoms].double().numpy()) is not None


def test_flat_is_what_predict_makes(prepared):
    data = QM9(prepared)
    found = data.geometry("flat")
    for n in (1, 2):
        for row in (3, 40, 59):
            conformer = found.all_of(torch.tensor([row]), n).tolist()[0]  # the lowest
            ends = slice(*found.molecules.ptr[conformer : conformer + 2].tolist())
            _, expected = embed(SmilesRow(data.smiles(row)), n)[0].canonical()
            np.testing.assert_array_equal(
                found.molecules.pos[ends].numpy(), expected.astype(np.float32)
            )


def test_paired_geometries_train(prepared):
    """What a data module does: the same molecules at any geometry."""
    data = QM9(prepared)
    train = data.split().train
    for kind in ("dft", *KINDS):
        found = data.geometry(kind)
        rows = train[found.exists[train]]
        batches = list(FlatLoader(found.molecules, found.first[rows], 16, seed=1))
        drawn = [i for batch in batches for i in batch.idx.tolist()]
        assert len(drawn) == len(set(drawn)) == 48
        assert set(drawn) <= set(data.molecules.idx[rows].tolist())
        assert batches[0].y.shape == (16, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_threads_and_of_pieces_changes_nothing(root, prepared, kind, monkeypatch):
    monkeypatch.setattr(geometries, "PIECE", 7)
    path = qm9.prepare(root, kind, 2, workers=3)
    assert path.read_bytes() == geometry_path(prepared, kind).read_bytes()


KILLED = """
import os, signal, sys
from molgeo.generate import geometries, qm9
geometries.PIECE = 10
replace, calls = os.replace, iter(range(int(sys.argv[2])))
def last(*paths):
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
os.replace = last
qm9.prepare(sys.argv[1], "smiles", 2)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no SIGKILL there")
def test_a_killed_run_goes_on_where_it_was(root, prepared, monkeypatch):
    """Killed while the third piece, and then the joined file, is being written."""
    made = []
    for replaced, pieces in ((2, 2), (5, 7)):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(root), str(replaced)])
        assert killed.returncode == -9
        assert len(list((root / "qm9_smiles.parts").glob("0*.safetensors"))) == pieces
        assert not geometry_path(root, "smiles").exists()
    monkeypatch.setattr(geometries, "PIECE", 10)
    monkeypatch.setattr(qm9, "make", lambda *a: made.append(a))
    path = qm9.prepare(root, "smiles", 2)
    assert made == []
    assert path.read_bytes() == geometry_path(prepared, "smiles").read_bytes()
    assert sorted(p.name for p in root.iterdir()) == ["qm9.safetensors", "qm9_smiles.safetensors"]


def test_a_damaged_piece_is_made_anew(root, prepared, monkeypatch):
    monkeypatch.setattr(geometries, "PIECE", 10)

    class StopError(Exception):
        pass

    def stop(done, total):
        if done >= 20:
            raise StopError

    with pytest.raises(StopError):
        qm9.prepare(root, "mmff", progress=stop)
    pieces = sorted((root / "qm9_mmff.parts").iterdir())
    assert len(pieces) == 2
    pieces[0].write_bytes(pieces[0].read_bytes()[:100])
    shutil.copy(pieces[1], pieces[0].with_name("000030.safetensors"))  # of other rows
    path = qm9.prepare(root, "mmff")
    assert path.read_bytes() == geometry_path(prepared, "mmff").read_bytes()


def test_what_is_there_is_kept(root, prepared):
    path = geometry_path(root, "smiles")
    shutil.copy(geometry_path(prepared, "smiles"), path)
    before = path.stat().st_mtime_ns
    for conformers in (1, 2):
        qm9.prepare(root, "smiles", conformers)
        assert path.stat().st_mtime_ns == before
    qm9.prepare(root, "smiles", 3)
    assert read_geometries(path)[1]["conformers"] == 3


def test_a_longer_ladder_tries_the_failures_again(root, prepared, monkeypatch):
    failing = {"C", "CCO", "OC1CC2(O)CN3C1C23"}
    generate = qm9.generate

    def fail(row, n):
        if row.smiles in failing:
            return qm9.BadRow("", message="no conformer")
        return generate(row, n)

    monkeypatch.setattr(qm9, "generate", fail)
    monkeypatch.setattr(qm9, "ATTEMPTS", 1)
    path = qm9.prepare(root, "flat", 2)
    assert geometries.tally(path) == {"etkdg+mmff": 58, "no conformer": 3}
    assert QM9(root).geometry("flat").exists.sum() == 58
    asked = []
    monkeypatch.setattr(qm9, "generate", lambda *a: asked.append(a) or generate(*a))
    qm9.prepare(root, "flat", 1)
    assert asked == [], "as many attempts as before would fail again"
    monkeypatch.setattr(qm9, "ATTEMPTS", 2)
    qm9.prepare(root, "flat", 1)
    assert {(row.smiles, n) for row, n in asked} == {(smiles, 2) for smiles in failing}
    got, expected = read_geometries(path)[0], read_geometries(geometry_path(prepared, "flat"))[0]
    for name in ("rows", "n_conformers", "z", "pos", "energy", "number"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_geometries_of_other_data_are_refused_and_made_anew(root, prepared, some_qm9):
    shutil.copy(geometry_path(prepared, "mmff"), geometry_path(root, "mmff"))
    other = some_qm9._replace(smiles=["OCC" if s == "CCO" else s for s in some_qm9.smiles])
    write(other, root / "qm9.safetensors", "fixture")
    with pytest.raises(ValueError, match=r"made from another qm9\.safetensors"):
        QM9(root).geometry("mmff")
    qm9.prepare(root, "mmff")
    assert QM9(root).geometry("mmff").exists.all()


def test_conformers_out_of_range(root):
    with pytest.raises(ValueError, match="conformers: expected 1 to 255, got 0"):
        qm9.prepare(root, "smiles", 0)


def test_progress_is_told(root, monkeypatch):
    monkeypatch.setattr(geometries, "PIECE", 25)
    calls = []
    qm9.prepare(root, "mmff", progress=lambda *done: calls.append(done))
    assert calls == [(25, 61), (50, 61), (61, 61)]


def test_the_engine_relaxes_what_is_made_and_pieces_are_kept(root, monkeypatch):
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", ENGINE)
    data, rows = QM9(root), np.array([3, 5, 8])
    cheap = qm9.make(data, rows, "smiles", 2)
    engine = qm9.engine_for("relaxed_smiles")
    found = qm9.make_once(data, rows, "relaxed_smiles", 2)
    assert {found.statuses[code] for code in found.status} == {f"etkdg+mmff+{ENGINE}"}
    assert found.n_conformers.tolist() == cheap.n_conformers.tolist()
    np.testing.assert_array_equal(found.z, cheap.z)
    assert np.abs(found.pos - cheap.pos).max() > 0.001
    monkeypatch.setattr(qm9, "make", None)
    again = qm9.make_once(data, rows, "relaxed_smiles", 2, engine=engine)
    np.testing.assert_array_equal(again.pos, found.pos)
    assert qm9.engine_for("smiles") is None
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", None)
    with pytest.raises(ValueError, match="needs a geometry engine"):
        qm9.engine_for("relaxed")


def test_flat_arrays_are_what_was_made(root):
    data, rows = QM9(root), np.array([1, 4, 9])
    made = [
        generate(SmilesRow(data.smiles(1)), 3),
        BadRow("", message="no"),
        generate(SmilesRow(data.smiles(9)), 1),
    ]
    for one, again in zip(made, geometries.parted(geometries.flat(rows, made)), strict=True):
        if isinstance(one, BadRow):
            assert again.message == one.message
            continue
        assert again.geometry == one.geometry
        np.testing.assert_allclose(again.pos, one.pos, atol=1e-6)
        for name in ("z", "energy", "number", "charge"):
            np.testing.assert_array_equal(getattr(again, name), getattr(one, name))


def test_relaxed_geometries_of_another_engine_are_made_anew(root, monkeypatch):
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", ENGINE)
    monkeypatch.setattr(GeometryEngine, "relax", lambda self, found: found)
    path = qm9.prepare(root, "relaxed", 1)
    data, sha256 = QM9(root), qm9.engine_for("relaxed").weights
    assert data.geometry("relaxed", sha256).exists.all()
    with pytest.raises(ValueError, match="another geometry engine"):
        data.geometry("relaxed", "0" * 64)
    first = path.read_bytes()
    assert qm9.prepare(root, "relaxed", 1).read_bytes() == first
    monkeypatch.setattr(
        GeometryEngine, "__init__", lambda self, *_: vars(self).update(weights="1" * 64)
    )
    assert qm9.prepare(root, "relaxed", 1).read_bytes() != first
