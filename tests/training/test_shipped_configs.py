"""``molgeo train --config configs/X.yaml`` starts in a folder that has the data."""

import shutil
from pathlib import Path

import pytest

from molgeo.cli import program as cli
from molgeo.training.module import Training

ROOT = Path(__file__).parents[2]
MODELS = ("painn", "spherenet", "comenet", "gemnet", "gemnet_q")
PATHS = [ROOT / "configs" / f"{model}_{data}.yaml" for data in ("qm9", "rmd17") for model in MODELS]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_config_starts_without_further_flags(path, small_data, tmp_path, monkeypatch, capsys):
    (tmp_path / "data" / "rmd17").mkdir(parents=True)
    shutil.copytree(small_data / "qm9", tmp_path / "data" / "qm9")
    shutil.copy(ROOT / "tests" / "fixtures" / "forces" / "ethanol.npz", tmp_path / "data" / "rmd17")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOLGEO_DATA", str(tmp_path / "data"))
    losses, step = [], Training.training_step

    def counted(self, *batch):
        if len(losses) == 2:
            raise RuntimeError("two steps are enough")
        losses.append(step(self, *batch))
        return losses[-1]

    monkeypatch.setattr(Training, "training_step", counted)
    assert cli.main(["train", "--config", f"configs/{path.name}"]) == 1
    assert "two steps are enough" in capsys.readouterr().err
    assert [loss.isfinite().item() for loss in losses] == [True, True]
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert run_dir.name.startswith(path.stem)
