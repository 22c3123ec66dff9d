"""The comparison of backbones: each learns, the order does not matter, the table holds all."""

import math
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = {
    "schnet": {"n_features": 16, "n_filters": 16, "n_blocks": 1, "cutoff": 4.0},
    "spectrum_net": {"n_features": 16, "n_filters": 8, "n_products": 8, "n_blocks": 1},
}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    import backbones

    monkeypatch.setattr(backbones, "BACKBONES", SMALL)
    return backbones


def test_each_backbone_learns(benchmark, small_data) -> None:
    few, many = (benchmark.compare([*SMALL], n, 8, 3e-3, str(small_data)) for n in (1, 120))
    for before, after in zip(few, many, strict=True):
        assert after["loss"] < 0.9 * before["loss"]
        assert after["ms_a_step"] > 0
        assert all(math.isfinite(value) for value in after["mae"].values())


def test_what_stands_beside_a_backbone_changes_nothing(benchmark, small_data) -> None:
    both = benchmark.compare([*SMALL], 3, 8, 1e-3, str(small_data))
    (alone,) = benchmark.compare(["spectrum_net"], 3, 8, 1e-3, str(small_data))
    assert both[1]["mae"] == alone["mae"]
    table = benchmark.table(both)
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == [*SMALL]


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("schnet", "schnet_qm9.yaml"),
        ("spectrum_net", "spectrum_net_qm9_small.yaml"),
        ("dimenet_pp", "dimenet_pp_qm9.yaml"),
    ],
)
def test_backbones_are_those_of_the_configs(name: str, config: str, monkeypatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from backbones import BACKBONES

    content = yaml.safe_load((FOLDER.parent / "configs" / config).read_text())
    assert BACKBONES[name] == content["backbone"]
