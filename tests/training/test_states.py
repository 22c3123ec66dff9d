"""A run that stops in time goes on as if it had not, and one that ends by steps is validated."""

import pytest
import torch
from lightning.pytorch import Trainer

from molgeo.predictor.checkpoint import load, read_header
from molgeo.predictor.header import Measured
from molgeo.training.module import PropertyTraining
from molgeo.training.run import train
from molgeo.training.states import KeptState, TimeIsUp

STEPS = [1, 2, 3, 1, 1, 1, 3, 2, 1, 3]
"""Of each call: of its ten stops three are at ends of epochs, which have six steps."""


class Killed(BaseException):
    """In place of a signal."""


@pytest.fixture
def a_minute_a_step(monkeypatch):
    """A clock that is looked at once when a run begins, then after every step."""

    class Clock:
        minutes = 0

        def __call__(self):
            self.minutes += 1
            return 60.0 * self.minutes

    monkeypatch.setattr("molgeo.training.states.monotonic", Clock())


def states(folder):
    return [torch.load(folder / f"{n}.ckpt", weights_only=True) for n in ("last", "best")]


def tensors_of(tree, name=""):
    """Every tensor of nested dictionaries and lists, by its place."""
    if isinstance(tree, torch.Tensor):
        yield name, tree
    elif isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from tensors_of(value, f"{name}.{key}")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    "end", [{"max_epochs": 4}, {"max_epochs": 50, "max_steps": 20}], ids=["epochs", "steps"]
)
def test_stopped_ten_times(tiny, tmp_path, metrics, a_minute_a_step, capsys, optimizer, end):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    fields = {"optimizer": optimizer, "schedule": "stable", "save_every_steps": 5, **end}
    expected = train(tiny(run_dir=str(whole), **fields))
    assert "max_minutes" not in capsys.readouterr().err

    done = 0
    for number, steps in enumerate(STEPS):
        path = train(tiny(run_dir=str(parts), max_minutes=steps, **fields), resume=number > 0)
        done += steps
        assert f"molgeo: stopped after step {done}, " in capsys.readouterr().err
        header = read_header(path)
        assert header.interrupted
        assert header.metrics == Measured(), "measured on the test part at the end alone"
        assert header.steps == done // 6 * 6 or done
        assert torch.load(parts / "last.ckpt", weights_only=True)["global_step"] == done
    path = train(tiny(run_dir=str(parts), **fields), resume=True)
    assert not read_header(path).interrupted
    assert read_header(path).metrics == read_header(expected).metrics != Measured()

    assert metrics(parts) == metrics(whole)
    for got, wanted in zip(states(parts), states(whole), strict=True):
        for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states"):
            ours, theirs = dict(tensors_of(got[part])), dict(tensors_of(wanted[part]))
            assert set(ours) == set(theirs)
            for name, tensor in theirs.items():
                assert torch.equal(ours[name].nan_to_num(7.0), tensor.nan_to_num(7.0)), name
    for a, b in zip(load(path).parameters(), load(expected).parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_call_makes_a_step(tiny, tmp_path):
    """However few its minutes are."""
    config = tiny(max_minutes=1e-9, batch_size=51)
    for number in range(2):
        train(config, resume=number > 0)
        state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
        assert state["global_step"] == number + 1


def test_the_last_step_is_validated(tiny, metrics, tmp_path):
    """A schedule that ends in the middle of an epoch: its end is what is exported."""
    fields = {"max_epochs": 50, "max_steps": 9, "schedule": "stable", "decay_fraction": 0.5}
    header = read_header(train(tiny(**fields)))
    log = metrics(tmp_path / "run")
    assert max(step for step, _ in log) == 8
    assert [step for step, name in log if name == "val_loss"] == [5, 8]
    rates = [float(log[step, "lr-AdamW"]) for step in range(9)]
    assert rates[8] == pytest.approx(5e-3 / 5), "one step before zero"
    assert float(log[8, "val_loss"]) < float(log[5, "val_loss"])
    assert header.steps == 9
    assert header.validation_loss == pytest.approx(float(log[8, "val_loss"]))


def test_a_run_killed_before_its_last_validation_has_it_when_resumed(
    tiny, tmp_path, metrics, monkeypatch
):
    """No state is saved between the last step and its validation."""
    fields = {"max_steps": 9, "save_every_steps": 3, "schedule": "constant"}
    whole = train(tiny(run_dir=str(tmp_path / "whole"), **fields))
    original = PropertyTraining.validation_step

    def killed(self, batch, batch_idx):
        if self.global_step == 9:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, "validation_step", killed)
        with pytest.raises(Killed):
            train(tiny(**fields))
    path = train(tiny(**fields), resume=True)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    for a, b in zip(load(path).parameters(), load(whole).parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_of_few_steps_that_is_finished_makes_no_more(tiny, tmp_path, metrics):
    exported = train(tiny(max_steps=3))
    before, log = exported.read_bytes(), metrics(tmp_path / "run")
    train(tiny(max_steps=3), resume=True)
    assert exported.read_bytes() == before
    assert metrics(tmp_path / "run") == log


def test_a_finished_run_is_made_longer(tiny, tmp_path, metrics):
    train(tiny(max_steps=3, max_epochs=50, schedule="constant"))
    train(tiny(max_steps=14, max_epochs=50, schedule="constant"), resume=True)
    log = metrics(tmp_path / "run")
    assert [step for step, name in log if name == "train_loss"] == list(range(14))
    assert (13, "val_loss") in log


def test_the_best_is_known_where_the_folder_has_moved(tmp_path):
    """Lightning would take the next state for the best, however bad."""
    options = {"monitor": "val_loss", "save_top_k": 1, "enable_version_counter": False}
    before, after = (KeptState(tmp_path / name, "best", **options) for name in ("a", "b"))
    before.best_model_score = before.kth_value = torch.tensor(0.1)
    before.best_model_path = before.kth_best_model_path = str(tmp_path / "a" / "best.ckpt")
    before.best_k_models = {before.best_model_path: torch.tensor(0.1)}
    after.load_state_dict(before.state_dict())
    assert after.best_model_score == 0.1
    assert after.best_model_path == str(tmp_path / "b" / "best.ckpt")
    assert after.best_k_models == {after.best_model_path: torch.tensor(0.1)}
    trainer = Trainer(logger=False, accelerator="cpu")
    assert not after.check_monitor_top_k(trainer, torch.tensor(0.2))
    assert after.check_monitor_top_k(trainer, torch.tensor(0.05))


def test_a_stop_tells_the_pace_of_the_last_steps():
    assert "3 are over; --resume goes on" in str(TimeIsUp(7, 3.0))
    assert "3 are over, at 0.0123 s per step; --resume" in str(TimeIsUp(700, 3.0, 0.01234))
