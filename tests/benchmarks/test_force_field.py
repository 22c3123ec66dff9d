"""The benchmark of a force field: its measures are right, and its parts run."""

import json
import sys
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
OURS = {"model": str(shipped()[DEFAULT_FORCE_FIELD]), "dtype": "float64"}
NAMES = ("force_field", "force_field_molecules", "force_field_tables")


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    threads = torch.get_num_threads()
    import force_field

    def drawn(seed: int):
        for name, smiles in (("CH3CH2OH", "CCO"), ("H2O", "O")):
            atoms = molecule(name)
            atoms.info.update(name=name, smiles=smiles, qm9=len(atoms))
            yield atoms

    def ten(seed: int):
        return list(drawn(seed))

    # The same potential on both sides, so that neither tblite nor QM9 is needed.
    monkeypatch.setattr(force_field, "REFERENCE", Method("molgeo:MolgeoCalculator", OURS))
    monkeypatch.setattr(force_field, "drawn", drawn)
    monkeypatch.setattr(force_field, "ten", ten)
    yield force_field
    torch.set_num_threads(threads)
    for name in NAMES:
        sys.modules.pop(name, None)


def test_report(benchmark, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, out = tmp_path / "known.npz", tmp_path / "out.json"
    np.savez(known, qm9=np.array([9, 9, 10]))
    benchmark.main(["--quick", "--trained-on", str(known), "--json", str(out)])
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
        assert np.abs(row["errors"]).max() < 1e-6
    assert [len(row["ours"]) for row in report["vib"]["rows"]] == [3, 9]
    (nve,), nvt = report["nve"]["rows"], report["nvt"]
    assert (nve["stopped"], nve["steps"]) == (None, 200)
    assert (nvt["stopped"], nvt["degrees"]) == (None, 24)
    assert nve["noise"] < 1.0
    for heading in ("### Minima", "### Frequencies", "### nve", "### nvt"):
        assert heading in printed


def test_rmsd_is_that_of_the_best_superposition(benchmark) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((7, 3))
    rotation = Rotation.random(random_state=1)
    assert benchmark.rmsd(a, rotation.apply(a + np.array([1.0, 2.0, 3.0]))) < 1e-7
    b = a + 0.1 * rng.standard_normal((7, 3))
    centred = a - a.mean(0), b - b.mean(0)
    _, distance = Rotation.align_vectors(*centred)
    found = benchmark.rmsd(a, rotation.apply(b))
    assert found == pytest.approx(distance / np.sqrt(7), abs=1e-9)


def test_a_mirror_image_is_another_molecule(benchmark) -> None:
    a = np.random.default_rng(0).standard_normal((5, 3))
    assert benchmark.rmsd(a, a * [1, 1, -1]) > 0.1


def test_a_drift_is_the_slope_of_the_energy(benchmark) -> None:
    time = np.linspace(0.0, 10.0, 1001)
    found = benchmark.line(time, -1e6 + 0.3 * time + 0.01 * (-1.0) ** np.arange(1001))
    assert found["drift"] == pytest.approx(0.3, abs=1e-4)
    assert found["noise"] == pytest.approx(0.01, rel=1e-2)


def test_a_mode_that_became_a_rotation_counts(benchmark) -> None:
    from molgeo.simulation.vibrations import Modes

    cm = 1.0 / 8065.543937
    bent, straight = (
        Modes(cm * np.array(values, complex), np.zeros(5, complex), "nonlinear")
        for values in ([500, 1200, 2000], [600, 600, 1400, 2600])
    )
    errors = benchmark._errors(bent, straight)["errors"]
    np.testing.assert_allclose(errors, [-600, -100, -200, -600], rtol=1e-6)


def test_every_named_molecule_is_one(benchmark) -> None:
    import force_field_molecules

    small = force_field_molecules.SMALL | force_field_molecules.STRANGE
    for formula in small.values():
        assert isinstance(molecule(formula), Atoms)
    assert len(force_field_molecules.SMALL) == 20
    both = len(force_field_molecules.WELL_KNOWN) + len(force_field_molecules.KINDS)
    assert both == 10
