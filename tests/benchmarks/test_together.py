"""The benchmark of many relaxations runs, and all ways come to the same minima."""

import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
MODEL = Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MOLGEO_DATA", str(tmp_path / "empty"))
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    import together

    yield together
    torch.set_num_threads(threads)


def test_report(script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    words = ["--model", str(MODEL), "--molecules", "4", "--alone", "2", "--threads", "1"]
    script.main([*words, "--json", str(out)])
    ways = json.loads(out.read_text())["ways"]
    assert set(ways) == {"together", "batches of one", "ASE one by one"}
    assert [row["molecules"] for row in ways.values()] == [4, 2, 2]
    assert all(row["steps"] > 0 for row in ways.values())
    assert [row["other_minima"] for row in ways.values()] == [0, 0, 0]
    assert "times as fast" in capsys.readouterr().out
