"""Errors of energies and forces: what a person would compute by hand, in any batches."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from molgeo.data.forces.dataset import Units
from molgeo.data.forces.properties import ENERGY
from molgeo.datasets import ForceDataModule
from molgeo.evaluation import forces
from molgeo.evaluation.forces import COLUMNS, ForceErrors, evaluate_forces, file_part
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.predictor.header import Facts
from molgeo.training.references import fit_references

ETHANOL = Path(__file__).parents[1] / "fixtures" / "forces" / "ethanol.npz"
BACKBONE = {"n_features": 16, "n_filters": 16, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}


@pytest.fixture(scope="module")
def data():
    module = ForceDataModule(ETHANOL, energy_unit="kcal/mol")
    module.setup()
    return module


@pytest.fixture(scope="module")
def predictor(data):
    torch.manual_seed(0)
    predictor = Predictor("schnet", BACKBONE, [ENERGY], 8)
    fit_references(predictor, data.molecules, data.parts.train, {})
    predictor.header = Facts(trained_on_forces=True)
    return predictor.eval()


def by_hand(predictor, data, rows):
    """Errors molecule by molecule."""
    energy, forces = [], []
    for row in rows.tolist():
        one = data.molecules.batch(torch.tensor([row]))
        e, f = predictor.energy_and_forces(one.z, one.pos)
        energy.append(float(e - one.energy))
        forces.append((f - one.force).numpy())
    return np.array(energy), np.concatenate(forces)


def test_errors_are_those_of_the_cpu_on_any_device(predictor, data, device):
    rows = data.parts.test
    expected = evaluate_forces(predictor, data.molecules, rows)
    found = evaluate_forces(copy.deepcopy(predictor).to(device), data.molecules, rows)
    for kind in ("mae", "rmse"):
        assert found[kind] == pytest.approx(expected[kind], rel=1e-4)


@pytest.mark.parametrize("batch_size", [3, 64])
def test_errors_are_those_computed_by_hand(predictor, data, batch_size):
    rows = data.parts.test
    got = evaluate_forces(predictor, data.molecules, rows, batch_size)
    energy, of_atoms = by_hand(predictor, data, rows)
    columns = (energy, energy / 9, of_atoms)
    assert got["n"] == 20
    assert tuple(got["mae"]) == tuple(got["rmse"]) == COLUMNS
    for column, error in zip(COLUMNS, columns, strict=True):
        assert got["mae"][column] == pytest.approx(np.abs(error).mean(), rel=1e-4)
        assert got["rmse"][column] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-4)


def test_a_card_takes_as_many_as_a_bound_on_their_pairs_allows(data, monkeypatch):
    """Of a cell the bound is one on neighbours, not on the few atoms in it."""
    molecules, rows = data.molecules, data.parts.test  # of nine atoms each
    monkeypatch.setitem(forces.PAIRS, "cuda", 4 * 1200)

    def sizes(molecules, device, batch_size=None):
        parts = forces._parts(molecules, rows, batch_size, torch.device(device))
        return [len(rows[part]) for part in parts]

    assert sizes(molecules, "cuda") == [14, 6]
    assert sizes(molecules, "cuda", 8) == sizes(molecules, "cpu", 8) == [8, 8, 4]
    assert sizes(molecules, "cpu") == [20]
    periodic = dataclasses.replace(molecules, cell=torch.zeros(len(molecules), 3, 3))
    assert sizes(periodic, "cuda") == [1] * 20


def test_sums_add_up():
    torch.manual_seed(1)
    energy, force = torch.randn(5), torch.randn(12, 3)
    n_atoms = torch.tensor([2, 3, 1, 4, 2])
    known = torch.ones(5, dtype=torch.bool), torch.ones(12, dtype=torch.bool)
    z = torch.randint(1, 9, (len(force),))
    whole = ForceErrors.of(energy, force, n_atoms, known, z)
    parts = [
        ForceErrors.of(energy[m], force[i], n_atoms[m], (known[0][m], known[1][i]), z[i])
        for m, i in ((slice(2), slice(5)), (slice(2, None), slice(5, None)))
    ]
    assert torch.allclose(whole.to_vector(), (parts[0] + parts[1]).to_vector())
    assert whole.norms == pytest.approx(float(force.double().norm(dim=-1).sum()))
    assert whole.mae()["energy_eV_atom"] == pytest.approx(float((energy / n_atoms).abs().mean()))


def test_nothing_to_evaluate(predictor, data):
    with pytest.raises(ValueError, match="one molecule or more"):
        evaluate_forces(predictor, data.molecules, torch.zeros(0, dtype=torch.long))


def test_parts_of_a_file():
    kcal = Units("kcal/mol")
    molecules, rows, name = file_part(ETHANOL, "test", kcal)
    assert (len(molecules), rows.tolist(), name) == (80, list(range(60, 80)), "test")
    with pytest.raises(ValueError, match="has no part 'validation'"):
        file_part(ETHANOL, "validation", kcal)
    molecules, rows, name = file_part(ETHANOL.with_name("acac.xyz"))
    assert (len(rows), name) == (8, "all")
    with pytest.raises(ValueError, match=r"divide by 23\.06"):
        file_part(ETHANOL)


def test_command(predictor, data, tmp_path, capsys):
    from molgeo.cli import program as cli

    predictor.domain = Domain(elements=(1, 6, 8), max_atoms=9, min_distance=0.9)
    path = tmp_path / "ff.safetensors"
    save_checkpoint(predictor, path, {"data": "ethanol", "trained_on_forces": True})
    words = ["evaluate", "--model", str(path), "--data", str(ETHANOL), "--limit", "7"]
    assert cli.main([*words, "--energy-unit", "kcal/mol"]) == 0
    got = json.loads(capsys.readouterr().out)
    expected = evaluate_forces(predictor, data.molecules, data.parts.test[:7])
    assert got["mae"] == pytest.approx(expected["mae"], rel=1e-5)
    about = ["model", "model_sha256", "level_of_theory"]
    names = ["data", "split", "geometry", "n", "mae", "rmse", "forces_eV_A_by_element"]
    assert list(got) == [*about, *names]
    assert cli.main(words) == 2
    message = capsys.readouterr().err
    assert "set --energy-unit kcal/mol" in message
    assert "--check-units false" in message
    for switch in (["--check-units", "false"], ["--no-check-units"]):
        assert cli.main([*words, *switch]) == 0
        assert json.loads(capsys.readouterr().out)["n"] == 7
    for options in (["--geometry", "smiles"], ["--conformers", "2"], ["--data-dir", "x"]):
        assert cli.main([*words, *options]) == 2
        assert f"{options[0]}: means nothing for --data" in capsys.readouterr().err
    acac = [*words[:4], str(ETHANOL.with_name("acac.xyz")), "--split", "test"]
    assert cli.main(acac) == 2
    assert "acac.xyz names no parts; leave it out" in capsys.readouterr().err
    assert cli.main(["evaluate", "--model", str(path), "--data", "qm10"]) == 2
    message = capsys.readouterr().err
    assert "qm10 does not exist; expected qm9, a file of energies and forces" in message
    assert "did you mean 'qm9'?" in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x.npz", True),
        ("x.extxyz", True),
        ("x.xyz.gz", True),
        ("x.outcar", True),
        ("x.csv.gz", False),
        ("x.mol2", False),
        ("x.SDF", False),
    ],
)
def test_which_files_are_of_forces(predictor, name, expected):
    from molgeo.cli.evaluate import _has_forces

    assert _has_forces(name, predictor) is expected


def test_errors_by_element_and_by_charge(predictor, data):
    """Those of parts that are evaluated alone; the whole is as without charges."""
    rows = data.parts.test
    whole = evaluate_forces(predictor, data.molecules, rows)
    _, of_atoms = by_hand(predictor, data, rows)
    z = data.molecules.batch(rows).z.numpy()
    expected = {s: np.abs(of_atoms[z == n]).mean() for s, n in (("H", 1), ("C", 6), ("O", 8))}
    assert whole["forces_eV_A_by_element"] == pytest.approx(expected, rel=1e-4)
    assert "by_charge" not in whole
    charge = torch.arange(len(data.molecules)) % 3 - 1
    charged = dataclasses.replace(data.molecules, charge=charge)
    done = []
    found = evaluate_forces(predictor, charged, rows, progress=lambda n, of: done.append((n, of)))
    assert list(found["by_charge"]) == ["-1", "0", "+1"]
    assert done[-1] == (20, 20)
    for q, own in zip((-1, 0, 1), found["by_charge"].values(), strict=True):
        alone = evaluate_forces(predictor, data.molecules, rows[charge[rows] == q])
        assert own["n"] == alone["n"]
        assert own["mae"] == pytest.approx(alone["mae"], rel=1e-6)
    assert found["rmse"] == pytest.approx(whole["rmse"], rel=1e-9)
