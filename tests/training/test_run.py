"""Whole runs: what they leave behind, and what they refuse."""

import dataclasses
import math

import pytest
import torch
import yaml
from lightning.pytorch import Trainer

from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import NAMES, PROPERTIES, named
from molgeo.predictor.checkpoint import load, read_header
from molgeo.training.module import PropertyTraining
from molgeo.training.qm9 import QM9Config
from molgeo.training.run import train


def validation_errors(predictor, data_dir):
    """MAE of every property over the validation part, in published units, molecule by molecule."""
    data = QM9(data_dir / "qm9")
    rows = data.split().validation
    errors = {name: [] for name in predictor.property_names}
    for row in rows.tolist():
        item = data[row]
        with torch.no_grad():
            out = predictor(item.z, item.pos)
        for name in predictor.property_names:
            label = item.y[0, data.molecules.properties.index(name)]
            errors[name].append(abs(float(out[name]) - float(label)))
    return {name: sum(e) / len(e) for name, e in errors.items()}


def test_a_run_leaves_config_log_and_model(tiny, metrics, small_data, tmp_path, capsys):
    config = tiny(max_epochs=3)
    exported = train(config)
    assert exported == tmp_path / "run" / "schnet-qm9.safetensors"
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert QM9Config(**written) == config, "the resolved configuration, defaults included"

    log = metrics(tmp_path / "run")
    assert [(s, "train_loss") in log for s in range(18)] == [True] * 18
    assert (17, "lr-AdamW") in log
    for s in (5, 11, 17):
        columns = {f"val_mae_{PROPERTIES[p].column}" for p in NAMES}
        assert columns <= {name for t, name in log if t == s}
    assert float(log[17, "val_loss"]) < float(log[5, "val_loss"])

    predictor = load(exported)
    assert predictor.property_names == NAMES
    header = read_header(exported)
    assert header.steps == 18
    assert header.validation_loss == pytest.approx(float(log[17, "val_loss"]))
    assert header.n_train == 51
    assert not header.interrupted
    assert header.metrics.n == 5, "measured on the whole test part"
    assert exported.with_suffix(".md").exists()
    # The averaged weights are those validated and saved: the exported model has the logged errors.
    for name, error in validation_errors(predictor, small_data).items():
        if name in ("u298", "h298"):
            continue  # the exported model couples them by H = U + kT
        logged = float(log[17, f"val_mae_{PROPERTIES[name].column}"])
        assert error == pytest.approx(logged, rel=2e-4, abs=1e-6)
    assert "Tip" not in capsys.readouterr().err


def test_averaged_weights_differ_from_the_last(tiny, tmp_path):
    train(tiny())
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    key = "predictor.backbone.embedding.weight"
    assert not torch.equal(state["state_dict"][key], state["current_model_state"][key])


def test_one_target(tiny, metrics, tmp_path):
    path = train(tiny(properties=["gap"], max_epochs=1, name="gap-only"))
    assert path.name == "gap-only.safetensors"
    assert load(path).property_names == ("gap",)
    columns = {n for _, n in metrics(tmp_path / "run") if n.startswith("val_mae")}
    assert columns == {"val_mae_gap_eV"}


def test_limits(tiny, metrics, tmp_path):
    path = train(tiny(limit_train=16, limit_validation=3, max_epochs=50, max_steps=3))
    assert read_header(path).n_train == 16
    assert max(step for step, _ in metrics(tmp_path / "run")) == 2


def test_a_run_shorter_than_an_epoch(tiny):
    header = read_header(train(tiny(max_steps=3)))
    assert header.steps == 3
    assert header.validation_loss > 0


def test_edges_of_a_short_run(tiny, tmp_path, monkeypatch):
    """Of molecules that are trained on; of all if several devices have other batches each."""
    known = []

    def fit(trainer, module, data, **_):
        known.append(data._placed.neighbours.knows(data.parts.train.numpy()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", fit)
    for devices, strategy in ((1, "auto"), (2, "ddp")):
        folder = str(tmp_path / strategy)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(run_dir=folder, max_steps=2, devices=devices, strategy=strategy))
    assert known == [False, True]


def test_loss_weights(tiny):
    from molgeo.predictor import Predictor

    config = tiny(properties=["gap", "mu"], loss_weights={"gap": 3.0})
    predictor = Predictor("schnet", config.backbone, named(config.properties), 8)
    module = PropertyTraining(predictor, config)
    assert module.loss_weights.tolist() == [0.75, 0.25]


def test_early_stop(tiny, metrics, tmp_path):
    """A learning rate of zero improves nothing."""
    train(tiny(learning_rate=0.0, weight_decay=0.0, patience=2, max_epochs=20))
    assert max(step for step, _ in metrics(tmp_path / "run")) == 3 * 6 - 1


def test_bfloat16(tiny, metrics, tmp_path):
    path = train(tiny(precision="bf16-mixed", max_epochs=1))
    assert math.isfinite(float(metrics(tmp_path / "run")[5, "val_loss"]))
    assert {p.dtype for p in load(path).parameters()} == {torch.float32}


def test_schedule_reaches_the_optimizer(tiny, metrics, tmp_path):
    train(tiny(schedule="cosine", warmup_steps=3, max_epochs=1))
    log = metrics(tmp_path / "run")
    rates = [float(log[step, "lr-AdamW"]) for step in range(6)]
    peak = 5e-3
    expected = [
        peak / 3,
        peak * 2 / 3,
        peak,
        *(0.5 * peak * (1 + math.cos(math.pi * t / 3)) for t in (0, 1, 2)),
    ]
    assert rates == pytest.approx(expected)


def test_amsgrad_and_no_clipping(tiny, tmp_path):
    train(tiny(amsgrad=True, clip_norm=0.0, max_epochs=1))
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert "max_exp_avg_sq" in state["optimizer_states"][0]["state"][0]


def test_an_interrupted_run_exports_its_best(tiny, monkeypatch, tmp_path):
    """What Lightning makes of SIGINT: an exit, after which the best weights are there."""
    original = PropertyTraining.training_step

    def interrupted(self, batch, batch_idx):
        if self.global_step == 8:
            raise KeyboardInterrupt
        return original(self, batch, batch_idx)

    monkeypatch.setattr(PropertyTraining, "training_step", interrupted)
    monkeypatch.setattr(
        "lightning.pytorch.trainer.call.signal.signal", lambda *_: None
    )  # or this process would ignore SIGINT from here on
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        train(tiny())
    header = read_header(tmp_path / "run" / "schnet-qm9.safetensors")
    assert header.interrupted
    assert header.steps == 6
    load(tmp_path / "run" / "schnet-qm9.safetensors")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"properties": ["gap", "colour"]}, "'colour'"),
        ({"loss_weights": {"gpa": 2.0}}, "loss_weights: .*gpa"),
        ({"backbone": {"n_block": 2}}, "'n_block'; did you mean 'n_blocks'"),
        ({"model": "schnett"}, "'schnett'; did you mean 'schnet'"),
        ({"data_dir": "nowhere"}, "molgeo data prepare qm9"),
    ],
)
def test_refused(tiny, fields, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        train(tiny(**fields))


def test_nan_labels_are_refused(tiny, monkeypatch):
    class Damaged(QM9):
        def __init__(self, root):
            super().__init__(root)
            y = self.molecules.y.clone()
            y[self.split().train[0]] = torch.nan
            self.molecules = dataclasses.replace(self.molecules, y=y)

    monkeypatch.setattr("molgeo.data.qm9.datamodule.QM9", Damaged)
    with pytest.raises(ValueError, match="labels: expected numbers, got NaN"):
        train(tiny())


def test_nothing_to_resume(tiny):
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        train(tiny(), resume=True)


def test_a_run_is_not_overwritten(tiny):
    train(tiny(max_epochs=1))
    with pytest.raises(FileExistsError, match="--resume"):
        train(tiny(max_epochs=1))


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_size", 5), ("properties", ["gap", "homo"]), ("seed", 7), ("head_features", 9)],
)
def test_a_run_is_not_resumed_as_another(tiny, field, value):
    exported = train(tiny(max_epochs=1))
    before = exported.read_bytes()
    with pytest.raises(ValueError, match=rf"--resume: {field} was .* and is .* now"):
        train(tiny(max_epochs=2, **{field: value}), resume=True)
    assert exported.read_bytes() == before


def test_the_precision_of_a_run_ends_with_it(tiny):
    train(tiny(max_epochs=1, matmul_precision="medium"))
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch_size", 0), ("limit_train", -5), ("max_epochs", -2), ("decay_fraction", 1.5)],
)
def test_numbers_that_mean_nothing_are_refused(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: expected .* got {value}"):
        QM9Config(**{field: value})
