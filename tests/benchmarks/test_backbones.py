"""The comparison of backbones: each learns, a budget holds, rows are made once."""

import json
import math
import sys
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
ETHANOL = Path(__file__).parents[1] / "fixtures" / "forces" / "ethanol.npz"
SMALL = {
    "schnet": {"n_features": 16, "n_filters": 16, "n_blocks": 1, "cutoff": 4.0},
    "spectrum_net": {"n_features": 16, "n_filters": 8, "n_products": 8, "n_blocks": 1},
}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import backbones

    return backbones


@pytest.fixture
def configs(tmp_path, small_data) -> list[str]:
    paths = []
    for model, fields in SMALL.items():
        keys = {"data": "qm9", "data_dir": str(small_data), "model": model, "backbone": fields}
        paths.append(tmp_path / f"{model}_qm9.yaml")
        paths[-1].write_text(yaml.safe_dump(keys))
    return [str(path) for path in paths]


def test_each_backbone_learns(script, configs) -> None:
    recipe = script.Recipe(8, 3e-3)
    for path in map(Path, configs):
        few, many = (script.row(recipe.config(path), script.Budget(n)) for n in (1, 120))
        assert (few["steps"], many["steps"]) == (1, 120)
        assert many["errors"]["gap_eV"] < few["errors"]["gap_eV"]
        assert many["ms"] > 0
        assert all(math.isfinite(value) for value in many["errors"].values())


def test_time_ends_a_run_that_counts_no_steps(script, configs) -> None:
    config = script.Recipe(8).config(Path(configs[0]))
    row = script.row(config, script.Budget(seconds=0.5))
    assert row["steps"] > 1
    assert 0.5 <= row["seconds"] < 5


def test_minutes_are_steps_if_the_cost_of_steps_is_known(
    script, configs, tmp_path, monkeypatch
) -> None:
    path = tmp_path / "rows.json"
    command = ["backbones.py", *configs, "--batch-size", "8", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", [*command, "--steps", "2"])
    script.main()
    rows = json.loads(path.read_text())
    for row, cost in zip(rows.values(), (50.0, 100.0), strict=True):
        row["trained_ms"] = cost  # per molecule: 0.4 and 0.8 s per step
    path.write_text(json.dumps(rows))
    monkeypatch.setattr(sys, "argv", [*command, "--minutes", "0.08"])
    script.main()
    made = list(json.loads(path.read_text()).values())[len(rows) :]
    assert [(row["budget"], row["steps"]) for row in made] == [
        ("0.08 minutes", 12),
        ("0.08 minutes", 6),
    ]


def test_rows_are_made_once_and_the_table_holds_all(
    script, configs, tmp_path, monkeypatch, capsys
) -> None:
    path = tmp_path / "rows.json"
    command = ["backbones.py", *configs, "--steps", "2", "--batch-size", "8", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    rows = json.loads(path.read_text())
    assert [*rows] == [f"{model}_qm9, batches of 8, 2 steps" for model in SMALL]
    rows["schnet_qm9, batches of 8, 2 steps"]["parameters"] = 1234567
    path.write_text(json.dumps(rows))
    capsys.readouterr()
    script.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [*rows]
    assert "1,234,567" in lines[2]


def test_forces_are_measured_if_they_are_learned(script, tmp_path) -> None:
    path = tmp_path / "forces.yaml"
    keys = {"data": "forces", "model": "schnet", "backbone": SMALL["schnet"]}
    files = {"data_file": [str(ETHANOL)], "energy_unit": "kcal/mol"}
    path.write_text(yaml.safe_dump({**keys, **files}))
    row = script.row(script.Recipe(4).config(path), script.Budget(2))
    assert set(row["errors"]) == {"meV_per_atom", "meV_per_A"}


def test_the_comparison_has_a_line_of_all_rows_of_a_model(script) -> None:
    common = {"model": "schnet", "parameters": 1234, "ms": 1.0, "trained_ms": 2.0, "peak_MB": 30.0}
    errors = {"gap_eV": 0.25, "u0_eV": 0.125, "mu_debye": 0.5}
    other = common | {"model": "dimenet", "trained_ms": 1.0}
    rows = {
        "a": common | {"budget": "3 minutes", "steps": 900, "errors": errors},
        "b": common | {"budget": "20 steps", "steps": 20, "errors": errors},
        "c": common | {"budget": "2 minutes", "steps": 70, "errors": {"meV_per_A": 60.0}},
        "d": other | {"budget": "20 steps", "steps": 20, "errors": errors},
    }
    head, _, *lines = script.comparison(rows).splitlines()
    assert "equal steps" not in head  # a run of 20 steps has learned nothing yet
    assert head.endswith(
        "| MB | steps, equal time | gap, meV, equal time | U0, meV, equal time | μ, D, equal time "
        "| steps, forces | forces, meV/Å |"
    )
    assert lines == [
        "| `dimenet` | 1,234 | 3 | 1.0 | 1.0 | 30 | – | – | – | – | – | – |",
        "| `schnet` | 1,234 | 2 | 1.0 | 2.0 | 30 | 900 | 250 | 125 | 0.500 | 70 | 60 |",
    ]
