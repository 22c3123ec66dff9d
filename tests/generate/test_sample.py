"""Structures off equilibrium: what was asked for, deterministic, resumable."""

import json

import ase.io
import numpy as np
import pytest
import torch

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow
from molgeo.cli import program as cli
from molgeo.data.forces.properties import ENERGY
from molgeo.generate.dynamics import learned_forces
from molgeo.generate.plan import SamplePlan
from molgeo.generate.sample import sample_structures
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import save_checkpoint
from molgeo.predictor.domain import Domain

SHORT = {"steps": 5, "thermal": 2}


@pytest.fixture
def smiles(tmp_path):
    path = tmp_path / "some.smi"
    path.write_text("CCO ethanol\nO water\nC1CC broken\nCF\n")
    return str(path)


def kinds(images):
    return [(a.info["group"], a.info["kind"]) for a in images]


def test_what_is_made(smiles, tmp_path):
    plan = SamplePlan(**SHORT, noise=1, dimers=1.0)
    assert sample_structures([smiles], tmp_path / "out.extxyz", plan, workers=1)[:2] == (3, 1)
    images = ase.io.read(tmp_path / "out.extxyz", ":")
    of_each = ["thermal", "thermal", "noise", "geometry"]
    partner = np.random.default_rng(42).permutation(4)
    expected = [
        (k, kind) for k in (0, 1, 3) for kind in of_each + (["dimer"] if partner[k] != 2 else [])
    ]
    assert kinds(images) == expected
    assert {a.info["T"] for a in images if a.info["kind"] == "thermal"} <= {300, 500, 800, 1200}
    assert images[0].get_chemical_formula() == "C2H6O"
    failed = (tmp_path / "out.extxyz.failed.jsonl").read_text()
    assert json.loads(failed)["row"] == 2
    assert "not a valid SMILES" in failed


def test_a_run_goes_on_where_it_was(smiles, tmp_path):
    plan = SamplePlan(**SHORT)
    sample_structures([smiles], tmp_path / "whole.extxyz", plan, workers=1)
    whole = (tmp_path / "whole.extxyz").read_bytes()
    sample_structures([smiles], tmp_path / "part.extxyz", plan, workers=1)
    (tmp_path / "part.extxyz").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "part.extxyz.failed.jsonl").unlink()
    sample_structures([smiles], tmp_path / "part.extxyz", plan, workers=2)
    assert (tmp_path / "part.extxyz").read_bytes() == whole
    with pytest.raises(ValueError, match="holds another run: seed was 42 and is 1 now"):
        sample_structures([smiles], tmp_path / "part.extxyz", SamplePlan(**SHORT, seed=1))


def test_hotter_is_wider(tmp_path):
    """The spread of bond lengths grows with the temperature."""
    spread = []
    for T in (100.0, 1500.0):
        plan = SamplePlan(thermal=30, steps=40, temperatures=(T,), noise=0, geometry=0, dimers=0)
        path = tmp_path / f"{T}.extxyz"
        sample_structures(["C"], path, plan, workers=1)
        lengths = [a.get_distances(0, [1, 2, 3, 4]) for a in ase.io.read(path, ":")]
        spread.append(np.std(lengths))
    assert 2.0 < spread[1] / spread[0] < 7.0


def test_qm9_keeps_its_geometries(small_data, monkeypatch, tmp_path):
    monkeypatch.setenv("MOLGEO_DATA", str(small_data))
    plan = SamplePlan(steps=2, thermal=1, noise=0, dimers=0)
    done, failed, _ = sample_structures(["qm9"], tmp_path / "out.extxyz", plan, limit=6, workers=1)
    assert done + failed == 6
    images = [a for a in ase.io.read(tmp_path / "out.extxyz", ":") if a.info["kind"] == "geometry"]
    from molgeo.data.qm9.dataset import QM9

    whole = QM9(small_data / "qm9").molecules
    first = whole.atoms(torch.tensor([images[0].info["group"]]))[0]
    assert images[0].positions == pytest.approx(whole.pos[first].numpy(), abs=1e-5)


def test_a_learned_force_field(tmp_path):
    torch.manual_seed(0)
    backbone = {"n_features": 8, "n_filters": 8, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}
    predictor = Predictor("schnet", backbone, [ENERGY], 4)
    predictor.domain = Domain(elements=(1, 8), max_atoms=3, min_distance=0.9)
    path = tmp_path / "ff.safetensors"
    save_checkpoint(predictor, path, {"trained_on_forces": True})
    (water,) = embed(SmilesRow("O"))
    expected = predictor.energy_and_forces(
        torch.from_numpy(water.z), torch.from_numpy(water.pos).float(), allow_untrained_forces=True
    )[1]
    forces = learned_forces(str(path), water)
    assert forces(water.pos) == pytest.approx(expected.double().numpy(), abs=1e-6)
    plan = SamplePlan(**SHORT, model=str(path), noise=0, dimers=0)
    done = sample_structures(["O", "C"], tmp_path / "out.extxyz", plan, workers=1)
    assert done[:2] == (1, 1)
    assert "element C is outside" in (tmp_path / "out.extxyz.failed.jsonl").read_text()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thermal": -1}, "thermal: expected 0 or more, got -1"),
        ({"temperatures": (0.0,)}, "temperatures: expected kelvins"),
        ({"steps": 0}, "steps: expected 1 or more"),
        ({"largest": 1}, "largest: expected 2 or more, got 1"),
        ({"relaxation": -1}, "relaxation: expected 0 or more"),
        ({"contacts": (1.0, 0.5)}, "contacts: expected two lengths, ascending"),
    ],
)
def test_plans_that_mean_nothing(fields, message):
    with pytest.raises(ValueError, match=message):
        SamplePlan(**fields)


def test_cheap_kinds(tmp_path):
    """Vibrations, torsions, bends, stretches, clusters and transfers of ions and UFF's elements."""
    path = tmp_path / "some.smi"
    path.write_text("OCC(=O)O acid\nC[NH3+] ion\nOB(O)C boron\n")
    plan = SamplePlan(
        thermal=0, vibrations=3, torsions=2, bends=1, stretches=1.0, noise=0, geometry=0, dimers=2,
        largest=3, partners=("O",), relaxation=5, transfers=1, conformers=2,
    )  # fmt: skip
    assert sample_structures([str(path)], tmp_path / "out.extxyz", plan, workers=1)[:2] == (3, 0)
    images = ase.io.read(tmp_path / "out.extxyz", ":")
    of = [[a for a in images if a.info["group"] == k] for k in range(3)]
    for mine in of:
        found = [a.info["kind"] for a in mine]
        assert found.count("vibration") == 3
        assert found.count("stretch") == 1
        assert {"dimer", "cluster"} & set(found)
    assert {a.info["charge"] for a in of[0] + of[2]} <= {0, 1}
    assert all(sum(a.numbers) % 2 == a.info["charge"] % 2 for a in images)  # closed shells
    assert {len(a) for a in of[1] if a.info["kind"] == "vibration"} == {8}
    assert next(a for a in of[1] if a.info["kind"] == "vibration").info["charge"] == 1


def test_clusters_of_one_molecule(tmp_path):
    plan = SamplePlan(thermal=0, noise=0, geometry=0, dimers=12, largest=5, most_atoms=12)
    sample_structures(["O"], tmp_path / "out.extxyz", plan, workers=1)
    images = ase.io.read(tmp_path / "out.extxyz", ":")
    assert {len(a) for a in images} == {6, 9, 12}
    assert {a.info["kind"] for a in images if len(a) > 6} == {"cluster"}
    for atoms in images:
        assert 0.55 < atoms.info["contact"] < 1.45


def test_an_input_is_not_the_output(tmp_path):
    path = tmp_path / "a.extxyz"
    path.write_text("1\n\nHe 0 0 0\n")
    with pytest.raises(ValueError, match="is an input: give another name"):
        sample_structures(["CCO", str(path)], path, SamplePlan(), workers=1)


def test_command(smiles, tmp_path, capsys):
    out = tmp_path / "out.extxyz"
    words = ["data", "sample", smiles, "--output", str(out), "--workers", "1", "--steps", "3"]
    words += ["--thermal", "1", "--temperatures", "[200, 400]"]
    assert cli.main(words) == 3
    assert "1 of 4 failed" in capsys.readouterr().err
    assert {a.info.get("T") for a in ase.io.read(out, ":")} <= {None, 200, 400}
    assert cli.main([*words[:4], str(tmp_path / "out.csv")]) == 2
    assert "ends in .extxyz" in capsys.readouterr().err
