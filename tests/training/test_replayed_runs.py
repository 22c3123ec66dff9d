"""Runs that make whole steps are runs like others, with every callback."""

import sys

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from no_waiting import no_waiting
from small_models import small
from static_replay import StaticReplay

from molgeo import models
from molgeo.data.loader import FlatLoader
from molgeo.predictor.checkpoint import load, read_header
from molgeo.predictor.header import Measured
from molgeo.runtime.errors import SettingError
from molgeo.training import whole_step
from molgeo.training.finite import Finite, NotFiniteError
from molgeo.training.forces import ForceConfig
from molgeo.training.module import PropertyTraining, Training
from molgeo.training.qm9 import QM9Task
from molgeo.training.run import train
from molgeo.training.whole_step import WholeStep, is_replayed

from .test_finite import explode_at
from .test_start import ETHANOL
from .test_states import states, tensors_of


class Killed(BaseException):
    """In place of a signal."""


def assert_same_states(folder, other):
    for got, wanted in zip(states(folder), states(other), strict=True):
        assert got["global_step"] == wanted["global_step"] == averaged_until(got)
        for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
            ours, theirs = dict(tensors_of(got[part])), dict(tensors_of(wanted[part]))
            assert set(ours) == set(theirs)
            for name, tensor in theirs.items():
                assert torch.equal(ours[name].nan_to_num(7.0), tensor.nan_to_num(7.0)), name


def averaged_until(state):
    """The last step whose weights are in the averages; a run that goes on takes no step twice."""
    return state["callbacks"]["WeightAveraging"]["latest_update_step"]


def losses(log):
    return {place: float(value) for place, value in log.items() if "loss" in place[1]}


@pytest.fixture
def recorded(monkeypatch):
    """Steps captured as on a card, by what stands in for CUDA graphs; their number."""
    calls = []

    def capture(function):
        function()
        calls.append(StaticReplay.capture(function))
        return calls[-1]

    monkeypatch.setattr(whole_step, "capture_on", lambda device: capture)
    return calls


@pytest.mark.parametrize(
    ("model", "optimizer"), [("schnet", "muon"), *((name, "adamw") for name in models.names())]
)
def test_losses_are_those_of_other_runs(
    tiny, tmp_path, metrics, monkeypatch, model, optimizer, device
):
    """Over 54 steps, which change the last digits: padding, order of sums, type of the rate."""
    padded, made = [], WholeStep.__call__

    def watched(self, batch):
        padded.append(batch.capacity is not None)
        return made(self, batch)

    monkeypatch.setattr(WholeStep, "__call__", watched)
    logs, fields = [], {"max_epochs": 9, "optimizer": optimizer, "learning_rate": 1e-3}
    fields |= {"model": model, "backbone": dict(small(model).fields)}
    if device.type == "cuda":
        fields["accelerator"] = "gpu"  # whose sums have another order each time
    for replay in (True, False):
        folder = tmp_path / str(replay)
        train(tiny(run_dir=str(folder), replay=replay, **fields))
        logs.append(losses(metrics(folder)))
    replayed, other = logs
    assert len(other) == 54 + 9
    # Of gradients that are rounding alone AdamW makes steps like others.
    tolerance = 1e-2 if device.type == "cuda" else 1e-3
    assert replayed == pytest.approx(other, rel=tolerance)
    assert sum(padded) > 50


def test_steps_that_are_captured_are_those_that_are_computed(tiny, tmp_path, metrics, recorded):
    """A whole run, to the last bit."""
    config = {"replay": True, "optimizer": "muon", "max_epochs": 3, "patience": 5}
    train(tiny(run_dir=str(tmp_path / "captured"), **config))
    assert recorded
    n = len(recorded)
    whole_step.capture_on = lambda device: None
    train(tiny(run_dir=str(tmp_path / "computed"), **config))
    assert len(recorded) == n
    assert metrics(tmp_path / "captured") == metrics(tmp_path / "computed")
    assert_same_states(tmp_path / "captured", tmp_path / "computed")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("captured", [False, True])
def test_a_run_that_was_killed_goes_on(
    tiny, tmp_path, metrics, monkeypatch, request, optimizer, captured
):
    """With the very bits that it would have had; its steps are captured anew."""
    if captured:
        request.getfixturevalue("recorded")
    fields = {"replay": True, "max_epochs": 3, "optimizer": optimizer, "schedule": "stable"}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train(tiny(run_dir=str(whole), **fields))
    original = PropertyTraining.training_step
    for number, victim in enumerate((5, 9, 13)):

        def killed(self, batch, batch_idx, victim=victim):
            if self.global_step == victim:
                raise Killed
            return original(self, batch, batch_idx)

        with monkeypatch.context() as patch:
            patch.setattr(PropertyTraining, "training_step", killed)
            with pytest.raises(Killed):
                train(tiny(run_dir=str(parts), **fields), resume=number > 0)
    path = train(tiny(run_dir=str(parts), **fields), resume=True)
    assert metrics(parts) == metrics(whole)
    assert_same_states(parts, whole)
    assert read_header(path).metrics == read_header(expected).metrics != Measured()
    for a, b in zip(load(path).parameters(), load(expected).parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_on_the_device_goes_on(tiny, tmp_path, metrics, device):
    """To the bit on a CPU; on a card sums have another order each time."""
    fields = {"replay": True, "optimizer": "muon", "max_steps": 12, "schedule": "stable"}
    if device.type == "cuda":
        fields["accelerator"] = "gpu"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(tiny(run_dir=str(whole), **fields))
    for resume in (False, True):
        train(tiny(run_dir=str(parts), max_minutes=1e-9, **fields), resume=resume)
    path = train(tiny(run_dir=str(parts), **fields), resume=True)
    expected = losses(metrics(whole))
    assert losses(metrics(parts)) == pytest.approx(
        expected, rel=1e-2 if device.type == "cuda" else 0.0
    )
    assert len(expected) > 3
    assert all(p.device.type == "cpu" and p.isfinite().all() for p in load(path).parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("first", [True, False], ids=["from a card", "to a card"])
def test_a_run_that_goes_on_elsewhere(tiny, tmp_path, metrics, optimizer, first):
    """``auto`` means one thing on a card and another one beside it; states serve both."""
    fields = {"optimizer": optimizer, "learning_rate": 1e-3, "max_epochs": 50, "schedule": "stable"}
    folder = tmp_path / "moved"
    train(tiny(run_dir=str(folder), replay=first, max_minutes=1e-9, max_steps=12, **fields))
    for _ in range(3):
        train(
            tiny(run_dir=str(folder), replay=first, max_minutes=1e-9, max_steps=12, **fields),
            resume=True,
        )
    train(tiny(run_dir=str(folder), replay=not first, max_steps=12, **fields), resume=True)
    train(tiny(run_dir=str(tmp_path / "one"), replay=False, max_steps=12, **fields))
    moved, one = metrics(folder), metrics(tmp_path / "one")
    assert losses(moved) == pytest.approx(losses(one), rel=1e-5)
    assert set(moved) == set(one)
    rates = [name for _, name in one if name.startswith("lr")]
    assert rates
    for place in one:
        if place[1] in rates:
            assert float(moved[place]) == pytest.approx(float(one[place]), rel=1e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_between_rows_of_the_log_nothing_waits(tiny, tmp_path, monkeypatch, optimizer):
    """Neither the step nor Lightning's loop and the callbacks, once a batch is there."""
    steps, advance = [], _TrainingEpochLoop.advance

    def watched(self, fetcher):
        step = self.global_step + 1
        if step == 1 or step % 4 == 0:  # the first makes what is kept, each fourth is logged
            advance(self, fetcher)
            return
        with no_waiting():
            advance(self, fetcher)
        steps.append(step)

    made = FlatLoader.__iter__
    monkeypatch.setattr(FlatLoader, "__iter__", lambda self: iter(list(made(self))))
    monkeypatch.setattr(_TrainingEpochLoop, "advance", watched)
    monkeypatch.setattr(Finite, "_looks_at_each", lambda self, trainer: False)  # as on a card
    train(tiny(replay=True, log_every_steps=4, save_every_steps=100, optimizer=optimizer))
    assert steps == [2, 3, 5, 6, 7, 9, 10, 11]


def test_forces(tiny_run, tmp_path, metrics):
    about = {"data_name": "e", "data_file": [str(ETHANOL)], "energy_unit": "kcal/mol"}
    logs = []
    for replay in (True, False):
        fields = {**tiny_run, **about, "run_dir": str(tmp_path / str(replay)), "replay": replay}
        train(ForceConfig(**{**fields, "learning_rate": 1e-3}))
        logs.append(losses(metrics(tmp_path / str(replay))))
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
    assert any(name == "train_loss_forces" for _, name in logs[0])


def test_mixed_precision(tiny, tmp_path, metrics):
    logs = []
    for replay in (True, False):
        folder = tmp_path / str(replay)
        train(tiny(run_dir=str(folder), replay=replay, precision="bf16-mixed"))
        logs.append(losses(metrics(folder)))
    assert logs[0] == pytest.approx(logs[1], rel=0.02)


@pytest.mark.parametrize("step", [5, 9])
def test_a_run_ends_at_its_first_nan(tiny, tmp_path, monkeypatch, step):
    monkeypatch.setattr(PropertyTraining, "training_step", explode_at(step))
    with pytest.raises(NotFiniteError, match=rf"stopped at step {step}, learning rate \S+: the"):
        train(tiny(replay=True, max_epochs=3, save_every_steps=4))
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert last["global_step"] == step - 1
    for name, tensor in last["current_model_state"].items():
        assert name.endswith("atom_reference") or tensor.isfinite().all(), name


def test_a_training_step_of_ones_own(tiny, monkeypatch):
    """Steps of which Lightning does nothing and the module does nothing are no training."""

    def own(self, batch, batch_idx):
        return self.losses(batch)["train_loss"]

    monkeypatch.setattr(PropertyTraining, "training_step", own)
    with pytest.raises(SettingError, match="PropertyTraining has a training_step of its own"):
        train(tiny(replay=True))
    train(tiny(replay=False))


class PlainLosses(Training):
    """A stranger's, which takes all labels for known."""

    def losses(self, batch):
        p, graph = self.predictor, batch.graph(self.predictor.cutoff)
        labels = p.to_standardised(batch.y, batch.z, batch.pos, graph)
        return {"train_loss": (p.standardised(batch.z, batch.pos, graph) - labels).abs().mean()}

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.losses(batch)["train_loss"], batch_size=len(batch.y))


def test_losses_that_take_all_labels_for_known(tiny, tmp_path, metrics, monkeypatch, recorded):
    """Are given no padding, which has none, so that no step is captured."""
    monkeypatch.setattr(QM9Task, "module", lambda self, p: PlainLosses(p, self.config))
    train(tiny(replay=True, max_epochs=1))
    assert not recorded
    assert len(losses(metrics(tmp_path / "run"))) == 7


def test_a_rate_that_is_no_tensor_is_not_captured(tiny, monkeypatch, recorded):
    def own(self):
        return torch.optim.SGD(self.parameters(), 1e-3)

    monkeypatch.setattr(PropertyTraining, "configure_optimizers", own)
    monkeypatch.setattr("molgeo.training.run.LearningRateMonitor", lambda _: Callback())
    train(tiny(replay=True, max_epochs=1))
    assert not recorded


@pytest.mark.parametrize("rich", [True, False])
def test_bars_show_a_loss(tiny, monkeypatch, capsys, rich):
    if not rich:
        monkeypatch.setattr("molgeo.training.progress_bar.find_spec", lambda _: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(tiny(replay=True, max_epochs=1))
    shown = capsys.readouterr()
    assert "train_loss" in shown.err + shown.out


def test_who_replays(tiny, monkeypatch):
    assert not is_replayed(tiny())
    assert is_replayed(tiny(replay=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not is_replayed(tiny())  # on a CPU
    assert is_replayed(tiny(accelerator="auto"))
    assert is_replayed(tiny(accelerator="gpu", precision="bf16-mixed"))
    for other in (
        {"devices": 2},
        {"strategy": "ddp"},
        {"precision": "16-mixed"},
        {"precision": "64-true"},
        {"replay": False},
    ):
        assert not is_replayed(tiny(**{"accelerator": "auto", **other}))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"devices": 2}, "replay: steps are replayed on one device, got devices 2"),
        ({"strategy": "ddp"}, "replay: steps are replayed on one device, got strategy ddp"),
        ({"precision": "16-mixed"}, "replay: in 16-mixed"),
    ],
)
def test_what_cannot_be_replayed_is_refused(tiny, fields, told):
    with pytest.raises(SettingError, match=told):
        tiny(replay=True, **fields)


def test_a_slip_is_told(tiny):
    with pytest.raises(SettingError, match="replay: expected true or false or auto, got 'yes'"):
        tiny(replay="yes")
