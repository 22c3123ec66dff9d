"""Fits whose values come from a Gaussian process."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ase.build import molecule

import molgeo
from molgeo.cli import program as cli
from molgeo.fitting.recipe import FOR_DIPOLES
from molgeo.fitting.run import fit_table
from molgeo.predictor.checkpoint import load, read_header
from molgeo.runtime.errors import InputError, SettingError

OWN = {"from_scratch": False, "epochs": None}


class Killed(BaseException):
    """In place of a signal."""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, molecules):
    """A fit of 61 molecules by the defaults but for the number of members."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOLGEO_DATA", str(folder / "data"))
        patch.chdir(folder)
        frame = pd.DataFrame(molecules, columns=["smiles", "y"])
        frame["y"] = np.log(frame.y)  # no sum over atoms
        frame.to_csv("mine.csv", index=False)
        words = ["fit", "mine.csv", "--target", "y", "--members", "2"]
        words += ["--folds", "3", "--conformers", "1", "--threads", "1", "--device", "cpu"]
        assert cli.main(words) == 0
        yield folder


def test_held_out_rows_choose_the_kernel(fitted):
    model = load(fitted / "runs/mine/y.safetensors")
    assert model.properties[0].head == "kernel"
    assert model.heads.kernel.shape.rows == int(model.header.n_train)
    assert "MolLogP" in model.descriptors
    start = load("spectrum_net-aimnet2-small").backbone.state_dict()
    for name, weight in model.backbone.state_dict().items():
        assert torch.equal(weight, start[name])
    rows = pd.read_csv(fitted / "runs/mine/rows.csv")
    wrong = (rows.y_predicted - rows.y_value).abs().mean()
    assert wrong < 0.5 * (rows.y_mean - rows.y_value).abs().mean()
    width = (rows.y_high90 - rows.y_low90).mean()
    assert width < 2 * 1.7 * rows.y_value.std()  # narrower than the bars of the mean
    card = (fitted / "runs/mine/y.md").read_text()
    assert "Gaussian process" in card


def test_its_errors_fall_with_the_number_of_rows(fitted):
    history = pd.read_csv(fitted / "runs/mine/history.csv")
    own = history[history.member == 1]
    assert own.step.is_monotonic_increasing
    assert own.validation_error.iloc[-1] < own.validation_error.iloc[0]


def test_predictions_take_smiles_files_with_bonds_and_coordinates(fitted, tmp_path):
    """Of coordinates the bonds are read; what has none that can be read is refused."""
    model = str(fitted / "runs/mine/y.safetensors")
    of_smiles = molgeo.predict("CCO", model, conformers=1)
    assert of_smiles.y_std[0] > 0
    ethanol = molecule("CH3CH2OH")
    apart = molecule("CH3CH2OH")
    apart.positions[-1] += 3.0
    ethanol.write(tmp_path / "ethanol.xyz")
    given = molgeo.predict(str(tmp_path / "ethanol.xyz"), model)
    assert abs(given.y[0] - of_smiles.y[0]) < 3 * of_smiles.y_std[0]
    scattered = molgeo.predict(apart, model)
    assert scattered.status[0] == "error"


def test_it_is_evaluated_on_files(fitted, capsys):
    model = str(fitted / "runs/mine/y.safetensors")
    assert cli.main(["evaluate", "--model", model, "--data", str(fitted / "mine.csv")]) == 0
    assert '"n": 61' in capsys.readouterr().out
    assert cli.main(["export", model, "--output", "y.pt2"]) == 2
    assert "--coordinates-alone" in capsys.readouterr().err


def test_a_kill_changes_nothing(fitted, table, quick, monkeypatch):
    path, fields = table(), {**OWN, "pooling": "kernel"}
    whole = load(fit_table(path, quick(output="whole", **fields)).path)
    place = "molgeo.fitting.kernel_members"
    original, calls = importlib.import_module(place).save_checkpoint, []

    def killed(*args):
        calls.append(args)
        if len(calls) == 2:
            raise Killed
        original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(f"{place}.save_checkpoint", killed)
        with pytest.raises(Killed):
            fit_table(path, quick(output="again", **fields))
    again = load(fit_table(path, quick(output="again", resume=True, **fields)).path)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num()), name
    assert again.header.calibration == whole.header.calibration
    for name in ("rows.csv", "history.csv", "summary.json"):
        told = [Path(folder, name).read_text() for folder in ("whole", "again")]
        assert told[0] == told[1], name


def test_a_fit_may_start_from_a_fit(fitted, table, quick):
    start = str(fitted / "runs/mine/y.safetensors")
    fields = {**OWN, "pooling": "kernel", "start_from": start, "coordinates_alone": True}
    path = fit_table(table(), quick(**fields)).path
    assert load(path).heads.kernel.shape.rows == read_header(path).n_train


def test_values_of_one_fold_alone_are_refused(table, quick, monkeypatch):
    """A member without that fold would have nothing to learn from."""
    original = importlib.import_module("molgeo.fitting.preparing").folds_of

    def in_one(*args):
        found = original(*args)
        fold = found.fold.copy()
        fold[fold >= 0] = np.arange(int((fold >= 0).sum())) // 50
        return found._replace(fold=fold)

    monkeypatch.setattr("molgeo.fitting.preparing.folds_of", in_one)
    with pytest.raises(InputError, match="y: 50 of its 55 values are in one fold of the rows"):
        fit_table(table(), quick(**OWN))


def test_values_may_be_missing_and_descriptors_left_out(table, quick):
    def cells(k, smiles, y):
        return smiles, f"{y:.3f}", "" if k % 12 == 0 else f"{-2 * y:.3f}"

    path = table(("smiles", "y", "z"), cells)
    own = quick(target="y,z", pooling="kernel", coordinates_alone=True, **OWN)
    model = load(fit_table(path, own).path)
    assert model.descriptors == ()
    kernel = model.heads.kernel
    counts = (kernel.alpha != 0).sum(1).tolist()
    assert counts[0] == kernel.shape.rows > counts[1] > 0.8 * counts[0]
    found = molgeo.predict("CCCO", model)
    assert np.isfinite([found.y[0], found.z[0]]).all()
    assert read_header("runs/mine/y_z.safetensors").config.kernel.descriptors == ()


@pytest.mark.parametrize("unit", [1e-7, 1e7])
def test_bars_are_as_wide_in_any_unit(unit, table, quick):
    path = table(("smiles", "y", "z"), lambda k, smiles, y: (smiles, y, repr(unit * y)))
    own = quick(target="y,z", pooling="kernel", coordinates_alone=True, **OWN)
    found = molgeo.predict(["CCCO", "CC#N", "c1ccccc1CCCCCC"], fit_table(path, own).path)
    for end in ("", "_std", "_low90", "_high90"):
        np.testing.assert_allclose(found[f"z{end}"], unit * found[f"y{end}"], rtol=0.01)


def test_values_in_debye_are_compared_by_dipoles(table, quick):
    """A second column with another unit is not."""
    path = table(("smiles", "y", "z"), lambda k, smiles, y: (smiles, y / 20, y))
    own = quick(target="y,z", unit="Debye,eV", pooling="kernel", coordinates_alone=True, **OWN)
    own = replace(own, conformers=None)
    model = load(fit_table(path, own).path)
    assert max(one.conformers for one in model.header.calibration) == FOR_DIPOLES
    kernel = model.heads.kernel
    assert kernel.shape.dipoles
    assert kernel.charges[0].abs().max() > 0
    assert not kernel.charges[1].any()
    assert kernel.d[0].std() == pytest.approx(1.0, rel=0.05)
    assert not kernel.d[1].any()
    lengths = kernel.d[0] / kernel.usual_d[0, 1] + kernel.usual_d[0, 0]
    assert 0 <= lengths.min() < lengths.max() < 20


def test_classes_have_no_kernel(table, quick):
    path = table(cells=lambda k, smiles, y: (smiles, "high" if k % 2 else "low"))
    with pytest.raises(SettingError, match="a kernel takes numbers of at most 10,000 molecules"):
        fit_table(path, quick(pooling="kernel", **OWN))
