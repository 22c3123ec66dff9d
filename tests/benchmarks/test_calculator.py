"""The benchmark of the calculator runs, and both sides agree."""

import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    import calculator
    import sides

    # PyG derives the published basis with sympy, which takes longer than all of this.
    for name, value in {"n_blocks": 1, "n_spherical": 2, "n_radial": 2}.items():
        monkeypatch.setitem(sides.FIELDS["dimenet_pp"], name, value)
    yield calculator
    torch.set_num_threads(threads)


def test_report(script, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    script.main(["--repeats", "3", "--threads", "1", "--json", str(out)])
    report = json.loads(out.read_text())
    assert report["difference"] < script.TOLERANCE
    assert set(report["ms"]) == {"molgeo", "pyg", "evaluated", "model alone", "graph"}
    printed = capsys.readouterr().out
    assert "evaluated / model alone: " in printed
    assert "pyg / molgeo: " in printed
