"""Features of molecules and atoms."""

import ase
import numpy as np
import pandas as pd
import pytest
import torch

import molgeo
from molgeo.cli import program as cli
from molgeo.prediction.run import RowError
from molgeo.runtime.errors import InputError, UnknownSettingError

WATER = ase.Atoms("OHH", [[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]])
PEROXIDE = ase.Atoms("HOOH", [[0.8, 0.9, 0.4], [0, 0.7, 0], [0, -0.7, 0], [-0.8, -0.9, 0.4]])


def of(table):
    return table.filter(regex=r"^f\d+$").to_numpy()


def backbone_features(model, atoms):
    z, pos = torch.tensor(atoms.numbers), torch.tensor(atoms.positions, dtype=torch.float32)
    kept = []
    handle = model.heads.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    with torch.no_grad():
        model(z, pos)
    handle.remove()
    return kept[0].numpy()


def test_they_are_what_the_heads_see(model):
    own = [backbone_features(model, one) for one in (WATER, PEROXIDE)]
    atoms = molgeo.embed([WATER, PEROXIDE], model, atoms=True)
    assert of(atoms) == pytest.approx(np.concatenate(own), abs=1e-5)
    assert atoms.element.tolist() == ["O", "H", "H", "H", "O", "O", "H"]
    assert atoms.atom.tolist() == [0, 1, 2, 0, 1, 2, 3]
    mean = molgeo.embed([WATER, PEROXIDE], model)
    assert of(mean) == pytest.approx(np.stack([one.mean(0) for one in own]), abs=1e-5)
    total = molgeo.embed([WATER, PEROXIDE], model, pooling="sum", batch_size=1)
    assert of(total) == pytest.approx(np.stack([one.sum(0) for one in own]), abs=1e-5)
    assert mean.attrs["model"] == "toy"


def test_all_spellings_have_the_same_features(model):
    table = molgeo.embed(["OCC", "CCO", "C(O)C"], model, conformers=3)
    assert of(table)[1:] == pytest.approx(of(table)[[0, 0]], abs=1e-6)
    atoms = molgeo.embed(["OCC", "CCO"], model, conformers=3, atoms=True)
    first, second = (of(atoms)[(atoms.id == k).to_numpy()] for k in (0, 1))
    assert first[[2, 1, 0]] == pytest.approx(second[:3], abs=1e-6)
    assert first.mean(0) == pytest.approx(of(table)[0], abs=1e-6)
    assert atoms[atoms.id == 1].element.tolist()[:3] == ["C", "C", "O"]


def test_features_are_those_of_the_pass_that_predicts(model, monkeypatch):
    atoms, own = [], model.backbone.atom_features

    def counted(z, pos, graph):
        atoms.append(len(z))
        return own(z, pos, graph)

    monkeypatch.setattr(model.backbone, "atom_features", counted)
    table = molgeo.embed([WATER, PEROXIDE, WATER], model)
    assert sum(atoms) == 3 + 4
    assert of(table)[0] == pytest.approx(of(table)[2], abs=0)


def test_a_row_that_fails_keeps_its_place(model):
    inputs = ["CCO", "nonsense", "[Xe]", "C"]
    for table in (molgeo.embed(inputs, model), molgeo.embed(inputs, model, atoms=True)):
        assert table.id.drop_duplicates().tolist() == [0, 1, 2, 3]
        bad = table[table.id.isin([1, 2])]
        assert bad.status.tolist() == ["error", "error"]
        assert np.isnan(of(bad)).all()
        assert "not a valid SMILES" in bad.message.iloc[0]
        assert np.isfinite(of(table[table.status == "ok"])).all()
    with pytest.raises(RowError, match="nonsense"):
        molgeo.embed(inputs, model, strict=True)


@pytest.mark.parametrize("ending", ["npz", "csv"])
@pytest.mark.parametrize("words", [[], ["--atoms"]])
def test_the_command(shipped, tmp_path, capsys, ending, words):
    (tmp_path / "in.csv").write_text("smiles,logS,note\nCCO,1.5,a\nxx,2.5,b\nO,,c\n")
    path = tmp_path / f"out.{ending}"
    line = ["embed", str(tmp_path / "in.csv"), "--model", shipped, "--output", str(path)]
    assert cli.main([*line, "--keep-columns", "--fast", *words]) == 3
    said = capsys.readouterr().err
    what = "12 atoms of 2 molecules" if words else "2 molecules"
    assert f"16 features of {what} by toy; 1 row failed" in said
    assert "not a valid SMILES" in said
    if ending == "npz":
        with np.load(path, allow_pickle=False) as file:
            found = dict(file)
        features = found.pop("features")
        table = pd.DataFrame(found)
    else:
        table = pd.read_csv(path)
        features = of(table)
    assert features.shape == ((13, 16) if words else (3, 16))
    assert table.logS[table.id == 0].iloc[0] == 1.5
    assert table.note[table.id == 2].iloc[0] == "c"
    expected = molgeo.embed(["CCO", "O"], shipped, fast=True, atoms=bool(words))
    assert features[(table.status == "ok").to_numpy()] == pytest.approx(of(expected), abs=1e-5)
    assert cli.main([*line, "--fast"]) == 2
    assert "--force replaces it" in capsys.readouterr().err


def test_parquet_needs_pyarrow(shipped, tmp_path, monkeypatch, capsys):
    def missing(*_, **__):
        raise ImportError("no pyarrow")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    line = ["embed", "C", "--fast", "--model", shipped, "--output", str(tmp_path / "a.parquet")]
    assert cli.main(line) == 2
    assert "pip install pyarrow, or choose .npz" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(pd.DataFrame, "to_parquet", lambda self, path, **_: path.write_text("x"))
    assert cli.main(line) == 0
    assert (tmp_path / "a.parquet").read_text() == "x"


def test_what_is_wrong_is_said(model, capsys):
    with pytest.raises(InputError, match="features are those of one model: name it"):
        molgeo.embed("CCO")
    with pytest.raises(InputError, match="pooling must be one of mean, sum"):
        molgeo.embed("CCO", model, pooling="max")
    with pytest.raises(UnknownSettingError, match=r"embed: no argument 'atom'; .*'atoms'"):
        molgeo.embed("CCO", model, atom=True)
    with pytest.raises(UnknownSettingError, match="no argument 'properties'"):
        molgeo.embed("CCO", model, properties="gap")
    assert molgeo.embed([], model).empty
