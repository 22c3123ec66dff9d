"""Runs that go on from a checkpoint, and runs at other geometries than the data set's own."""

import shutil

import pytest
import torch

from molgeo.checkpoint import load, read_header
from molgeo.geometries import prepare
from molgeo.training.run import train


def test_the_first_weights_are_the_checkpoints(tiny, tmp_path):
    first = train(tiny())
    second = train(
        tiny(run_dir=str(tmp_path / "second"), start_from=str(first), learning_rate=0.0, seed=7)
    )
    before, after = load(first), load(second)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, equal_nan=True)
    assert read_header(second)["training"]["start_from"] == first.name
    assert after.header["metrics"]["mae"] == pytest.approx(before.header["metrics"]["mae"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head_features": 9}, "start_from: .* has head_features 8, this run 9"),
        ({"properties": ["gap"]}, r"has properties \[.*\], this run \['gap'\]"),
    ],
)
def test_another_model_is_refused(tiny, tmp_path, fields, message):
    first = train(tiny(max_epochs=1, limit_train=8))
    with pytest.raises(ValueError, match=message):
        train(tiny(run_dir=str(tmp_path / "second"), start_from=str(first), **fields))


def test_a_missing_checkpoint_is_refused(tiny):
    with pytest.raises(ValueError, match="nowhere"):
        train(tiny(start_from="nowhere"))


def test_another_geometry(tiny, small_data, tmp_path):
    shutil.copytree(small_data, tmp_path / "data")
    fields = {"data_dir": str(tmp_path / "data"), "geometry": "mmff"}
    with pytest.raises(FileNotFoundError, match="molgeo data prepare qm9 --conformers"):
        train(tiny(**fields))
    prepare(tmp_path / "data" / "qm9", "mmff")
    exported = train(tiny(**fields))
    assert exported.name == "schnet-qm9-mmff.safetensors"
    header = read_header(exported)
    assert header["geometry"] == header["metrics"]["geometry"] == "mmff"
    assert header["geometry_source"].startswith("MMFF94")
    assert header["n_train"] == 51
    given = train(tiny(run_dir=str(tmp_path / "given")))
    assert read_header(given)["metrics"]["geometry"] == "dft"
    assert read_header(given)["validation_loss"] != header["validation_loss"]
