"""Cheap geometries as flat files."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from molgeo.data import geometries
from molgeo.data.geometries import (
    OTHER,
    FlatGeometries,
    few,
    join,
    read_geometries,
    with_labels,
    write_geometries,
)
from molgeo.data.qm9.dataset import QM9

HEADER = {"version": geometries.FORMAT_VERSION, "kind": "smiles"}


def made_up(rows, n_conformers, seed=0, statuses=("fine", "failed")):
    """Geometries of random atoms; whoever has no conformer has failed."""
    random = np.random.default_rng(seed)
    n_conformers = np.array(n_conformers, np.int64)
    n_atoms = random.integers(1, 5, n_conformers.sum())
    return FlatGeometries(
        rows=np.array(rows, np.int64),
        status=(n_conformers == 0).astype(np.uint8),
        statuses=statuses,
        n_conformers=n_conformers,
        n_atoms=n_atoms,
        z=random.integers(1, 10, n_atoms.sum()).astype(np.uint8),
        pos=random.normal(size=(n_atoms.sum(), 3)).astype(np.float32),
        energy=random.normal(size=n_conformers.sum()),
        number=np.array([k for n in n_conformers for k in range(n)], np.uint8),
    )


def assert_same(got, expected):
    assert got.statuses == expected.statuses
    for name in ("rows", "status", "n_conformers", "n_atoms", "z", "pos", "energy", "number"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
        assert getattr(got, name).dtype == getattr(expected, name).dtype


def labelled(flat):
    n = len(flat.rows)
    y = torch.arange(2.0 * n, dtype=torch.float64).view(n, 2)
    return with_labels(flat, y, torch.arange(n) + 100, ("gap", "mu"), 3)


def test_a_file_holds_all(tmp_path):
    flat = made_up(range(5), [2, 0, 1, 3, 0])
    write_geometries(flat, tmp_path / "x" / "g.safetensors", HEADER)
    got, header = read_geometries(tmp_path / "x" / "g.safetensors")
    assert_same(got, flat)
    assert header == HEADER
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["g.safetensors"]


def test_nothing_half_is_ever_there(tmp_path, monkeypatch):
    path = tmp_path / "g.safetensors"
    write_geometries(made_up([0], [1]), path, HEADER)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("molgeo.runtime.whole_file.os.replace", full)
    with pytest.raises(OSError, match="disk full: 0 MB are needed; choose a folder"):
        write_geometries(made_up([0, 1], [1, 1]), path, HEADER)
    assert len(read_geometries(path)[0].rows) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["g.safetensors"]


def test_a_damaged_or_other_file_is_refused(tmp_path):
    path = tmp_path / "g.safetensors"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_geometries(path)
    write_geometries(made_up([0], [1]), path, {"version": 99})
    with pytest.raises(ValueError, match="expected version 2, got 99"):
        read_geometries(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="damaged"):
        read_geometries(path)
    save_file({}, path, metadata={"other": json.dumps({})})
    with pytest.raises(ValueError, match="damaged"):
        read_geometries(path)


@given(
    counts=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    cut=st.integers(0, 12),
)
def test_parts_join_to_the_whole(counts, cut):
    whole = made_up(range(len(counts)), counts)
    conformers, atoms = whole.n_conformers[:cut].sum(), 0
    atoms = whole.n_atoms[:conformers].sum()

    def part(molecules, conformers, atoms):
        return whole._replace(
            rows=whole.rows[molecules],
            status=whole.status[molecules],
            n_conformers=whole.n_conformers[molecules],
            n_atoms=whole.n_atoms[conformers],
            energy=whole.energy[conformers],
            number=whole.number[conformers],
            z=whole.z[atoms],
            pos=whole.pos[atoms],
        )

    first = part(slice(cut), slice(conformers), slice(atoms))
    rest = part(slice(cut, None), slice(conformers, None), slice(atoms, None))
    assert_same(join([first, rest]), whole)
    assert_same(join([rest, first]), whole)


def test_a_later_part_takes_the_place_of_an_earlier_one():
    old = made_up([0, 1, 2], [1, 0, 2], statuses=("fine", "failed"))
    new = made_up([1], [1], seed=1, statuses=("better", "hopeless"))
    both = join([old, new])
    assert both.rows.tolist() == [0, 1, 2]
    assert both.n_conformers.tolist() == [1, 1, 2]
    assert [both.statuses[k] for k in both.status] == ["fine", "better", "fine"]
    np.testing.assert_array_equal(both.energy, [old.energy[0], new.energy[0], *old.energy[1:]])


def test_too_many_statuses():
    assert few(["a", "b", "a"]) == ["a", "b", "a"]
    many = [*map(str, range(300)), "7"]
    got = few(many)
    assert len(set(got)) == 256
    assert (got[7], got[300], got[299]) == ("7", "7", OTHER)
    both = join([made_up([k], [1], statuses=(str(k),)) for k in range(300)])
    assert [both.statuses[code] for code in both.status] == few(many[:-1])


def test_labels_and_places():
    found = labelled(made_up(range(4), [2, 0, 1, 3]))
    assert found.exists.tolist() == [True, False, True, True]
    assert found.first.tolist() == [0, 2, 2, 3, 6]
    assert found.molecules.idx.tolist() == [100, 100, 102, 103, 103, 103]
    assert found.molecules.y[:, 0].tolist() == [0, 0, 4, 6, 6, 6]
    assert len(found.molecules) == 6
    assert found.tally(torch.tensor([0, 1, 3])) == {"fine": 2, "failed": 1}


def test_names_of_kinds():
    assert geometries.cheap("mmff, flat") == ("mmff", "flat")
    with pytest.raises(ValueError, match=r"expected some of mmff, smiles, flat, .*, got 'dft'"):
        geometries.cheap("smiles,dft")


def test_the_data_sets_own(small_data):
    data = QM9(small_data / "qm9")
    own = data.geometry("dft")
    assert own.molecules is data.molecules
    assert own.exists.all()
    assert own.all_of(torch.tensor([7, 3]), 1).tolist() == [7, 3]


def test_geometries_that_are_not_prepared(small_data):
    with pytest.raises(FileNotFoundError, match="molgeo data prepare qm9 --conformers"):
        QM9(small_data / "qm9").geometry("mmff")
