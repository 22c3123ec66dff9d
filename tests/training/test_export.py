"""What the header of an exported model tells of its run, and what it does not."""

import shlex

from molgeo.cli.program import parse
from molgeo.predictor.checkpoint import read_header
from molgeo.training.config import read_config
from molgeo.training.export import command
from molgeo.training.forces import ForceConfig
from molgeo.training.run import train


def test_no_folder_of_a_run_is_published(tiny, small_data, tmp_path):
    first = train(tiny(max_epochs=1))
    second = train(tiny(max_epochs=1, run_dir=str(tmp_path / "second"), start_from=str(first)))
    header = read_header(second)
    said = header.model_dump_json() + second.with_suffix(".md").read_text()
    assert str(tmp_path) not in said
    assert str(small_data) not in said
    training = header.training
    assert not {"run_dir", "data_dir"} & set(training)
    assert training["start_from"] == "schnet-qm9.safetensors"
    assert training["batch_size"] == 8
    assert read_header(first).training["start_from"] == ""


def test_a_card_tells_command_and_curve(tiny, metrics, tmp_path):
    path = train(tiny(max_epochs=3))
    header, card = read_header(path), path.with_suffix(".md").read_text()
    assert header.command in card
    log = metrics(tmp_path / "run")
    curve = [(step + 1, float(loss)) for (step, name), loss in log.items() if name == "val_loss"]
    assert [tuple(point) for point in header.curve] == curve
    assert f"| {curve[-1][1]:.4f} |" in card


def test_the_command_makes_the_same_config(tiny):
    config = tiny(properties=["gap", "u0"], loss_weights={"gap": 2.0}, seed=7, patience=3)
    words = shlex.split(command(config))
    assert words[:2] == ["molgeo", "train"]
    options = parse(words[1:])[1]
    again = read_config(options.config, options.key)
    own = {"run_dir": config.run_dir, "data_dir": config.data_dir}
    assert again.model_copy(update=own) == config


def test_the_command_of_a_force_field(tmp_path):
    config = ForceConfig(
        data_name="mine", data_file=["/somewhere/a.npz"], max_steps=5, max_minutes=9
    )
    assert command(config) == (
        "molgeo train --data forces --max_steps 5 --data_file '[a.npz]' --data_name mine"
    )
