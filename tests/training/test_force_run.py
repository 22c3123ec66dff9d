"""Whole runs on forces: what they leave behind, and that they resume exactly."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from molgeo.data.forces.properties import ENERGY
from molgeo.datasets import ForceDataModule
from molgeo.evaluation.forces import evaluate_forces
from molgeo.predictor.checkpoint import load
from molgeo.training.config import config_from
from molgeo.training.forces import ForceConfig, ForceTraining
from molgeo.training.run import train

FIXTURES = Path(__file__).parents[1] / "fixtures" / "forces"
BACKBONE = {"n_features": 16, "n_filters": 16, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}


@pytest.fixture
def tiny(tiny_run):
    """Make configs of runs over sixty frames of ethanol, seven steps an epoch."""

    def config(**fields):
        about = {
            "data_name": "ethanol",
            "data_file": [str(FIXTURES / "ethanol.npz")],
            "energy_unit": "kcal/mol",
            "level_of_theory": "PBE/def2-SVP",
        }
        return ForceConfig(**(tiny_run | about | fields))

    return config


def test_what_a_run_leaves(tiny, tmp_path, metrics):
    path = train(tiny(atom_references={"H": -315.0, "C": -23700.0, "O": -47000.0}))
    assert path == tmp_path / "run" / "schnet-ethanol.safetensors"
    model = load(path)
    header = model.header
    assert header.trained_on_forces is True
    assert header.data == "ethanol"
    assert header.n_train == 57
    assert header.split == "57/3/20, seed 42"
    assert header.level_of_theory == "PBE/def2-SVP"
    assert header.config.properties == (ENERGY,)
    assert header.domain.elements == (1, 6, 8)
    assert 0.8 < header.domain.min_distance < 1.0
    data = ForceDataModule(FIXTURES / "ethanol.npz", energy_unit="kcal/mol")
    data.setup()
    again = evaluate_forces(model, data.molecules, data.parts.test)
    assert header.metrics.mae == pytest.approx(again["mae"], rel=1e-4)
    assert header.metrics.split == "test"
    assert header.training["data_file"] == ["ethanol.npz"], "the name, not the folder"
    assert str(FIXTURES) not in header.model_dump_json()
    assert str(tmp_path) not in header.model_dump_json()
    log = metrics(tmp_path / "run")
    for kind in ("mae", "rmse"):
        for column in ("energy_meV", "energy_meV_atom", "forces_meV_A"):
            assert float(log[13, f"val_{kind}_{column}"]) > 0
    best = min(float(value) for (_, name), value in log.items() if name == "val_loss")
    assert header.validation_loss == pytest.approx(best)
    card = path.with_suffix(".md").read_text()
    assert "force" in card
    batch = data.molecules.batch(data.parts.test[:1])
    energy, forces = model.energy_and_forces(batch.z, batch.pos)
    assert forces.shape == (9, 3)
    with torch.no_grad():
        out = model(batch.z, batch.pos)
    free = 6 * -315.0 + 2 * -23700.0 - 47000.0
    kcal = 1 / 23.060547830619026
    assert float(out["energy_atomization"]) == pytest.approx(float(energy) - free * kcal, abs=1e-4)


def test_the_validation_loss_is_the_loss_of_the_averaged_weights(tiny, tmp_path, metrics):
    path = train(tiny(max_epochs=1, energy_weight=2.0))
    model = load(path)
    data = ForceDataModule(FIXTURES / "ethanol.npz", energy_unit="kcal/mol")
    data.setup()
    config = tiny(energy_weight=2.0)
    module = ForceTraining(model, config)
    module.log = lambda *_, **__: None
    batch = data.molecules.batch(data.parts.validation)
    expected = float(module.training_step(batch, 0).detach())
    assert float(metrics(tmp_path / "run")[6, "val_loss"]) == pytest.approx(expected, rel=1e-4)


class Killed(BaseException):
    """In place of a signal."""


@pytest.mark.parametrize(
    ("hook", "step", "epoch_size"),
    [("training_step", 9, 0), ("training_step", 6, 24), ("validation_step", 14, 0)],
)
def test_resumed_exactly(tiny, tmp_path, metrics, monkeypatch, hook, step, epoch_size):
    whole = tmp_path / "uninterrupted"
    epochs = {"max_epochs": 6 if epoch_size else 3, "epoch_size": epoch_size}
    train(tiny(run_dir=str(whole), **epochs))
    original = getattr(ForceTraining, hook)

    def killed(self, batch, batch_idx):
        if self.global_step == step:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ForceTraining, hook, killed)
        with pytest.raises(Killed):
            train(tiny(**epochs))
    path = train(tiny(**epochs), resume=True)
    assert metrics(tmp_path / "run") == metrics(whole)
    for a, b in zip(load(path).parameters(), load(whole / path.name).parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("field", "value"), [("energy_unit", "eV"), ("split_seed", 1), ("epoch_size", 16)]
)
def test_a_run_is_not_resumed_as_another(tiny, field, value):
    train(tiny(max_epochs=1))
    with pytest.raises(ValueError, match=rf"--resume: {field} was .* and is .* now"):
        train(tiny(max_epochs=2, **{field: value}), resume=True)


def test_periodic_frames_train(tiny, tmp_path, capsys):
    """The same molecule in a box it fills: neighbours across the boundary are seen."""
    import ase.io

    images = ase.io.read(FIXTURES / "acac.xyz", ":")
    for atoms in images:
        atoms.set_cell([7.0, 7.0, 7.0])
        atoms.pbc = True
    ase.io.write(tmp_path / "box.extxyz", images)
    fields = {
        "data_file": [str(tmp_path / "box.extxyz")],
        "energy_unit": "eV",
        "batch_size": 2,
        "test_fraction": 0.25,
        "max_epochs": 1,
    }
    model = load(train(tiny(**fields)))
    assert model.header.n_train == 5
    said = "the files have no groups: frames are split one by one"
    assert said in capsys.readouterr().err
    for k, atoms in enumerate(images):
        atoms.info["group"] = k // 2
    ase.io.write(tmp_path / "grouped.extxyz", images)
    grouped = {"data_file": [str(tmp_path / "grouped.extxyz")], "run_dir": str(tmp_path / "b")}
    train(tiny(**{**fields, **grouped}))
    assert said not in capsys.readouterr().err
    data = ForceDataModule(tmp_path / "box.extxyz", test_fraction=0.25)
    data.setup()
    batch = data.molecules.batch(torch.arange(8))
    assert batch.graph(4.0).offset is not None
    errors = evaluate_forces(model, data.molecules, data.parts.test)
    assert errors["mae"] == pytest.approx(model.header.metrics.mae, rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"energy_unit": "eV"}, r"divide by 23\.06, or set energy_unit: kcal/mol"),
        ({"data_file": ["nowhere.npz"]}, r"nowhere\.npz does not exist"),
        ({"length_unit": "yard"}, "length_unit: expected one of"),
    ],
)
def test_refused(tiny, fields, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        train(tiny(**fields))


def test_command_and_evaluation_by_the_runs_config(tiny, tmp_path, capsys):
    from molgeo.cli import program as cli

    config = tiny(max_epochs=1, validation_fraction=0.2)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config.model_dump()))
    assert cli.main(["train", "--config", str(tmp_path / "x.yaml")]) == 0
    path = capsys.readouterr().out.strip()
    run = tmp_path / "run" / "config.yaml"
    assert config_from(yaml.safe_load(run.read_text())) == config
    assert cli.main(["evaluate", "--model", path, "--data", str(run)]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["n"] == 20
    assert got["mae"] == pytest.approx(load(path).header.metrics.mae, rel=1e-4)
    (tmp_path / "y.yaml").write_text(f"data: qm9\ndata_dir: {tmp_path}\n")
    assert cli.main(["evaluate", "--model", path, "--data", str(tmp_path / "y.yaml")]) == 2
    assert "QM9 is not prepared" in capsys.readouterr().err
    at_the_end = load(path)  # a run ends with what calibrate does, of all validation frames
    found = []
    for data in (str(run), str(FIXTURES / "ethanol.npz")):
        assert cli.main(["calibrate", "--model", path, "--data", data]) == 0
        found.append(json.loads(capsys.readouterr().out)["forces_std"])
        told, before = load(path).expected_errors, at_the_end.expected_errors
        torch.testing.assert_close(told.law, before.law)
        assert load(path).header.metrics.mae == at_the_end.header.metrics.mae
    assert found[0]["spearman"] == pytest.approx(found[1]["spearman"], abs=1e-3)
    assert found[0]["real_eV_A"] == pytest.approx(found[1]["real_eV_A"])
    assert found[0]["n_atoms"] == 20 * 9
    assert cli.main(["calibrate", "--model", path]) == 2
    assert "expected --data, the config.yaml of the run" in capsys.readouterr().err
    assert cli.main(["info", path]) == 0
    assert "forces" in capsys.readouterr().out
