"""The pieces of the GPU script that run anywhere."""

from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MOLGEO_DATA", str(tmp_path / "empty"))
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_dry_run(tmp_path: Path) -> None:
    import gpu

    report = gpu.main(["--device", "cpu", "--quick", "--models", "schnet", "--out", str(tmp_path)])
    assert report["epochs"][0]["epoch_s"] > 0
    rows = report["models"][0]["rows"]
    assert all(row["memory_limit_ms"]["molgeo"] > 0 for row in rows)
    written = (tmp_path / "gpu.md").read_text()
    assert written.count("\n| schnet") == len(rows)
    assert (tmp_path / "gpu.json").exists()


def test_bytes_are_those_of_inputs_and_outputs() -> None:
    from traffic import bytes_moved

    a, b = torch.ones(8, 4), torch.ones(8, 1).expand(8, 4)
    assert bytes_moved(lambda: a + b) == 4 * (32 + 8 + 32)
    assert bytes_moved(lambda: a.t()) == 0
    assert bytes_moved(lambda: torch.empty(5)) == 0
