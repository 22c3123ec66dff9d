"""Runs small enough to test."""

import csv

import pytest

from molgeo.training.qm9 import QM9Config

BACKBONE = {"n_features": 16, "n_filters": 16, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}


TINY = {
    "backbone": BACKBONE,
    "head_features": 8,
    "batch_size": 8,
    "max_epochs": 2,
    "warmup_steps": 3,
    "learning_rate": 5e-3,
    "accelerator": "cpu",
    "threads": 1,
    "save_every_steps": 4,
    "log_every_steps": 1,
}


@pytest.fixture(autouse=True)
def _no_name_is_taken(monkeypatch):
    """Runs of these tests may have the names that they get by themselves."""
    monkeypatch.setattr("molgeo.predictor.checkpoint.catalogue._shipped_folders", list)


@pytest.fixture
def tiny_run(tmp_path):
    """Fields of any run that is over in seconds."""
    return {"run_dir": str(tmp_path / "run"), **TINY}


@pytest.fixture
def tiny(small_data, tiny_run):
    """Make configs of a run over 51 real molecules, six steps an epoch."""

    def config(**fields):
        return QM9Config(**{"data_dir": str(small_data), **tiny_run, **fields})

    return config


@pytest.fixture
def metrics():
    """Read a run's log: (step, name) → text, exactly as written."""

    def read(run_dir):
        with (run_dir / "log" / "metrics.csv").open(newline="") as file:
            return {
                (int(row["step"]), name): value
                for row in csv.DictReader(file)
                for name, value in row.items()
                if value and name not in ("epoch", "step")
            }

    return read
