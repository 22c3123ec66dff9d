"""Runs on values in a table."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from molgeo import predict
from molgeo.chem.scaffolds import scaffold
from molgeo.cli import program as cli
from molgeo.data.qm9.dataset import QM9
from molgeo.predictor.calibration import Calibration, Scale
from molgeo.predictor.checkpoint import load, read_header
from molgeo.runtime.errors import InputError, SettingError
from molgeo.training.export import tell
from molgeo.training.module import PropertyTraining
from molgeo.training.run import train
from molgeo.training.table import TableConfig, TableDataModule, Target, _titles


class Killed(BaseException):
    """In place of a signal."""


@pytest.fixture
def tiny(small_data, tiny_run, tmp_path):
    """Make configs of runs on 61 molecules, a third of whose dipoles nobody knows."""
    data = QM9(small_data / "qm9")
    labels = data.molecules.y[:, :2].numpy().copy()
    labels[::3, 0] = np.nan
    rows = [
        f"{smiles},{mu:g},{a:g}" for smiles, (mu, a) in zip(data.all_smiles(), labels, strict=True)
    ]
    (tmp_path / "mine.csv").write_text("\n".join(["smiles,dipole,alpha", *rows]))

    def config(**fields):
        targets = [{"column": "dipole", "unit": "D"}, {"column": "alpha", "head": "sum"}]
        own = {"data_file": str(tmp_path / "mine.csv"), "data_dir": str(tmp_path / "data")}
        return TableConfig(**{**tiny_run, "targets": targets, **own, **fields})

    return config


@pytest.mark.parametrize("hook", ["training_step", "validation_step"])
def test_resumed_exactly(tiny, tmp_path, metrics, monkeypatch, hook):
    whole = tmp_path / "uninterrupted"
    train(tiny(run_dir=str(whole), max_epochs=3))
    original = getattr(PropertyTraining, hook)

    def killed(self, batch, batch_idx):
        if self.global_step >= 9:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, hook, killed)
        with pytest.raises(Killed):
            train(tiny(max_epochs=3))
    path = train(tiny(max_epochs=3), resume=True)
    assert metrics(tmp_path / "run") == metrics(whole)
    for a, b in zip(load(path).parameters(), load(whole / path.name).parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="--resume: split_seed was 42"):
        train(tiny(split_seed=1), resume=True)


def test_labels_that_are_missing_do_not_count(tiny):
    """The loss of a batch is the mean over what is known, and has no gradient elsewhere."""
    config = tiny()
    data = TableDataModule(config)
    data.setup()
    model = load(train(tiny(max_steps=1, limit_validation=4)))
    module = PropertyTraining(model, config)
    batch = data.molecules.batch(data.parts.train[:9])
    known = ~batch.y.isnan()
    assert 0 < known[:, 0].sum() < 9
    got = module.losses(batch)["train_loss"]
    of_each = [module.losses(batch.molecule(m))["train_loss"].detach() for m in range(9)]
    out = model(batch.z, batch.pos, batch.batch)
    errors = torch.stack([out["dipole"], out["alpha"]], -1) - batch.y
    expected = (errors.abs().nanmean(0) / model.scale).mean()
    assert float(got.detach()) == pytest.approx(float(expected.detach()), rel=1e-4)
    assert torch.stack(of_each).isfinite().all()
    got.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_conformers_of_one_molecule_are_in_one_part(tiny):
    data = TableDataModule(tiny(conformers=2))
    data.setup()
    parts = [set(data.molecules.idx[rows].tolist()) for rows in data.parts]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert len(data.molecules) > len(data.table.rows)


def test_rows_of_one_molecule_alone_are_split_one_by_one(tiny, tmp_path, capsys):
    table = "smiles,y\n" + "".join(
        f"{smiles},1.{k}\n" for k, smiles in enumerate(["CO"] * 9 + ["C"])
    )
    (tmp_path / "one.csv").write_text(table)
    fields = {"data_file": str(tmp_path / "one.csv"), "targets": ["y"], "max_steps": 1}
    path = train(tiny(**fields))
    assert "one or two molecules: they are split one by one" in capsys.readouterr().err
    assert read_header(path).split == "8/1/1, seed 42, rows one by one"


def test_a_target_has_a_range(tiny):
    targets = [{"column": "dipole", "minimum": 0.0, "maximum": 1e-3}, "alpha"]
    with pytest.raises(InputError, match=r"dipole: expected a value from 0 to 0\.001, got \d"):
        train(tiny(targets=targets, max_steps=1))
    targets[0]["maximum"] = 50.0
    path = train(tiny(targets=targets, max_steps=1))
    dipole, alpha = load(path).properties
    assert (dipole.minimum, dipole.maximum) == (0.0, 50.0)
    assert not alpha.is_bounded
    assert predict(["CCO", "C"], path).dipole.between(0.0, 50.0).all()
    # A run without ranges is written as it was before there were any, so that it can be resumed.
    assert tiny().model_dump()["targets"][0].keys() == {
        "column",
        "unit",
        "head",
        "name",
        "description",
    }


@pytest.mark.parametrize(
    "targets",
    [["tox"], {"column": 3}, 7, [{"column": []}, {"name": "x"}, {"column": "é", "more": 1}]],
)
def test_whatever_a_header_says_of_targets(targets):
    assert _titles(targets) == ({"é": "é"} if isinstance(targets, list) and targets[1:] else {})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": []}, r"targets: expected at least 1 item, got \[\]"),
        ({"data_file": []}, r"data_file: expected at least 1 item, got \[\]"),
        ({"targets": [{"colum": "x"}]}, "'colum': no such key; did you mean 'column'"),
        ({"targets": [{"column": "x", "head": "average"}]}, "head: expected one of sum, mean"),
        ({"targets": ["a", "a"]}, "a"),
        (
            {"targets": [{"column": "x", "minimum": 1, "maximum": 0}]},
            "maximum: expected a number ab",
        ),
        ({"targets": [{"column": "x", "minimum": "none"}]}, "minimum: expected a number"),
        ({"targets": [3]}, "targets.0: expected keys with values, got 3"),
        ({"loss_weights": {"mu": 1.0}}, "loss_weights: expected some of dipole, alpha"),
        ({"conformers": 0}, "conformers: expected at least 1"),
    ],
)
def test_what_means_nothing_is_refused(tiny, fields, message):
    with pytest.raises((SettingError, ValueError), match=message):
        tiny(**fields)


def test_a_property_is_named_by_its_column():
    one = Target(column="V / Å³", unit="Å³/mol").property
    assert (one.name, one.column) == ("V_Å", "V_Å_Å__mol")
    assert Target(column="³").property.name == "value"


def test_a_unit_is_text():
    with pytest.raises(SettingError, match=r"unit: expected text, such as eV, or ''.*; got 1"):
        Target(column="logP", unit=1)


def test_a_part_without_a_value(tiny, tmp_path):
    (tmp_path / "few.csv").write_text("smiles,y,part\nC,1,train\nCC,2,test\nCCC,3,validation\n")
    fields = {"data_file": str(tmp_path / "few.csv"), "targets": ["y", "part"], "split": "part"}
    with pytest.raises(InputError, match="no row can be used; the first: part: expected a number"):
        train(tiny(**fields))
    (tmp_path / "few.csv").write_text("smiles,y,z,part\nC,1,1,train\nCC,2,2,test\nCCC,3,,val\n")
    fields["targets"] = ["y", "z"]
    with pytest.raises(InputError, match="few: no z in the validation part"):
        train(tiny(**fields))


def test_error_bars_from_smiles(tiny, capsys, tmp_path):
    """Calibrated for one and for more conformers, on validation molecules."""
    path = train(tiny(max_steps=2, validation_fraction=0.25, limit_train=30))
    config = tmp_path / "run" / "config.yaml"
    words = ["calibrate", "--model", str(path), "--data", str(config), "--limit", "14"]
    one_width = {name: Scale(1.0, 1.0, 2.0) for name in ("dipole", "alpha")}
    older = [Calibration(16, 20, one_width), Calibration(16, 20, one_width, engine="springs")]
    tell(path, {"calibration": list(map(asdict, older))})
    assert cli.main(words) == 0
    header = read_header(path)
    known = [(one.conformers, one.engine) for one in header.calibration]
    assert known == [(1, ""), (2, ""), (4, ""), (8, ""), (16, "springs")], "the others are anew"
    assert header.from_smiles.geometry == "smiles"
    assert set(header.from_smiles.coverage) == {"dipole_D", "alpha"}
    card = path.with_suffix(".md").read_text()
    assert "made from the SMILES" in card
    assert "qm9" not in card.lower()
    capsys.readouterr()
    assert cli.main(["evaluate", "--model", str(path), "--data", str(tmp_path / "mine.csv")]) == 0
    found = json.loads(capsys.readouterr().out)
    for data in (tmp_path / "mine.csv", config):
        one = ["--split", "train"] if data != config else ["--geometry", "smiles"]
        for words in (one, ["--energy-unit", "eV"], ["--no-check-units"]):
            asked = ["evaluate", "--model", str(path), "--data", str(data), *words]
            assert cli.main(asked) == 2
            name = words[0].replace("no-", "")
            assert f"{name}: means nothing for --data" in capsys.readouterr().err
    fewer = ["evaluate", "--model", str(path), "--data", str(config), "--conformers"]
    assert cli.main([*fewer, "300"]) == 2
    assert "conformers: expected 1 to 255, got 300" in capsys.readouterr().err
    answers = []
    for n in ("1", "4"):
        assert cli.main([*fewer, n]) == 0
        answers.append(json.loads(capsys.readouterr().out)["mae"])
    assert answers[0] != answers[1]
    assert (found["n"], found["labels"]) == (61, {"dipole_D": 40, "alpha": 61})
    assert cli.main(["predict", "CCO", "--model", str(path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["alpha_std"] > 0


def test_molecules_of_one_scaffold_are_in_one_part(tiny, tmp_path):
    data = TableDataModule(tiny(split="scaffold"))
    data.setup()
    families = [{scaffold(data.table.rows[row].smiles) for row in part} for part in data.rows]
    assert sum(map(len, families)) == len(set.union(*families)) > len(families)
    assert sum(map(len, data.rows)) == len(data.table.rows)
    path = train(tiny(split="scaffold", max_steps=1, limit_validation=4))
    assert read_header(path).split.endswith(", by scaffold, seed 42")


def test_a_scaffold_needs_a_smiles(tiny, tmp_path):
    (tmp_path / "xyz.extxyz").write_text(
        "".join(
            f"2\nProperties=species:S:1:pos:R:3 y={k}.0\nH 0 0 0\nF 0 0 0.9{k}\n" for k in range(5)
        )
    )
    config = tiny(data_file=str(tmp_path / "xyz.extxyz"), targets=["y"], split="scaffold")
    with pytest.raises(SettingError, match=r"the SMILES of each row, .*xyz\.extxyz:1 has"):
        train(config)
