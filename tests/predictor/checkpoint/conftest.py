"""Checkpoints to take apart."""

import shutil
from pathlib import Path

import pytest
from checkpoint_files import small_predictor

from molgeo.predictor.checkpoint import save_checkpoint


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A small checkpoint that must stay as it is."""
    path = tmp_path_factory.mktemp("written") / "small.safetensors"
    save_checkpoint(small_predictor(), path, {"data": "QM9", "note": "Å, ⟨R²⟩"})
    return path


@pytest.fixture
def path(written, tmp_path):
    """A copy of it."""
    return Path(shutil.copy(written, tmp_path / "small.safetensors"))
