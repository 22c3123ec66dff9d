"""The config of a run without the command line's parser: the same, and as strict."""

from pathlib import Path

import pytest

from molgeo.cli import program as cli
from molgeo.training.config import config_from
from molgeo.training.config_file import read_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_read_as_the_command_line_reads_them(path):
    options = cli.build_parser().parse_args(["train", "--config", str(path)])["train"]
    fields = {k: v for k, v in vars(options).items() if k not in ("config", "resume")}
    assert read_config(path) == config_from(fields)


def test_assignments(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("batch_size: 32\nbackbone: {n_blocks: 2}\nlearning_rate: 1e-3\n")
    words = ["batch_size=16", "backbone.cutoff=4.0", "model=dimenet_pp", "properties=[u0]"]
    config = read_config(path, [*words, "max_minutes=3", "run_dir=a=b"])
    assert config.batch_size == 16
    assert config.backbone == {"n_blocks": 2, "cutoff": 4.0}
    assert config.model == "dimenet_pp"
    assert config.properties == ["u0"]
    assert config.learning_rate == 1e-3
    assert config.max_minutes == 3.0
    assert config.run_dir == "a=b"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["batch_size=1.5"], "batch_size: expected int, got 1.5"),
        (["learning_rate=fast"], "learning_rate: expected a number, got 'fast'"),
        (["schedule=cosin"], "schedule: expected one of cosine, .*, got 'cosin'"),
        (["properties=gap"], "properties: expected list, got 'gap'"),
        (["amsgrad=1"], "amsgrad: expected bool, got 1"),
        (["batch"], "expected key=value, got 'batch'"),
        (["ema_deca=0.9"], "ema_deca: no key of a run; did you mean 'ema_decay'"),
        (["model.cutoff=4"], "model: expected a key with keys of its own, got 'schnet'"),
        (["energy_unit=eh"], "energy_unit: needs data_file"),
    ],
)
def test_refused(tmp_path, words, message):
    path = tmp_path / "x.yaml"
    path.write_text("model: schnet\n")
    with pytest.raises(ValueError, match=message):
        read_config(path, words)


def test_not_a_config(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match=r"x.yaml: expected the keys of a run, got \[1\]"):
        read_config(path)
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path / "none.yaml")
