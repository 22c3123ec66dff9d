"""Every precision that a config takes trains, goes on and exports; others are refused at once."""

import dataclasses

import pytest
import torch
from small_models import small

from molgeo.predictor.checkpoint import load, read_header
from molgeo.predictor.header import Measured
from molgeo.runtime.errors import SettingError
from molgeo.training.config import read_config
from molgeo.training.finite import NotFiniteError
from molgeo.training.forces import ForceConfig
from molgeo.training.module import PropertyTraining
from molgeo.training.run import train

from .test_finite import with_bad_row
from .test_replayed_runs import Killed, assert_same_states
from .test_start import ETHANOL
from .test_states import states

DIMENET = {"model": "dimenet_pp", "backbone": dict(small("dimenet_pp").fields)}

replayed = pytest.mark.parametrize("replay", [False, True], ids=["parts", "whole steps"])


def assert_exports(path, folder):
    """The best averages, rounded to float32, which were evaluated."""
    predictor, best = load(path), states(folder)[1]["state_dict"]
    assert read_header(path).metrics != Measured()
    exported = predictor.state_dict()
    assert {p.dtype for p in predictor.parameters()} == {torch.float32}
    for name, weight in exported.items():
        there = best[f"predictor.{name}"]
        assert there.dtype == torch.float64, name
        assert torch.equal(weight.nan_to_num(7.0), there.to(weight.dtype).nan_to_num(7.0)), name
    assert not torch.equal(predictor.heads.out_weight.double(), best["predictor.heads.out_weight"])


@replayed
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_float64(tiny, tmp_path, metrics, monkeypatch, optimizer, replay):
    """The losses of float32 but for its rounding; a run that was killed goes on to the bit."""
    fields = {"optimizer": optimizer, "replay": replay, "learning_rate": 1e-3}
    folders = [tmp_path / name for name in ("whole", "killed", "single")]
    whole, killed = (
        tiny(run_dir=str(folder), precision="64-true", **fields) for folder in folders[:2]
    )
    path = train(whole)
    assert_exports(path, folders[0])
    original = PropertyTraining.training_step

    def stopped(self, batch, batch_idx):
        assert self.losses(batch)["train_loss"].dtype == torch.float64
        if self.global_step == 9:
            raise Killed
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, "training_step", stopped)
        with pytest.raises(Killed):
            train(killed)
    train(killed, resume=True)
    assert_same_states(*folders[:2])
    assert metrics(folders[0]) == metrics(folders[1])

    train(tiny(run_dir=str(folders[2]), **fields))
    logs = [{k: float(v) for k, v in metrics(f).items() if "loss" in k[1]} for f in folders[1:]]
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)
    assert logs[0] != logs[1]


@replayed
def test_float64_forces(tiny_run, tmp_path, replay):
    about = {"data_name": "e", "data_file": [str(ETHANOL)], "energy_unit": "kcal/mol"}
    config = ForceConfig(**tiny_run, **about, precision="64-true", replay=replay)
    assert_exports(train(config), tmp_path / "run")


def test_a_bad_validation_in_float64(tiny, monkeypatch):
    def infinite(molecules, row):
        y = molecules.y.clone()
        y[row] = torch.inf
        return dataclasses.replace(molecules, y=y)

    setup = with_bad_row("validation", infinite)
    monkeypatch.setattr("molgeo.data.qm9.datamodule.QM9DataModule.setup", setup)
    with pytest.raises(NotFiniteError) as error:
        train(tiny(max_epochs=1, precision="64-true", **DIMENET))
    assert f"look at molecule {setup.idx} of the data" in str(error.value)


@pytest.mark.filterwarnings("ignore:.*AMP with fp16 is not supported on CPU")
def test_half_precision_is_mixed(tiny, tmp_path):
    path = train(tiny(max_epochs=1, precision="16-mixed", optimizer="muon"))
    assert {p.dtype for p in load(path).parameters()} == {torch.float32}
    kept = states(tmp_path / "run")[0]["current_model_state"].values()
    assert {x.dtype for x in kept} == {torch.float32, torch.float64}


@pytest.mark.parametrize("other", ["bf16-true", "16-true", "transformer-engine", "16", "[32]"])
def test_others_are_refused(other):
    told = "^precision: expected one of 32-true, 64-true, 16-mixed, bf16-mixed, got"
    with pytest.raises(SettingError, match=told):
        read_config(None, ["data=qm9", f"precision={other}"])


@pytest.mark.parametrize("bits", ["32", "64"])
def test_numbers_of_bits(bits):
    """As YAML reads them, and as Lightning calls them."""
    assert read_config(None, ["data=qm9", f"precision={bits}"]).precision == f"{bits}-true"
    assert read_config(None, ["data=qm9", f"precision='{bits}'"]).precision == f"{bits}-true"
