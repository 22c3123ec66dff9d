"""QM9 in half the space holds the same labels, and positions to a few 1e-6 Å."""

import dataclasses
import shutil

import pytest
import torch

from molgeo.cli import program as cli
from molgeo.data.qm9.compact import STEP
from molgeo.data.qm9.datamodule import QM9DataModule
from molgeo.data.qm9.dataset import QM9


@pytest.fixture
def prepared(small_data):
    return QM9(small_data / "qm9")


@pytest.fixture
def compact(prepared, tmp_path):
    prepared.write_compact(tmp_path / "qm9_compact.safetensors")
    return QM9(tmp_path)


def displacement(data, other):
    """Largest change of a coordinate relative to the molecule's first atom, Å."""
    rows, molecule, ptr = data.molecules.atoms(torch.arange(len(data)))
    moved = (other.molecules.pos.double() - data.molecules.pos.double())[rows]
    return float((moved - moved[ptr[:-1]][molecule]).abs().max())


def test_all_but_positions_is_the_same_to_the_last_bit(prepared, compact):
    for name in ("z", "ptr", "y", "idx"):
        ours, theirs = getattr(compact.molecules, name), getattr(prepared.molecules, name)
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs), name
    assert compact.molecules.properties == prepared.molecules.properties
    assert compact.all_smiles() == prepared.all_smiles()
    assert compact.digest() == prepared.digest(), "the cheap geometries belong to both"


def test_positions_are_rounded_and_centred(prepared, compact):
    assert compact.molecules.pos.dtype == torch.float32
    assert 0 < displacement(prepared, compact) <= STEP + 1e-6  # half a step of each of two atoms
    for row in range(len(compact)):
        pos = compact[row].pos
        assert (pos.amin(0) + pos.amax(0)).abs().max() <= STEP + 1e-6


def test_packing_twice_changes_nothing(compact, tmp_path):
    compact.write_compact(tmp_path / "again.safetensors")
    again = (tmp_path / "again.safetensors").read_bytes()
    assert again == (tmp_path / "qm9_compact.safetensors").read_bytes()


def test_the_prepared_form_is_preferred(prepared, compact, tmp_path, small_data):
    assert not torch.equal(compact.molecules.pos, prepared.molecules.pos)
    shutil.copy(small_data / "qm9" / "qm9.safetensors", tmp_path)
    assert torch.equal(QM9(tmp_path).molecules.pos, prepared.molecules.pos)


def test_it_trains(compact, small_data):
    batches = []
    for root in (small_data / "qm9", compact.root):
        module = QM9DataModule(root, ["u0", "gap"], batch_size=8)
        module.setup()
        batches.append(next(iter(module.train_dataloader())))
    assert torch.equal(batches[0].idx, batches[1].idx)
    assert torch.equal(batches[0].y, batches[1].y)


def test_labels_of_more_digits_are_refused(prepared, tmp_path):
    prepared.molecules = dataclasses.replace(
        prepared.molecules, y=prepared.molecules.y * (1.0 + 1e-9)
    )
    with pytest.raises(ValueError, match=r"mu: expected 4 decimals in QM9's unit, got .* in row 1"):
        prepared.write_compact(tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_command(small_data, tmp_path, capsys):
    shutil.copytree(small_data, tmp_path / "data")
    assert cli.main(["data", "compact", "qm9", "--data-dir", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out.strip() == str(
        tmp_path / "data" / "qm9" / "qm9_compact.safetensors"
    )
    path = tmp_path / "there" / "qm9_compact.safetensors"
    words = ["--data-dir", str(small_data), "--output", str(path)]
    assert cli.main(["data", "compact", "qm9", *words]) == 0
    assert QM9(path.parent).molecules.y.shape == (61, 12)
    assert cli.main(["data", "compact", "qm9", "--data-dir", str(tmp_path / "none")]) == 2
    assert "molgeo data prepare qm9" in capsys.readouterr().err


def test_whole(whole_qm9, tmp_path):
    data = QM9(whole_qm9)
    path = tmp_path / "qm9_compact.safetensors"
    data.write_compact(path)
    assert path.stat().st_size < 22 * 2**20
    compact = QM9(tmp_path)
    assert torch.equal(compact.molecules.y, data.molecules.y)
    assert compact.digest() == data.digest()
    assert displacement(data, compact) <= STEP + 1e-6
