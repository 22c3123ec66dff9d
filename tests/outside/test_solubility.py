"""A property from outside: no file of the library knows it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from ase.build import molecule
from outside import solubility

import molgeo
from molgeo.evaluation.cards import markdown
from molgeo.evaluation.info import info
from molgeo.predictor.calibration import Calibration, Scale
from molgeo.predictor.checkpoint import read_header, save_checkpoint

COLUMNS = ["logS_log_mol_L", "volume_Å_"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("outside") / "solubility.safetensors"
    torch.manual_seed(0)
    solubility.write(path)
    return path


def test_it_comes_back_from_its_checkpoint(path):
    loaded = molgeo.load(path)
    assert loaded.properties == (solubility.LOG_S, solubility.VOLUME)
    assert loaded.properties[1].minimum == 0.0
    assert list(loaded.outputs) == ["logS", "volume"]
    atoms = molecule("CH3CH2OH")
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions).float()
    one = loaded(z, pos)
    far = pos + 30.0
    two = loaded(torch.cat([z, z]), torch.cat([pos, far]))
    torch.testing.assert_close(two["volume"], 2 * one["volume"])
    torch.testing.assert_close(two["logS"], one["logS"])
    with pytest.raises(ValueError, match="forces need an energy; it predicts logS, volume"):
        loaded.energy_and_forces(z, pos)


def test_predict_names_its_columns(path):
    table = molgeo.predict(["CCO", molecule("H2O"), "N"], model=str(path), conformers=1)
    assert list(table)[-2:] == COLUMNS
    assert table.status.tolist() == ["ok", "ok", "error"]
    assert abs(table.volume_Å_[0] - (3 * 10 + 6 * 5)) < 10
    assert np.isfinite(table.logS_log_mol_L[:2]).all()
    some = molgeo.predict(["O"], model=str(path), properties="logS", conformers=1)
    assert list(some)[-1] == COLUMNS[0]
    with pytest.raises(ValueError, match=r"unknown property 'logs', did you mean 'logS'"):
        molgeo.predict(["O"], model=str(path), properties="logs")


def test_the_command_shows_it(path, tmp_path):
    words = [sys.executable, "-m", "molgeo", "predict", "CCO", "--model", str(path)]
    listed = subprocess.run(
        [*words, "--format", "table"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    solubility_line, volume_line = listed[2:]
    assert solubility_line.startswith("aqueous solubility  log S")
    assert solubility_line.endswith("log mol/L")
    assert volume_line.startswith("molecular volume    volume")
    assert volume_line.endswith("Å³")
    # Two digits of the measured errors, 0.25 and 3.5: the values have as many places.
    assert len(solubility_line.split()[-3].partition(".")[2]) == 2
    out = subprocess.run(
        [*words, "--format", "json"], capture_output=True, text=True, check=True
    ).stdout
    assert COLUMNS[0] in json.loads(out)[0]


def test_a_column_that_the_output_has_already(tmp_path):
    """A number without a unit may be named as anything."""
    solubility.write(tmp_path / "clash.safetensors", [molgeo.Property("message", "")])
    with pytest.raises(ValueError, match="clash predicts a property whose column, message, the"):
        molgeo.predict(["O"], model=str(tmp_path / "clash.safetensors"))


def test_its_card(path, capsys):
    info(str(path))
    shown = capsys.readouterr().out
    assert "aqueous solubility" in shown
    assert "log mol/L" in shown
    assert "0.25" in shown
    card = markdown(read_header(path))
    assert "| log S, logS | log mol/L | 0.25 |" in card
    assert "| volume | Å³ | 3.5 |" in card
    assert "published" not in card


def test_a_calibration_of_it_gives_error_bars(path, tmp_path):
    predictor = molgeo.load(path)
    scale = Scale(error=0.2, sigma=1.0, interval=2.0)
    known = Calibration(1, 100, {"logS": scale, "volume": scale})
    facts = predictor.header.model_copy(update={"calibration": [known]})
    save_checkpoint(predictor, tmp_path / "bars.safetensors", facts)
    table = molgeo.predict(["CCO"], model=str(tmp_path / "bars.safetensors"), conformers=1)
    assert table.logS_log_mol_L_std[0] == pytest.approx(0.2)
