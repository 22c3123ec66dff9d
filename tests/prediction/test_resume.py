"""Runs that are killed, and what becomes of them."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from molgeo.prediction import run as module
from molgeo.prediction.command import run_predict
from molgeo.prediction.journal import Journal, n_started
from molgeo.prediction.settings import OutputSettings, PredictSettings
from molgeo.prediction.sinks import WriteError
from molgeo.runtime.errors import InputError

SMILES = ["CCO", "c1ccccc1", "C1CC", "OCCCO", "OCC", "CBr", "CC(=O)N", "C#N", "CC(C)O", "O"]

KILLED = """
import os, signal, sys, time
from pathlib import Path
from molgeo.cli import main
from molgeo.prediction import command, run
run._FIRST_WINDOW = run._WINDOW["cpu"] = 4
part = Path("killed.csv.part")

def child(*more):
    pid = os.fork()
    if not pid:
        try:
            os._exit(main([*sys.argv[1:], *more]))
        finally:
            os._exit(1)
    return pid

def safe():
    return part.read_bytes().count(b'{"rows": ') if part.exists() else 0

os.waitpid(child("--output", "whole.csv", "--write-geometries", "whole.sdf"), 0)
resumed = ["--output", "killed.csv", "--write-geometries", "killed.sdf", "--resume"]
seen = []
for k in range(10):
    before, pid = safe(), child(*resumed)
    while safe() <= before and not os.waitpid(pid, os.WNOHANG)[0]:
        time.sleep(0.001)
    time.sleep(0.001 * k)  # anywhere in the next window
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    seen.append(safe())
assert not os.path.exists("killed.csv") and seen == sorted(set(seen)), seen
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child(*resumed), 0)[1]))
"""


@pytest.fixture(autouse=True)
def _short_windows(monkeypatch):
    monkeypatch.setattr(module, "_FIRST_WINDOW", 4)
    monkeypatch.setitem(module._WINDOW, "cpu", 16)


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = [f"{SMILES[k]} n{n}\n" for n, k in enumerate(rng.integers(0, len(SMILES), 60))]
    (tmp_path / "in.smi").write_text("".join(lines))
    return "in.smi"


def command(source, model, output="out.csv", settings=None, **more):
    base = {"properties": "gap,mu,u0", "conformers": 2}
    predict = PredictSettings(model, **(base | (settings or {})))
    return run_predict([source], predict, OutputSettings(output, **more))


class Killed(BaseException):
    """As SIGKILL, as far as one process can play it."""


def kill_at(monkeypatch, n):
    """Die in the middle of the n-th piece that is written to the journal."""
    count = iter(range(10_000))
    write = Journal._write

    def torn(self, text):
        if next(count) == n:
            self._file.write(text.encode()[: len(text) // 2])
            self._file.flush()
            raise Killed
        write(self, text)

    monkeypatch.setattr(Journal, "_write", torn)


def killed(monkeypatch, n, *words, **more):
    """A run that dies there."""
    with monkeypatch.context() as patched:
        kill_at(patched, n)
        with pytest.raises(Killed):
            command(*words, **more)


def test_killed_at_ten_moments_the_output_is_the_same(source, shipped, tmp_path):
    rows = [f"{'C' * (n // 10)}{SMILES[n % 10]}\n" for n in range(90)]  # each is another one
    (tmp_path / "in.smi").write_text("".join(rows))
    words = ["predict", source, "--model", shipped, "--conformers", "2", "--properties", "gap,mu"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    for suffix in ("csv", "sdf"):
        whole, killed = (tmp_path / f"{name}.{suffix}" for name in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes()
    assert sorted(p.suffix for p in tmp_path.glob("killed.*")) == [".csv", ".sdf"]


@pytest.mark.parametrize("format", ["json", "sdf"])
def test_a_torn_journal_gives_the_same_output(source, shipped, monkeypatch, format):
    output = f"out.{format}"
    assert command(source, shipped, f"whole.{format}", write_geometries="whole.extxyz") == 3
    for n in (1, 3, 5):
        words = {"write_geometries": "out.extxyz", "force": True}
        killed(monkeypatch, n, source, shipped, output, **words)
        assert not Path(output).exists()
        assert command(source, shipped, output, write_geometries="out.extxyz", resume=True) == 3
        for new, old in ((output, f"whole.{format}"), ("out.extxyz", "whole.extxyz")):
            assert Path(new).read_bytes() == Path(old).read_bytes()
            Path(new).unlink()


@pytest.mark.parametrize("n", [0, 1])
def test_killed_while_the_files_take_their_places(source, shipped, monkeypatch, n):
    """All rows are there, and none, one or both of the files."""
    words = {"write_geometries": "out.sdf"}
    assert command(source, shipped, "whole.csv", write_geometries="whole.sdf") == 3
    count, replace = iter(range(2)), os.replace

    def torn(*paths):
        if next(count) == n:
            raise Killed
        replace(*paths)

    with monkeypatch.context() as patched:
        patched.setattr("molgeo.runtime.whole_file.os.replace", torn)
        with pytest.raises(Killed):
            command(source, shipped, **words)
    assert not Path("out.csv").exists()
    assert command(source, shipped, resume=True, **words) == 3
    for suffix in ("csv", "sdf"):
        assert Path(f"out.{suffix}").read_bytes() == Path(f"whole.{suffix}").read_bytes()


def test_rows_that_are_done_are_not_made_again(source, shipped, monkeypatch, capsys):
    killed(monkeypatch, 3, source, shipped)
    n = n_started(Path("out.csv"))
    assert n == 4 + 8
    seen = []
    window = module.PropertyRun._window

    def counted(self, rows):
        seen.append(len(rows))
        return window(self, rows)

    monkeypatch.setattr(module.PropertyRun, "_window", counted)
    assert command(source, shipped, resume=True) == 3
    assert sum(seen) == 60 - n
    assert "12 of them from before" in capsys.readouterr().err


def test_columns_that_come_along_stay_with_their_rows(source, shipped, monkeypatch):
    lines = [f"{SMILES[k % 3]},{k},n{k}\n" for k in range(40)]
    Path("in.csv").write_text("smiles,note,name\n" + "".join(lines))
    words = {"settings": {"keep_columns": True}}
    assert command("in.csv", shipped, "whole.csv", **words) == 3
    killed(monkeypatch, 3, "in.csv", shipped, **words)
    assert command("in.csv", shipped, resume=True, **words) == 3
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert pd.read_csv("out.csv").note.tolist() == list(range(40))


def test_a_started_run_is_not_lost_or_mixed_with_another(source, shipped, monkeypatch):
    killed(monkeypatch, 3, source, shipped)
    with pytest.raises(InputError, match=r"holds the first 12 rows .* --resume .* --force"):
        command(source, shipped)
    with pytest.raises(InputError, match="conformers was 2 and is 3 now"):
        command(source, shipped, settings={"conformers": 3}, resume=True)
    with pytest.raises(InputError, match="geometries was"):
        command(source, shipped, resume=True, write_geometries="x.sdf")
    lines = Path(source).read_text().splitlines(keepends=True)
    Path(source).write_text("".join([*lines[:5], "CCCC\n", *lines[6:]]))
    with pytest.raises(InputError, match="row 5 of the input is not the one"):
        command(source, shipped, resume=True)
    Path(source).write_text("".join(lines[:7]))
    with pytest.raises(InputError, match="row 7 of the input is not the one"):
        command(source, shipped, resume=True)
    assert command(source, shipped, force=True) == 3
    assert len(Path("out.csv").read_text().splitlines()) == 8


def test_an_output_that_is_there_is_kept(source, shipped, capsys):
    Path("out.csv").write_text("precious")
    with pytest.raises(InputError, match=r"out\.csv exists: --force"):
        command(source, shipped)
    assert command(source, shipped, resume=True) == 0
    assert "nothing is left to do" in capsys.readouterr().err
    assert Path("out.csv").read_text() == "precious"
    assert command(source, shipped, force=True) == 3
    assert Path("out.csv").read_text().startswith("id,name")


def test_a_full_disk_loses_no_row_that_was_written(source, shipped, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_later(_):
        calls.append(None)
        if len(calls) > 3:
            full()

    calls = []
    assert command(source, shipped, "whole.csv") == 3
    with monkeypatch.context() as patched:
        patched.setattr("molgeo.prediction.journal.os.fsync", full_later)
        message = r"stopped after 12 rows, which are kept in .*out\.csv\.part .*: No space left"
        with pytest.raises(WriteError, match=message):
            command(source, shipped)
    with monkeypatch.context() as patched:
        patched.setattr("molgeo.runtime.whole_file.os.replace", full)
        with pytest.raises(WriteError, match="stopped after 60 rows"):
            command(source, shipped, resume=True)
    assert sorted(os.listdir()) == ["in.smi", "out.csv.part", "whole.csv"]
    assert command(source, shipped, resume=True) == 3
    assert Path("out.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert sorted(os.listdir()) == ["in.smi", "out.csv", "whole.csv"]


@pytest.mark.parametrize("stop", [InputError("gone"), KeyboardInterrupt()])
def test_a_run_that_stops_early_tells_where_its_rows_are(
    source, shipped, monkeypatch, capsys, stop
):
    real = module.PropertyRun.windows

    def broken(self, inputs, done, ready):
        yield next(real(self, inputs, done, ready))
        raise stop

    with monkeypatch.context() as patched:
        patched.setattr(module.PropertyRun, "windows", broken)
        with pytest.raises(type(stop)):
            command(source, shipped)
    assert re.search(r"first 4 rows are kept in .*\.part: --resume", capsys.readouterr().err)
    assert not Path("out.csv").exists()
    assert n_started(Path("out.csv")) == 4


def test_conformers_are_written_as_they_were_predicted(source, shipped):
    words = {"write_geometries": "out.sdf", "settings": {"conformers": 3}}
    assert command(source, shipped, "out.json", **words) == 3
    rows = {row["id"]: row for row in json.loads(Path("out.json").read_text())}
    mols = list(Chem.SDMolSupplier("out.sdf", removeHs=False))
    by_row = {}
    for mol in mols:
        by_row.setdefault(int(mol.GetProp("id")), []).append(mol)
    assert sorted(by_row) == [k for k, row in rows.items() if row["status"] == "ok"]
    for k, conformers in by_row.items():
        assert [int(m.GetProp("conformer")) for m in conformers] == [*range(1, len(conformers) + 1)]
        energies = np.array([float(m.GetProp("conformer_energy_eV")) for m in conformers])
        shares = [float(m.GetProp("conformer_weight")) for m in conformers]
        assert energies.min() == 0
        assert sum(shares) == pytest.approx(1, abs=1e-3)
        assert int(np.argmax(shares)) == int(np.argmin(energies))
        for mol in conformers:
            assert Chem.CanonSmiles(rows[k]["smiles"]) == Chem.MolToSmiles(Chem.RemoveHs(mol))
            assert float(mol.GetProp("u0_eV")) == rows[k]["u0_eV"]
            assert mol.GetProp("_Name") == rows[k]["name"]


def test_conformers_of_a_stream_are_there_once_it_has_ended(source, shipped, capsys):
    assert command(source, shipped, None, write_geometries="out.extxyz") == 3
    n_good = capsys.readouterr().out.count(",ok,")
    frames = ase.io.read("out.extxyz", ":")
    assert len({atoms.info["id"] for atoms in frames}) == n_good
    assert sorted(os.listdir()) == ["in.smi", "out.extxyz"]
