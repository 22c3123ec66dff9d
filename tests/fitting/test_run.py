"""A fit from a table to a model."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import molgeo
from molgeo.cli import program as cli
from molgeo.fitting.run import fit_table
from molgeo.predictor.checkpoint import load, read_header
from molgeo.runtime.errors import InputError, SettingError
from molgeo.training.module import PropertyTraining


class Killed(BaseException):
    """In place of a signal."""


KILLS = {
    "molgeo.fitting.members._trained": 2,
    "molgeo.fitting.run.merged": 1,
    "molgeo.fitting.run.write_page": 1,
}
"""Function → the call of it that is killed."""


def test_from_a_table_to_a_prediction_with_an_error_bar(table, capsys):
    path = table()
    words = ["fit", str(path), "--target", "Y", "--unit", "a0³", "--members", "2", "--folds", "3"]
    words += ["--epochs", "2", "--conformers", "1", "--from-scratch", "--threads", "1"]
    assert cli.main([*words, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    model = "runs/mine/y.safetensors"
    assert out.splitlines()[-1] == f"molgeo predict new.smi --model {model}"
    assert "y, " in out
    assert "| y | a0³ |" in Path(model).with_suffix(".md").read_text(encoding="utf-8")
    header = read_header(model)
    assert [one.conformers for one in header.calibration] == [1]
    assert header.config.properties[0].unit == "a0³"
    assert header.metrics.n > 0
    assert header.command.startswith("molgeo fit mine.csv --conformers 1")
    assert (header.training["targets"][0]["column"], header.n_train) == (
        "y",
        header.calibration[0].n * 3 // 2,
    )
    found = molgeo.predict(["CCO", "C" * 40, "[Na+].[Cl-]"], model, conformers=2)
    assert found.y_a0__std[0] > 0
    assert (found.y_a0__low90 < found.y_a0_)[0]
    assert (found.y_a0_ < found.y_a0__high90)[0]
    assert found.in_domain[1] == False  # noqa: E712
    assert "far more atoms" in found.domain_reason[1]
    assert found.status[2] == "error"
    assert "molecules of the test part, by scaffold: MAE " in out
    assert "molecules held out at random: MAE " in out
    with open("runs/mine/rows.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["part"] for row in rows} == {"fold 1", "fold 2", "test"}
    assert cli.main([*words]) == 2
    assert "--resume goes on, --force begins anew" in capsys.readouterr().err


def test_a_kill_at_any_moment_changes_nothing(table, quick, monkeypatch):
    """In the first member, between members, and before and after the errors are measured."""
    path = table()
    whole = load(fit_table(path, quick(output="whole")).path)
    original = PropertyTraining.training_step

    def killed(self, batch, batch_idx):
        if self.global_step >= 1:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, "training_step", killed)
        with pytest.raises(Killed):
            fit_table(path, quick(output="again"))
    for place, call in KILLS.items():
        with monkeypatch.context() as patch:
            patch.setattr(place, killed_at(place, call))
            with pytest.raises(Killed):
                fit_table(path, quick(output="again", resume=True))
    monkeypatch.setattr("molgeo.fitting.telling.baselines", None)  # it is fitted once
    model = load(fit_table(path, quick(output="again", resume=True)).path)
    for (name, a), b in zip(whole.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num()), name
    assert model.header.calibration == whole.header.calibration
    for name in ("rows.csv", "history.csv", "summary.json"):
        told = [Path(folder, name).read_text() for folder in ("whole", "again")]
        assert told[0] == told[1], name
    with pytest.raises(SettingError, match="--resume: seed was 42 and is 1 now; --force begins"):
        fit_table(path, quick(output="again", resume=True, seed=1))
    table(cells=lambda k, smiles, y: (smiles, f"{y + 1:.3f}"))
    with pytest.raises(SettingError, match="--resume: the table has changed"):
        fit_table(path, quick(output="again", resume=True))


def test_control_c(table, quick, monkeypatch, capsys):
    """Lightning ends a run as if it were done; its weights are not taken for a member's."""
    path = table()
    original = PropertyTraining.training_step

    def pressed(self, batch, batch_idx):
        if self.global_step >= 1:
            raise KeyboardInterrupt
        return original(self, batch, batch_idx)

    words = ["fit", str(path), "--target", "y", "--members", "1", "--folds", "3", "--epochs", "2"]
    words += ["--conformers", "1", "--from-scratch", "--threads", "1", "--pooling", "sum"]
    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, "training_step", pressed)
        assert cli.main([*words, "--device", "cpu"]) == 1
    assert not [one.name for one in path.parent.glob("runs/mine/members/*/done")]
    assert cli.main([*words, "--device", "cpu", "--resume"]) == 0


def test_calibration_is_done(table, quick, capsys):
    path = fit_table(table(), quick(members=1, epochs=1, pooling="sum")).path
    assert cli.main(["calibrate", "--model", str(path)]) == 2
    assert "molgeo fit has measured this model's errors" in capsys.readouterr().err
    assert cli.main(["evaluate", "--model", str(path), "--data", "mine.csv"]) == 0
    assert '"n": 61' in capsys.readouterr().out


def test_a_shipped_backbone_stands_still(table, quick, monkeypatch, capsys):
    """Members share it, so that there is one in the file; a kill changes nothing."""
    path, fields = table(), {"from_scratch": False, "pooling": "moments", "epochs": None}
    whole = load(fit_table(path, quick(output="whole", **fields)).path)
    assert whole.config.model == "spectrum_net"
    assert whole.config.backbone["all_blocks"]
    assert whole.heads.hidden == 2 * 128
    start = load("spectrum_net-aimnet2-small")
    for name, weight in start.backbone.state_dict().items():
        assert torch.equal(whole.backbone.state_dict()[name], weight)
    with monkeypatch.context() as patch:
        patch.setattr(
            "molgeo.fitting.members._trained", killed_at("molgeo.fitting.members._trained", 2)
        )
        with pytest.raises(Killed):
            fit_table(path, quick(output="again", **fields))
    again = load(fit_table(path, quick(output="again", resume=True, **fields)).path)
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())
    assert again.header.calibration == whole.header.calibration


def killed_at(place, call):
    """A function of a module that is killed as it is called for the so manieth time."""
    module, _, name = place.rpartition(".")
    original, calls = getattr(importlib.import_module(module), name), []

    def killed(*args, **more):
        calls.append(args)
        if len(calls) == call:
            raise Killed
        return original(*args, **more)

    return killed


def test_from_python(molecules, tmp_path, capsys):
    frame = pd.DataFrame(molecules, columns=["smiles", "y"])
    own = {"members": 1, "folds": 3, "epochs": 1, "conformers": 1, "from_scratch": True}
    model = molgeo.fit(frame, "y", threads=1, device="cpu", pooling="sum", **own)
    assert "molgeo: y: the 3D model is " in capsys.readouterr().err
    assert model.properties[0].head == "sum"
    assert model.name == "y"
    assert molgeo.predict("CCO", model).y_std[0] > 0
    with pytest.raises(FileExistsError, match="runs/table holds a fit already"):
        molgeo.fit(frame, target="y")
    with pytest.raises(TypeError, match="tagret: no such setting of a fit; did you mean 'target'"):
        molgeo.fit(frame, "y", tagret="y")


def test_few_molecules_are_refused_with_a_better_guess(table, quick, molecules):
    path = table()
    rows = path.read_text().splitlines()[:21]
    path.write_text("\n".join(rows))
    mean = np.mean([round(y, 3) for _, y in molecules[:20]])
    expected = rf"y: expected at least 50 molecules .*, got 20.*mean of their values, {mean:.4g}"
    with pytest.raises(InputError, match=expected):
        fit_table(path, quick())
    assert not (path.parent / "runs" / "mine").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "z"}, "mine.csv: no column 'z'"),
        ({"target": ""}, "target: expected the title of a column"),
        ({"target": "y,y"}, "target: 'y' is named twice"),
        ({"split": "y"}, "split: 'y' is a target"),
        ({"split": "set"}, "no column 'set'"),
        ({"members": 4, "folds": 3}, "members: expected at most one per fold"),
        ({"members": 0}, "members: expected a whole number from 1, got 0"),
        ({"test_fraction": 1.0}, "test_fraction: expected 0 or more"),
        ({"pooling": "max"}, "pooling: expected one of auto, kernel, moments, mean, sum"),
        ({"pooling": "kernel"}, "pooling: a kernel stands on a backbone that has learned"),
        ({"unit": "a,b"}, "unit: expected one for each of 1 targets, got 2"),
        ({"start_from": "schnet-qm9"}, "from_scratch: means nothing beside start_from"),
        ({"resume": True}, "nothing to resume"),
    ],
)
def test_settings_that_mean_nothing(table, quick, fields, message):
    path = table()
    with pytest.raises((SettingError, FileNotFoundError), match=message):
        fit_table(path, quick(**fields))


def test_a_folder_of_something_else_is_left_alone(table, quick, tmp_path):
    path = table()
    with pytest.raises(FileExistsError, match="exists and holds no fit"):
        fit_table(path, quick(output=str(tmp_path), force=True))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv does not exist"):
        fit_table("nowhere.csv", quick())
    with pytest.raises(FileNotFoundError, match=r"is a folder; expected a file"):
        fit_table(tmp_path, quick())
    with pytest.raises(InputError, match=r"no row can be used; the first: cannot read a dict"):
        fit_table([{"smiles": "CCO", "y": 1.0}], quick())


def test_a_table_without_structures(table, quick):
    path = table(titles=("compound", "y"), cells=lambda k, smiles, y: (f"mol-{k}!", y))
    with pytest.raises(InputError, match=r"no column is called 'smiles'.*name it with --smiles$"):
        fit_table(path, quick())
