"""A run that was killed goes on as if nothing had happened."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest
import torch

from molgeo.predictor.checkpoint import load
from molgeo.training.module import PropertyTraining
from molgeo.training.run import train

RUN = """
import json, os, signal, sys
sys.modules["torch_geometric"] = None  # training needs nothing of it
from molgeo.training.qm9 import QM9Config
from molgeo.training.module import PropertyTraining
from molgeo.training.run import train

fields, victim = json.loads(sys.argv[1]), int(sys.argv[2])
step = PropertyTraining.training_step

def training_step(self, batch, batch_idx):
    if self.global_step == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)

PropertyTraining.training_step = training_step
if __name__ == "__main__":
    train(QM9Config(**fields))
"""


class Killed(BaseException):
    """In place of a signal, where a process of its own would take too long."""


@pytest.fixture
def uninterrupted(tiny, tmp_path, metrics):
    """Log, last and best state of a run of its own."""
    folder = tmp_path / "uninterrupted"
    train(tiny(run_dir=str(folder), max_epochs=3))
    return metrics(folder), *states(folder)


def states(folder):
    return [torch.load(folder / f"{n}.ckpt", weights_only=True) for n in ("last", "best")]


def assert_same(folder, expected, metrics):
    """Every logged number as it is written, and every weight, bit for bit."""
    log, *saved = expected
    assert metrics(folder) == log
    for got, state in zip(states(folder), saved, strict=True):
        assert got["global_step"] == state["global_step"]
        for part in ("state_dict", "current_model_state"):
            for name, weight in state[part].items():
                other = got[part][name]
                assert torch.equal(other.nan_to_num(7.0), weight.nan_to_num(7.0)), name


def test_resumed_after_kill_9(tiny, tmp_path, metrics, uninterrupted):
    folder = tmp_path / "run"
    config = tiny(max_epochs=3, name="schnet-qm9")
    victim = random.Random(20).choice([7, 8, 9, 10, 13, 14, 15, 16])  # in the middle of an epoch
    (tmp_path / "child.py").write_text(RUN)
    done = subprocess.run(
        [
            sys.executable,
            tmp_path / "child.py",
            json.dumps(config.model_dump()),
            str(victim),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (folder / "last.ckpt").exists()
    assert not (folder / "schnet-qm9.safetensors").exists()
    exported = train(config, resume=True)
    assert_same(folder, uninterrupted, metrics)
    reference = load(tmp_path / "uninterrupted" / "schnet-qm9.safetensors")
    for a, b in zip(load(exported).parameters(), reference.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("hook", "step", "every"),
    [
        ("training_step", 6, 4),  # an epoch's first step
        ("training_step", 5, 2),  # its last
        ("validation_step", 12, 3),  # between last step and validation
        ("validation_step", 18, 6),  # the run's last validation
        ("training_step", 17, 100),  # saved at ends of epochs alone
    ],
)
def test_resumed_from_anywhere(
    tiny, tmp_path, metrics, monkeypatch, uninterrupted, hook, step, every
):
    original = getattr(PropertyTraining, hook)

    def killed(self, batch, batch_idx):
        if self.global_step == step:
            raise Killed
        return original(self, batch, batch_idx)

    config = tiny(max_epochs=3, save_every_steps=every)
    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, hook, killed)
        with pytest.raises(Killed):
            train(config)
    train(config, resume=True)
    assert_same(tmp_path / "run", uninterrupted, metrics)


def test_resuming_a_finished_run_changes_nothing(tiny, tmp_path, metrics):
    exported = train(tiny())
    weights = [p.clone() for p in load(exported).parameters()]
    log = metrics(tmp_path / "run")
    train(tiny(), resume=True)
    assert metrics(tmp_path / "run") == log
    for a, b in zip(load(exported).parameters(), weights, strict=True):
        assert torch.equal(a, b)


def test_two_processes(tiny, tmp_path, metrics):
    """``devices: 2, strategy: ddp``: the processes share the data, and validate all of it."""
    config = tiny(devices=2, strategy="ddp", batch_size=4, max_epochs=1, name="schnet-qm9")
    (tmp_path / "child.py").write_text(RUN)
    done = subprocess.run(
        [sys.executable, tmp_path / "child.py", json.dumps(config.model_dump()), "-1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert "sync_dist" not in done.stderr
    log = metrics(tmp_path / "run")
    assert max(step for step, _ in log) == 5  # 51 // 2 // 4 steps
    assert float(log[5, "val_loss"]) > 0
    load(tmp_path / "run" / "schnet-qm9.safetensors")
