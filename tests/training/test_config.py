"""Configs: a kind of data, its keys and no others, within their bounds."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.runtime.errors import SettingError
from molgeo.training.config import KINDS, config_from, read_config, task_class
from molgeo.training.forces import ForceConfig
from molgeo.training.qm9 import QM9Config
from molgeo.training.start import with_model_of_checkpoint

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
FILES = {"data": "forces", "data_file": ["a.npz"]}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid(path):
    config = read_config(path)
    for key, value in yaml.safe_load(path.read_text()).items():
        assert key == "targets" or getattr(config, key) == value


def test_the_kind_says_which_keys_there_are():
    assert type(config_from({"data": "qm9", "properties": ["gap"]})) is QM9Config
    config = config_from({**FILES, "data_name": "water", "energy_unit": "kcal/mol"})
    assert type(config) is ForceConfig
    assert config.model_name == "schnet-water"
    with pytest.raises(SettingError, match=r"'energy_unit': .* one of data: forces"):
        config_from({"data": "qm9", "energy_unit": "hartree"})
    with pytest.raises(SettingError, match="'properties': no such key"):
        config_from({**FILES, "properties": ["gap"]})


@pytest.mark.parametrize("data", [None, "", "qm", "nothing.here", "os.system", 3, ["qm9"]])
def test_no_kind_is_guessed(data):
    with pytest.raises(SettingError, match=r"^data: ") as caught:
        config_from({"data": data})
    if "." not in str(data):
        for kind, (_, needs) in KINDS.items():
            assert f"{kind} ({needs})" in str(caught.value)


def test_a_module_that_is_not_found_may_lie_in_a_folder():
    with pytest.raises(SettingError, match=r"No module named 'nowhere'.*; is it .*PYTHONPATH"):
        config_from({"data": "nowhere.Task"})
    with pytest.raises(SettingError, match="has no attribute 'Nothing'"):
        config_from({"data": "molgeo.training.qm9.Nothing"})


@pytest.mark.parametrize("name", ["values.csv", "folder/values.csv"])
def test_a_file_is_no_kind_of_data(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("values.csv").write_text("smiles,y\n")
    with pytest.raises(
        SettingError, match=r"data: expected a kind .* files are named by data_file"
    ):
        config_from({"data": name})


def test_data_have_no_default():
    with pytest.raises(SettingError, match=r"data: expected a kind of data: .*; got nothing"):
        config_from({})
    with pytest.raises(SettingError, match=r"data_file, got nothing; .*data: forces; for"):
        config_from({"data_file": ["mine.xyz"]})


def test_the_former_spelling_is_told():
    with pytest.raises(SettingError, match="write data: forces, data_name: gfn2"):
        config_from({"data": "gfn2", "data_file": ["a.npz"]})


def test_files_and_a_name():
    assert ForceConfig(data_file="a.npz").data_file == ["a.npz"]
    with pytest.raises(SettingError, match="data_file: expected a value, got none"):
        ForceConfig()
    with pytest.raises(SettingError, match="data_file: "):
        ForceConfig(data_file=[])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**FILES, "test_fraction": 0.0}, "test_fraction: expected more than 0, got 0.0"),
        ({**FILES, "force_weight": -1.0}, "force_weight: expected at least 0, got -1"),
        ({**FILES, "batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({**FILES, "energy_weight": 0, "force_weight": 0}, "expected one above 0, got 0 for both"),
        ({**FILES, "atom_references": {"Xx": 1.0}}, "expected symbols of elements, got 'Xx'"),
        ({"data": "qm9", "epoch_size": -1}, "epoch_size: expected at least 0"),
        ({"data": "qm9", "loss_weights": {"gp": 1.0}}, "loss_weights: expected some of mu, "),
        ({"data": "qm9", "loss_weights": {"gap": -1.0}}, "loss_weights.gap: expected at least 0"),
        ({"data": "qm9", "schedule": "cosin"}, "schedule: expected one of cosine, stable, .* got"),
        ({"data": "qm9", "properties": []}, "properties: "),
        ({"data": "qm9", "backbone": {"n_block": 3}}, "n_block.*did you mean 'n_blocks'"),
        ({"data": "qm9", "seed": 2**32}, "seed: expected at most 4294967295"),
    ],
)
def test_what_means_nothing_is_refused(fields, message):
    with pytest.raises((SettingError, TypeError), match=message):
        config_from(fields)


@pytest.mark.parametrize("name", ["batch_size", "learning_rate", "ema_decay", "max_minutes"])
def test_no_number_is_taken_as_it_comes(name):
    for value in (math.nan, math.inf, 10**5000, -(10**5000), "3", None, True, [1]):
        with pytest.raises(SettingError, match=rf"^{name}: expected ") as caught:
            QM9Config(**{name: value})
        assert len(str(caught.value)) < 200


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.sampled_from([*QM9Config.model_fields, *ForceConfig.model_fields, "x"]), PLAIN)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_value_is_taken_or_refused_in_one_line(key, value):
    refusals = []
    try:
        config = config_from({**FILES, key: value})
    except (SettingError, TypeError, ValueError) as error:
        refusals.append(str(error))
    assert "\n" not in "".join(refusals)
    assert refusals or config_from(config.model_dump()) == config


def test_assignments(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("data: qm9\nbatch_size: 32\nbackbone: {n_blocks: 2}\nlearning_rate: 1e-3\n")
    words = ["batch_size=16", "backbone.cutoff=4.0", "model=dimenet_pp", "properties=[u0]"]
    config = read_config(path, [*words, "max_minutes=3", "run_dir=a=b", "name=007"])
    assert config.batch_size == 16
    assert config.backbone == {"n_blocks": 2, "cutoff": 4.0}
    assert config.model == "dimenet_pp"
    assert config.properties == ["u0"]
    assert config.learning_rate == 1e-3
    assert config.max_minutes == 3.0
    assert config.run_dir == "a=b"
    assert config.name == "007"
    assert read_config(None, ["data=qm9"]) == QM9Config()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch_size=1.5"], "batch_size: expected a whole number, got 1.5"),
        (["learning_rate=fast"], "learning_rate: expected a number, got 'fast'"),
        (["properties=gap"], "properties: expected a list, got 'gap'"),
        (["amsgrad=1"], "amsgrad: expected true or false, got 1"),
        (["batch"], "expected key=value, got 'batch'"),
        (["ema_deca=0.9"], "'ema_deca': no such key of data: qm9; did you mean 'ema_decay'"),
        (["model.cutoff=4"], "model: expected a key with keys of its own, got 'schnet'"),
    ],
)
def test_refused(tmp_path, words, message):
    path = tmp_path / "x.yaml"
    path.write_text("data: qm9\nmodel: schnet\n")
    with pytest.raises(SettingError, match=message):
        read_config(path, words)


def test_not_a_config(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("- 1\n")
    with pytest.raises(SettingError, match=r"x.yaml: expected the keys of a run, got \[1\]"):
        read_config(path)
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path / "none.yaml")


def test_every_kind_has_a_task():
    for kind in KINDS:
        task = task_class(kind)
        assert task.config_class.model_fields["data"].default == kind
        assert set(task.fixed) <= task.config_class.model_fields.keys()


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [("accelerator", "gpuu", "gpu"), ("precision", "33", "32"), ("strategy", "dpp", "ddp")],
)
def test_what_lightning_would_refuse_is_refused_before_anything_is_written(key, value, near):
    with pytest.raises(SettingError, match=rf"{key}: expected .*{near}.*got '{value}'"):
        config_from({"data": "qm9", key: value})


def test_files_are_names():
    with pytest.raises(SettingError, match=r"data_file: expected .*got 3"):
        config_from({"data": "forces", "data_file": 3})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ZeroDivisionError", "cannot be imported .ZeroDivisionError"),
        ("def", "cannot be imported .SyntaxError"),
        ("class Task: config_class = 3", "whose config_class extends RunConfig"),
        ("class Task: pass", "whose config_class extends RunConfig"),
    ],
)
def test_a_task_from_outside_that_is_none(tmp_path, monkeypatch, text, reason):
    monkeypatch.syspath_prepend(tmp_path)
    name = f"odd_task_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text + "\n")
    with pytest.raises(SettingError, match=reason):
        config_from({"data": f"{name}.Task"})


@pytest.mark.parametrize(("data", "near"), [("tabel", "table"), ("forcess", "forces")])
def test_a_slip_in_the_kind_beside_files(data, near):
    with pytest.raises(SettingError, match=f"did you mean '{near}'") as caught:
        config_from({"data": data, "data_file": "t.csv"})
    assert "data_name" not in str(caught.value)


def test_a_checkpoint_to_start_from_that_is_not_there():
    with pytest.raises(SettingError, match=r"^start_from: "):
        with_model_of_checkpoint(config_from({"data": "qm9", "start_from": "schnet-qm"}))
