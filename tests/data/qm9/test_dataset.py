"""The data set: split, units, access, and the whole of it against the published numbers."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from ase import units as ase_units
from safetensors.torch import save_file
from torch_geometric.datasets.qm9 import HAR2EV

from molgeo import units
from molgeo.data.qm9 import dataset as qm9
from molgeo.data.qm9.datamodule import QM9DataModule
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.labels import HARTREE_PROPERTIES, in_units
from molgeo.data.qm9.properties import NAMES
from molgeo.generate.qm9 import prepare as prepare_geometries


def checksum(indices):
    """SHA-256 of indices as little-endian int64."""
    return hashlib.sha256(indices.numpy().astype("<i8").tobytes()).hexdigest()


def test_split_checksums():
    """The split is part of every published number: it never changes."""
    train, validation, test = qm9.split()
    assert (len(train), len(validation), len(test)) == (110_000, 10_000, 10_831)
    assert torch.equal(torch.cat([train, validation, test]).sort().values, torch.arange(130_831))
    assert checksum(train) == "f32a83bb3300521748940ea850aff1774300c1ba9fdab89437f0f0bfb9d6518f"
    assert (
        checksum(validation) == "6217deac52bc48b4ac49909b1ef7d0956b95a1dbc8d32e4a742cf149855e7a03"
    )
    assert checksum(test) == "c1ad6c3aac4de86c46034d0ae5eebf2bdfa5cb844bbf48b529374d564b61cabd"


def test_split_of_fewer_molecules_keeps_the_proportions():
    parts = qm9.split(1000, seed=1)
    assert [len(p) for p in parts] == [841, 76, 83]
    assert torch.cat(list(parts)).unique().numel() == 1000


def test_checksum_depends_on_the_order():
    assert checksum(torch.tensor([1, 2])) != checksum(torch.tensor([2, 1]))


def test_hartree_is_pygs_and_ases():
    assert pytest.approx(HAR2EV, rel=1e-7) == units.HARTREE
    assert pytest.approx(ase_units.Hartree, rel=1e-7) == units.HARTREE


def test_conversion_touches_energies_only():
    converted = in_units(np.ones((1, 12), np.float32), NAMES)
    assert converted.dtype == np.float64
    got = dict(zip(NAMES, converted[0].tolist(), strict=True))
    for name in ("mu", "alpha", "r2", "cv"):
        assert got[name] == 1.0
    for name in ("homo", "lumo", "gap", "zpve", "u0", "u298", "h298", "g298"):
        assert got[name] == units.HARTREE


def test_methane(small_data):
    """U0 = -40.47893 Ha as published; its atomization energy is the literature's -17.17 eV."""
    data = QM9(small_data / "qm9")
    methane = data[0]
    label = dict(zip(NAMES, methane.y[0].tolist(), strict=True))
    assert label["u0"] == pytest.approx(-40.47893 * 27.211386245988, abs=1e-9)
    assert label["gap"] == pytest.approx(0.5048 * 27.211386245988, abs=1e-9)
    assert label["cv"] == 6.469
    free = qm9.atom_references()["u0"]
    assert label["u0"] - free[6] - 4 * free[1] == pytest.approx(-17.1722, abs=1e-3)
    assert methane.z.tolist() == [6, 1, 1, 1, 1]
    assert methane.smiles == "C"


def test_free_atoms_are_pygs():
    from torch_geometric.datasets.qm9 import atomrefs

    ours = qm9.atom_references()
    for column, name in {7: "u0", 8: "u298", 9: "h298", 10: "g298"}.items():
        theirs = atomrefs[column]
        got = [ours[name][z] for z in (1, 6, 7, 8, 9)]
        assert got == pytest.approx(theirs, rel=1e-7)


def test_items_are_pyg_data(small_data):
    from torch_geometric.loader import DataLoader

    data = QM9(small_data / "qm9")
    assert len(data) == 61
    assert data[-1].idx.item() == 132_456
    assert data.smiles(60) == data[-1].smiles
    with pytest.raises(IndexError):
        data[61]
    batch = next(iter(DataLoader(data, batch_size=4)))
    rows = torch.arange(4)
    flat = data.molecules.batch(rows)
    assert torch.equal(batch.z, flat.z)
    assert torch.equal(batch.pos, flat.pos)
    assert torch.equal(batch.y, flat.y)
    assert batch.smiles == [data.smiles(row) for row in range(4)]


def test_not_prepared(tmp_path):
    with pytest.raises(FileNotFoundError, match="molgeo data prepare qm9"):
        QM9(tmp_path)


def test_another_version(tmp_path):
    header = {"version": 99, "properties": []}
    save_file({}, tmp_path / "qm9.safetensors", metadata={"molgeo": json.dumps(header)})
    with pytest.raises(ValueError, match="expected version 1, got 99"):
        QM9(tmp_path)


def test_unknown_label(small_data):
    with pytest.raises(ValueError, match="'colour'"):
        QM9(small_data / "qm9").molecules.select(("gap", "colour"))


def test_datamodule_parts(small_data):
    module = QM9DataModule(small_data / "qm9", ["gap"], batch_size=8, limit_train=20)
    module.setup()
    assert [len(p) for p in module.parts] == [20, 5, 5]
    train = [m for batch in module.train_dataloader() for m in batch.idx.tolist()]
    test = [m for batch in module.test_dataloader() for m in batch.idx.tolist()]
    assert len(train) == 16
    assert len(test) == 5
    assert not set(train) & set(test)
    assert next(iter(module.val_dataloader())).y.shape == (5, 1)


def test_datamodule_goes_on_after_a_step(small_data):
    whole, rest = (
        QM9DataModule(small_data / "qm9", ["gap"], batch_size=8, first_step=step) for step in (0, 8)
    )
    whole.setup()
    rest.setup()
    loader = whole.train_dataloader()
    expected = [b.idx.tolist() for _ in range(2) for b in loader]
    assert len(loader) == 6
    assert [b.idx.tolist() for b in rest.train_dataloader()] == expected[8:]


def test_datamodule_at_all_cheap_geometries(small_data, tmp_path):
    root = shutil.copytree(small_data / "qm9", tmp_path / "qm9")
    prepare_geometries(root, "mmff")
    prepare_geometries(root, "smiles", 2)
    module = QM9DataModule(root, ["gap"], batch_size=8, geometry="cheap")
    module.setup()
    data = QM9(root)
    sets = [data.geometry(kind) for kind in ("mmff", "smiles")]
    assert len(module.molecules) == sum(len(one.molecules) for one in sets)
    for part, rows in zip(module.parts, data.split(), strict=True):
        conformers = [one.all_of(rows[:1]) for one in sets]
        batch = module.molecules.batch(part)
        n = sum(map(len, conformers))
        assert set(batch.idx[:n].tolist()) == {int(data.molecules.idx[rows[0]])}
        pos = torch.cat(
            [one.molecules.batch(c).pos for one, c in zip(sets, conformers, strict=True)]
        )
        assert torch.equal(batch.pos[: len(pos)], pos)
        assert set(batch.idx.tolist()) == set(data.molecules.idx[rows].tolist())
    assert not set(module.parts.train.tolist()) & set(module.parts.test.tolist())


@pytest.fixture(scope="module")
def data(whole_qm9):
    return QM9(whole_qm9)


class TestWhole:
    """All 130,831 molecules, as the installed package has them."""

    def test_count(self, data):
        assert len(data) == 130_831
        assert data.molecules.y.shape == (130_831, 12)
        assert data.molecules.y.dtype == torch.float64
        assert data.molecules.y.isfinite().all()
        assert data.molecules.idx.diff().min() > 0
        assert data.molecules.idx[[0, -1]].tolist() == [1, 133_885]
        assert data.molecules.z.unique().tolist() == [1, 6, 7, 8, 9]
        assert data.molecules.ptr.diff().max() == 29

    def test_labels_are_the_tables(self, data):
        import importlib.util
        from pathlib import Path

        import pandas as pd

        from molgeo.data.qm9.readers import QM9PACK_COLUMNS

        folder = Path(importlib.util.find_spec("qm9pack").origin).parent / "data"
        rows = pd.read_csv(sorted(folder.glob("qm9_part*.csv"))[1], nrows=200)
        for _, row in rows.iloc[::40].iterrows():
            m = int((data.molecules.idx == row["Index"]).nonzero())
            for k, name in enumerate(NAMES):
                factor = units.HARTREE if name in HARTREE_PROPERTIES else 1.0
                expected = row[QM9PACK_COLUMNS[name]] * factor
                assert float(data.molecules.y[m, k]) == pytest.approx(expected, rel=1e-15)
            assert data.smiles(m) == row["SMILES"]
            pos = np.array(json.loads(row["XYZ_Ang"]), np.float32)
            np.testing.assert_array_equal(data[m].pos.numpy(), pos)

    def test_gap_is_lumo_less_homo(self, data):
        """To the four digits each is published with."""
        y = data.molecules.y
        homo, lumo, gap = (y[:, NAMES.index(n)] for n in ("homo", "lumo", "gap"))
        assert (gap - (lumo - homo)).abs().max() < 1.1e-4 * units.HARTREE

    def test_smiles_have_the_elements(self, data):
        from rdkit import Chem

        for m in range(0, len(data), 4999):
            heavy = sorted(a.GetAtomicNum() for a in Chem.MolFromSmiles(data.smiles(m)).GetAtoms())
            assert heavy == sorted(z for z in data[m].z.tolist() if z != 1)

    def test_standard_split(self, data):
        assert checksum(data.split().test) == checksum(qm9.split().test)
