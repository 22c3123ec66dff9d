"""Runs that learn forces which are not the gradient of the energy."""

from pathlib import Path

import pytest
import torch
from small_models import small

from molgeo.evaluation import info
from molgeo.predictor.checkpoint import load
from molgeo.runtime.errors import SettingError
from molgeo.training.forces import ForceConfig
from molgeo.training.run import train

ETHANOL = Path(__file__).parents[1] / "fixtures" / "forces" / "ethanol.npz"
BACKBONE = small("gemnet").fields | {"direct_forces": True}


@pytest.fixture
def ethanol(tiny_run):
    """Make configs of runs over sixty frames."""

    def config(**fields):
        about = {"data_file": [str(ETHANOL)], "energy_unit": "kcal/mol", "data_name": "ethanol"}
        model = {"model": "gemnet", "backbone": BACKBONE}
        return ForceConfig(**(tiny_run | about | model | fields))

    return config


def test_a_run_learns_them_and_says_so(ethanol, metrics, tmp_path, capsys):
    path = train(ethanol(max_epochs=8))
    log = metrics(tmp_path / "run")
    errors = [float(v) for (_, name), v in log.items() if name == "val_mae_forces_meV_A"]
    assert errors[-1] < 0.8 * errors[0]
    assert errors[-1] == pytest.approx(load(path).header.metrics.mae["forces_eV_A"] * 1e3, rel=0.3)
    assert "forces (direct, not the gradient of the energy)" in path.with_suffix(".md").read_text()
    info.info(str(path))
    told = " ".join(capsys.readouterr().out.split())
    assert "mirror images are the same; forces are direct, not the gradient of the energy" in told


def test_a_run_that_goes_on_begins_with_the_same_forces(ethanol, tmp_path):
    """Of other data, whose forces have another unit of their own."""
    first = train(ethanol(max_epochs=1))
    fields = {"start_from": str(first), "learning_rate": 0.0, "run_dir": str(tmp_path / "second")}
    second = train(ethanol(max_epochs=1, limit_train=8, split_seed=3, **fields))
    before, after = load(first), load(second)
    assert before.scale != after.scale
    z = torch.tensor([6, 8, 1, 1])
    pos = torch.tensor([[0.0, 0.0, 0.0], [1.2, 0.0, 0.1], [-0.6, 0.9, 0.0], [-0.6, -0.9, 0.2]])
    old, new = (one.energy_and_forces(z, pos)[1] for one in (before, after))
    gain = (old * new).sum() / old.square().sum()
    assert old.abs().max() > 1e-3
    torch.testing.assert_close(new, gain * old, rtol=1e-4, atol=1e-4 * float(old.abs().max()))
    assert 0.2 < gain < 5


def test_data_without_forces_cannot_teach_them(tiny):
    with pytest.raises(SettingError, match=r"backbone.direct_forces: expected data with forces"):
        train(tiny(model="gemnet", backbone=BACKBONE))
