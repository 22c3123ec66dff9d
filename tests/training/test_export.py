"""What the header of an exported model tells of its run, and what it does not."""

import json

from molgeo.checkpoint import read_header
from molgeo.training.run import train


def test_no_folder_of_a_run_is_published(tiny, small_data, tmp_path):
    first = train(tiny(max_epochs=1))
    second = train(tiny(max_epochs=1, run_dir=str(tmp_path / "second"), start_from=str(first)))
    header = read_header(second)
    said = json.dumps(header) + second.with_suffix(".md").read_text()
    assert str(tmp_path) not in said
    assert str(small_data) not in said
    training = header["training"]
    assert not {"run_dir", "data_dir"} & set(training)
    assert training["start_from"] == "schnet-qm9.safetensors"
    assert training["batch_size"] == 8
    assert read_header(first)["training"]["start_from"] == ""
