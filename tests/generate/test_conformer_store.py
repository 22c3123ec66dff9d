"""Conformers that are kept: each molecule is made once, whatever happens beside."""

import subprocess
import sys

import numpy as np
import pytest

from molgeo.chem.conformers.conformers import generate
from molgeo.chem.molecule import SmilesRow
from molgeo.generate import conformer_store
from molgeo.generate.conformer_store import made_geometries
from molgeo.generate.geometries import flat

SMILES = ["CCO", "C[C@H](F)Cl", "qq", "CC(C)O", "[Na+].[Cl-]", "c1ccccc1", "CCN", "O"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "kept"


@pytest.fixture
def made(monkeypatch):
    """SMILES of which conformers are made, in order; a piece has three molecules."""
    seen = []

    def one(row, n):
        seen.append(row.smiles)
        return generate(row, n)

    monkeypatch.setattr(conformer_store, "generate", one)
    monkeypatch.setattr(conformer_store, "PER_FILE", 3)
    monkeypatch.setattr(conformer_store, "ordered_map", map)
    return seen


def rows(smiles):
    return [SmilesRow(one) for one in smiles]


def assert_same(a, b):
    for name in a._fields:
        if name not in ("status", "statuses"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for k in range(len(a.rows)):
        assert a.statuses[a.status[k]] == b.statuses[b.status[k]]


def fresh(smiles, n=2):
    return flat(np.arange(len(smiles)), [generate(SmilesRow(one), n) for one in smiles])


def test_a_second_table_takes_what_is_there(folder, made):
    assert_same(made_geometries(rows(SMILES), 2, folder), fresh(SMILES))
    assert made == SMILES
    assert len(list(folder.glob("*/*"))) == 3
    told = []
    more = ["CCCl", *reversed(SMILES)]
    again = made_geometries(rows(more), 2, folder, lambda *one: told.append(one))
    assert_same(again, fresh(more))
    assert made[len(SMILES) :] == ["CCCl"]
    assert told == [(1, 1)]


def test_a_molecule_is_one_however_it_is_written(folder, made):
    """Spellings and mirror images share conformers; open stereo and others do not."""
    first = made_geometries(rows(["CCO", "OCC", "C[C@H](F)Cl", "C[C@@H](F)Cl"]), 1, folder)
    assert made == ["CCO", "C[C@H](F)Cl"]
    np.testing.assert_array_equal(first.rows, np.arange(4))
    np.testing.assert_array_equal(first.pos[:9], first.pos[9:18])
    made_geometries(rows(["C(O)C", "CC(F)Cl", "[NH3+]CC"]), 1, folder)
    assert made[2:] == ["CC(F)Cl", "[NH3+]CC"]


def test_other_numbers_and_versions_are_made_anew(folder, made, monkeypatch):
    made_geometries(rows(["CCO"]), 2, folder)
    made_geometries(rows(["CCO"]), 1, folder)
    monkeypatch.setattr(conformer_store, "VERSION", "9.9")
    made_geometries(rows(["CCO"]), 2, folder)
    assert made == ["CCO"] * 3


def test_a_kill_loses_one_piece_at_most(folder, made, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(row, n):
        if row.smiles == "c1ccccc1":
            raise Killed
        return generate(row, n)

    with monkeypatch.context() as patch:
        patch.setattr(conformer_store, "generate", killed)
        with pytest.raises(Killed):
            made_geometries(rows(SMILES), 2, folder)
    assert_same(made_geometries(rows(SMILES), 2, folder), fresh(SMILES))
    assert made == SMILES[3:]


def test_damaged_and_removed_files(folder, made):
    made_geometries(rows(SMILES), 2, folder)
    damaged, removed, _ = sorted(folder.glob("*/*"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    removed.unlink()
    assert_same(made_geometries(rows(SMILES), 2, folder), fresh(SMILES))
    assert 4 <= len(made) - len(SMILES) <= 6


def test_the_oldest_files_go(folder, made, monkeypatch):
    made_geometries(rows(SMILES[:3]), 2, folder)
    made_geometries(rows(SMILES[3:6]), 2, folder)
    first, second = sorted(folder.glob("*/*"), key=lambda one: one.stat().st_mtime_ns)
    own = folder / "mine.csv"
    own.write_text("smiles\n")
    made_geometries(rows(SMILES[:3]), 2, folder)  # the first is needed again
    monkeypatch.setattr(conformer_store, "MOST_BYTES", 2.5 * first.stat().st_size)
    made_geometries(rows(SMILES[6:]), 2, folder)
    assert first.exists()
    assert not second.exists()
    assert own.exists()


def test_a_folder_that_cannot_be_written_to(tmp_path, made, capsys):
    (tmp_path / "kept").write_text("a file")
    assert_same(made_geometries(rows(SMILES), 2, tmp_path / "kept"), fresh(SMILES))
    assert capsys.readouterr().err.count("conformers are not kept for another run: ") == 1


RUN = """
import sys
from pathlib import Path
from molgeo.chem.molecule import SmilesRow
from molgeo.generate import conformer_store
conformer_store.PER_FILE, conformer_store.MOST_BYTES = 2, 4000
for k in range(6):
    smiles = ["C" * n + "O" for n in range(1 + k % 2, 9)] + ["CCO"]
    made = conformer_store.made_geometries(list(map(SmilesRow, smiles)), 1, Path(sys.argv[1]))
    sizes = [3 * n + 3 for n in range(1 + k % 2, 9)] + [9]
    assert made.n_atoms.tolist() == sizes, made.n_atoms
"""


def test_processes_that_write_and_remove_at_once(folder):
    own = [sys.executable, "-c", RUN, str(folder)]
    running = [
        subprocess.Popen(own, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [one.communicate()[1] for one in running]
    assert [(one.returncode, err) for one, err in zip(running, told, strict=True)] == [(0, "")] * 3
