"""The benchmark of a force field: its measures are right, and its parts run."""

import csv
import gzip
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from molgeo.generate.label import Method
from molgeo.predictor.checkpoint import DEFAULT_FORCE_FIELD, shipped

ROOT = Path(__file__).resolve().parents[2]
OURS = {"model": str(shipped()[DEFAULT_FORCE_FIELD]), "dtype": "float64", "allow_unfamiliar": True}
FRAGMENTS = ("O=Cc1cocn1", "NC(=O)c1ncco1", "Nc1nc(C=O)co1")
"""Whose scaffold is of the test part."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    threads = torch.get_num_threads()
    import force_field
    import force_field_profiles
    import force_field_runs
    import force_field_teacher

    def drawn(seed: int):
        for name, smiles in (("CH3CH2OH", "CCO"), ("H2O", "O")):
            atoms = molecule(name)
            atoms.info.update(name=name, smiles=smiles, qm9=len(atoms))
            yield atoms

    def ten(seed: int):
        return list(drawn(seed))

    # The same potential on both sides, so that no teacher and no QM9 is needed.
    ours = Method("molgeo:MolgeoCalculator", OURS)
    monkeypatch.setattr(force_field_teacher, "METHODS", {"xtb": ours, "aimnet2": ours})
    monkeypatch.setattr(force_field_teacher, "ROUGH", {})
    monkeypatch.setattr(force_field, "drawn", drawn)
    monkeypatch.setattr(force_field_runs, "ten", ten)
    monkeypatch.setattr(force_field_profiles, "APART", np.array([3.0, 4.0, 12.0]))
    monkeypatch.setattr(force_field_profiles, "_ring", lambda: molecule("H2O"))
    monkeypatch.setattr(force_field_profiles, "_compact", lambda seed: molecule("H2O"))
    angles = {"butane": ("CCCC", "CCCC", np.array([90.0, 180.0]))}
    monkeypatch.setattr(force_field_profiles, "TORSIONS", angles)
    monkeypatch.setattr(force_field_runs, "WATERS", 1)
    yield force_field
    torch.set_num_threads(threads)
    for name in [name for name in sys.modules if name.startswith("force_field")]:
        sys.modules.pop(name)


@pytest.fixture
def smiles(tmp_path: Path) -> Path:
    path = tmp_path / "some.csv.gz"
    with gzip.open(path, "wt", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["smiles", "set"])
        rows.writerows([each, "RECAP"] for each in FRAGMENTS)
    return path


def test_report(script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, out = tmp_path / "known.npz", tmp_path / "out.json"
    np.savez(known, qm9=np.array([9, 9, 10]))
    words = ["--quick", "--json", str(out), "--kept", str(tmp_path), "--parts"]
    script.main([*words, "relax", "vib", "nve", "nvt", "--trained-on", str(known)])
    report = json.loads(out.read_text())
    printed = capsys.readouterr().out
    assert report["model"] == DEFAULT_FORCE_FIELD
    ethanol, water = report["relax"]["rows"]
    assert (ethanol["known"], water["known"]) == (True, False)
    for row in (ethanol, water):
        assert row["rmsd"] < 1e-6
        assert row["converged"] == [True, True]
    assert "| not in its data | 1 | **0.000** |" in printed
    for row in report["vib"]["rows"]:
        assert row["counted"]
        assert np.abs(row["errors"]).max() < 0.5  # 1/cm; the teacher stops at a larger force
    assert [len(row["ours"]) for row in report["vib"]["rows"]] == [3, 9]
    (nve,), nvt = report["nve"]["rows"], report["nvt"]
    assert (nve["name"], nve["stopped"], nve["steps"]) == ("H2O", None, 200)
    assert (nvt["stopped"], nvt["degrees"]) == (None, 24)
    assert nve["noise"] < 1.0
    for heading in ("### Minima", "### Frequencies", "### nve", "### nvt"):
        assert heading in printed


def test_runs_that_the_report_has_are_not_made_again(script, monkeypatch, tmp_path) -> None:
    import force_field_runs

    out = tmp_path / "out.json"
    words = ["--quick", "--json", str(out), "--kept", str(tmp_path), "--parts", "nve", "--runs"]
    script.main([*words, "1"])
    (first,) = json.loads(out.read_text())["nve"]["rows"]
    assert first["name"] == "H2O"  # the smallest
    assert not list((tmp_path / "nve").rglob("*.csv"))
    made, simulated = [], force_field_runs.simulate

    def killed(atoms, *rest, **more):
        made.append(len(atoms))
        if len(made) == 1:
            settings = rest[0]
            simulated(atoms, replace(settings, steps=100), *rest[1:], **more)
            raise KeyboardInterrupt
        outcome = simulated(atoms, *rest, **more)
        assert outcome.resumed_from == 100
        return outcome

    monkeypatch.setattr(force_field_runs, "simulate", killed)
    with pytest.raises(KeyboardInterrupt):
        script.main([*words, "2"])
    script.main([*words, "2"])
    rows = json.loads(out.read_text())["nve"]["rows"]
    assert rows[0] == first
    assert (rows[1]["name"], rows[1]["steps"]) == ("CH3CH2OH", 200)
    assert made == [9, 9]


def test_rmsd_is_that_of_the_best_superposition(script) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((7, 3))
    rotation = Rotation.random(random_state=1)
    assert script.rmsd(a, rotation.apply(a + np.array([1.0, 2.0, 3.0]))) < 1e-7
    b = a + 0.1 * rng.standard_normal((7, 3))
    centred = a - a.mean(0), b - b.mean(0)
    _, distance = Rotation.align_vectors(*centred)
    found = script.rmsd(a, rotation.apply(b))
    assert found == pytest.approx(distance / np.sqrt(7), abs=1e-9)


def test_a_mirror_image_is_another_molecule(script) -> None:
    a = np.random.default_rng(0).standard_normal((5, 3))
    assert script.rmsd(a, a * [1, 1, -1]) > 0.1


def test_a_drift_is_the_slope_of_the_energy(script) -> None:
    time = np.linspace(0.0, 10.0, 1001)
    from force_field_runs import line

    found = line(time, -1e6 + 0.3 * time + 0.01 * (-1.0) ** np.arange(1001))
    assert found["drift"] == pytest.approx(0.3, abs=1e-4)
    assert found["noise"] == pytest.approx(0.01, rel=1e-2)


def test_a_mode_that_became_a_rotation_counts(script) -> None:
    errors = script.differences([500, 1200, 2000], [2600, 600, 600, 1400])["errors"]
    assert errors == [-600, -100, -200, -600]


def test_paths_of_one_potential_are_one(script, smiles, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    words = ["--quick", "--json", str(out), "--kept", str(tmp_path), "--parts"]
    script.main([*words, "curves", "barriers", "bonds"])
    script.main([*words, "torsions", "conformers", "liquid", "--smiles", str(smiles)])
    report = json.loads(out.read_text())
    (curve,), ((first, _)) = report["curves"]["rows"], report["curves"]["clusters"]
    assert curve["worst"] < 1e-6
    assert first["ours"] == pytest.approx(first["theirs"], abs=1e-6)
    (butane,) = report["barriers"]["rows"]
    assert butane["worst"] == pytest.approx([0, 0], abs=1e-3)
    assert 0.02 < max(butane["theirs"]) < 0.3
    (ethane,) = report["bonds"]["rows"]
    assert ethane["length"][-1] == pytest.approx(3.0)
    assert (ethane["worst"] < 1e-6, ethane["flags"][0]) == (True, None)
    assert "broke" in ethane["flags"][-1]
    (turned,) = report["torsions"]["rows"]
    assert (turned["error"] < 1e-4, turned["spread"] > 1.0) == (True, True)
    assert not report["conformers"]["rows"]  # none is as large
    assert max(row["forces"] for row in report["liquid"]["rows"]) < 1e-3
    reached = {row["what"]: row for row in report["targets"]}
    assert reached["bonds pulled to 3 Å, or flagged"]["is"] < 1e-6


def test_errors_of_forces_are_by_element_and_charge(script, tmp_path: Path) -> None:
    images = [molecule(name) for name in ("CH3CH2OH", "CH3Cl", "H2O")]
    calculator = Method("molgeo:MolgeoCalculator", OURS).calculator()
    some = []
    for atoms in images:
        atoms.rattle(0.05, seed=0)
        atoms.calc = calculator
        some.append((atoms.get_potential_energy(), atoms.get_forces()))
    some[1][1][0, 0] += 0.3  # of the carbon
    np.savez(
        tmp_path / "some.npz",
        z=np.concatenate([atoms.numbers for atoms in images]),
        r=np.concatenate([atoms.positions for atoms in images]),
        f=np.concatenate([f for _, f in some]),
        n=np.array([len(atoms) for atoms in images]),
        e=np.array([e for e, _ in some]),
        group=np.arange(3),
    )
    words = ["--quick", "--kept", str(tmp_path), "--labelled", str(tmp_path / "some.npz")]
    found = script.main([*words, "--parts", "forces"])["forces"]
    wrong = {name: group["mae"]["forces_eV_A"] for name, group in found["groups"].items()}
    assert wrong == pytest.approx({"H, C, N, O, F": 0.0, "with others": 0.3 / 15}, abs=1e-4)
    assert found["groups"]["H, C, N, O, F"]["n"] == 2
    assert found["elements"]["C"] == pytest.approx(0.3 / 9, abs=1e-4)
    assert found["elements"]["Cl"] == pytest.approx(0.0, abs=1e-4)


def test_a_spring_pulls_as_its_energy_falls(script) -> None:
    from force_field_profiles import SPRING, Held

    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=0)
    torsion = Held(100.0, (0, 1, 2, 3)), lambda a: np.deg2rad(a.get_dihedral(0, 1, 2, 3) - 100.0)
    proton = Held(0.2, (0, 3, 1)), lambda a: a.get_distance(0, 3) - a.get_distance(3, 1) - 0.2
    for held, off in (torsion, proton):
        forces = np.zeros((len(atoms), 3))
        held.adjust_forces(atoms, forces)
        for k in range(12):
            energies = []
            for step in (1e-5, -1e-5):
                moved = atoms.copy()
                moved.positions[k // 3, k % 3] += step
                energies.append(0.5 * SPRING * off(moved) ** 2)
            expected = -(energies[0] - energies[1]) / 2e-5
            assert forces[k // 3, k % 3] == pytest.approx(expected, abs=1e-3)


def test_a_bump_is_how_far_a_curve_falls_beyond_its_minimum(script) -> None:
    from force_field_profiles import _bump

    assert _bump(np.array([5.0, -2.0, -1.0, 0.0])) == 0.0
    assert _bump(np.array([5.0, -2.0, 0.5, -0.5, 0.0])) == 1.0


def test_drawn_molecules_are_of_the_test_part(script, smiles) -> None:
    from force_field_molecules import Library

    def names(elements: tuple[int, ...], least: int) -> set[str]:
        found = Library(smiles, 0, elements, (0,)).drawn(least, 50)
        return {atoms.info["smiles"] for atoms in found}

    everything = (1, 6, 7, 8)
    assert names(everything, 5) == set(FRAGMENTS)
    assert names(everything, 12) == set(FRAGMENTS[1:])
    assert names((1, 6, 7), 5) == set()
    with gzip.open(smiles, "at") as file:
        file.write("c1ccccc1C,RECAP\r\n")
    assert names(everything, 5) == set(FRAGMENTS)


def test_every_named_molecule_is_one(script) -> None:
    import force_field_molecules

    small = force_field_molecules.SMALL | force_field_molecules.STRANGE
    for formula in small.values():
        assert isinstance(molecule(formula), Atoms)
    assert len(force_field_molecules.SMALL) == 20
    both = len(force_field_molecules.WELL_KNOWN) + len(force_field_molecules.KINDS)
    assert both == 10
