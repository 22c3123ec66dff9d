"""The benchmark runs: both sides agree, and its report says what it should."""

import json
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The script as a module, on made-up molecules and with the threads as they were."""
    monkeypatch.setenv("MOLGEO_DATA", str(tmp_path / "empty"))
    monkeypatch.syspath_prepend(FOLDER)
    threads = torch.get_num_threads()
    import models_vs_pyg
    import sides

    # PyG derives the published basis with sympy, which takes longer than all of this.
    small = {"n_blocks": 1, "n_spherical": 2, "n_radial": 2}
    for name, value in small.items():
        monkeypatch.setitem(sides.FIELDS["dimenet_pp"], name, value)
        monkeypatch.setitem(sides.FIELDS["dimenet"], name, value)
    monkeypatch.setitem(sides.FIELDS["dimenet"], "hidden", 16)
    yield models_vs_pyg
    torch.set_num_threads(threads)


@pytest.mark.parametrize("model", ["schnet", "dimenet", "dimenet_pp"])
def test_report(script, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    script.main(
        [
            "--models",
            model,
            "--batches",
            "2",
            "--repeats",
            "1",
            "--threads",
            "1",
            "--device",
            "cpu",
            "--json",
            str(out),
        ]
    )
    report = json.loads(out.read_text())
    assert set(report) == {"environment", "rows", "loader"}
    assert report["environment"]["data"] == "made-up"
    assert [(row["model"], row["mode"]) for row in report["rows"]] == [
        (model, mode) for mode in ("infer", "train", "forces", "force_train", "md")
    ]
    for row in report["rows"]:
        assert row["batch"] == (1 if row["mode"] == "md" else 2)
        assert row["atoms"] >= 9 * row["batch"]
        assert max(row["difference"].values()) < script.ROUNDING["float32"]
        for side in ("molgeo", "pyg"):
            assert row["ms"][side]["median"] > 0
            assert row["peak_mb"][side] > 0
            assert row["gemm_share"][side] > 0
        assert row["ratio"]["q1"] <= row["ratio"]["median"] <= row["ratio"]["q3"]
    assert [row["batch"] for row in report["loader"]] == [2] * (model == "schnet")
    printed = capsys.readouterr().out
    assert printed.count(f"\n| {model} ") == 5
    assert f"PyG's {model}" in printed


def test_different_results_end_the_run(script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "TOLERANCE", 0.0)
    monkeypatch.setattr(script, "ROUNDING", {"float32": 0.0, "float64": 0.0})
    with pytest.raises(SystemExit, match="results differ"):
        script.main(["--models", "schnet", "--batches", "2", "--threads", "1"])


def test_rounding_is_told_from_a_mistake(script) -> None:
    from sides import Case, made_up

    case = Case("schnet", made_up(4), 2, torch.device("cpu"))
    with case.pyg_edges():
        assert script.agree(case, "force_train", {"gradient": 5e-4})
        assert not script.agree(case, "force_train", {"gradient": 5e-2})
        with torch.no_grad():
            next(case.compared["molgeo"].readout.parameters()).mul_(1.001)
        assert not script.agree(case, "force_train", {"gradient": 5e-4})


def test_nan_is_no_agreement(script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sides.Case.differences", lambda *_: {"energy": float("nan")})
    with pytest.raises(SystemExit, match="results differ"):
        script.main(["--models", "schnet", "--batches", "2", "--threads", "1"])


def test_pyg_is_left_out_where_it_would_not_fit(script) -> None:
    one = ["--threads", "1", "--repeats", "1", "--device", "cpu", "--batches", "2"]
    report = script.main(["--models", "schnet", "--modes", "infer", "--pyg-gb", "0", *one])
    (row,) = report["rows"]
    assert "pyg" not in row["ms"]
    assert "GB" in row["pyg_skipped"]


def test_dense_products_are_counted_forwards_and_backwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from measure import _Recorder

    weight = torch.randn(3, 2, requires_grad=True)
    with _Recorder() as recorder:
        (torch.randn(5, 3) @ weight).sum().backward()
    shapes = sorted((tuple(a[0]), tuple(b[0])) for _, a, b in recorder.seen.elements())
    assert shapes == [((3, 5), (5, 2)), ((5, 3), (3, 2))]


def test_cpu_clock_is_refused_where_it_would_mislead(script) -> None:
    with pytest.raises(SystemExit):
        script.main(["--clock", "cpu", "--threads", "2"])


def test_dense_products_of_onednn_are_counted_and_replayed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    from measure import _Recorder, matrix_products

    from molgeo.ops import dense

    monkeypatch.setattr(dense, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(dense, "onednn_is_faster", lambda _: dense._HAS_ONEDNN)
    x, weight = torch.randn(5, 3), torch.randn(2, 3)
    with _Recorder() as recorder:
        dense.linear(x, weight)
    assert recorder.seen.total() == 1
    matrix_products(lambda: dense.linear(x, weight), torch.device("cpu"))()
