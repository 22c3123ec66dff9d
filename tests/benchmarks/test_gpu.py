"""The script for a card, on a CPU; what it makes of a card's events and of targets."""

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

    parts = ["a run", "schnet", "dynamics", "many molecules"]
    given = ["--device", "cpu", "--quick", "--out", str(tmp_path), "--only", *parts]
    report = gpu.main(given)
    assert report["tests"][0] == "tests: passed"
    assert report["tests"][-1] == "left out on cpu: nothing"
    assert report["left_out"] == []
    assert report["targets"] == ["not run: all targets, which are of a card"]
    rows = report["rows"]
    assert {row["what"] for row in rows} > {"spectrum_net_qm9", "schnet", "relaxation"}
    sides = {(row["side"], row["edges"]) for row in rows if row["what"] == "schnet"}
    assert sides == {(side, edges) for side in ("molgeo", "PyG") for edges in ("found", "given")}
    for row in rows:
        assert row["step_ms"] > 0
        assert row["memory_limit_ms"] > 0
        assert row["busy_ms"] is None  # nothing is said of a card that is not there
        if row["side"] == "PyG":
            assert row["difference"] < 1e-4
        elif row["edges"] == "given":
            assert row["waits"] == 0
    written = (tmp_path / "gpu.md").read_text()
    assert all(f"\n| {row['what']} | {row['mode']}" in written for row in rows)
    assert (tmp_path / "gpu.json").exists()


def test_a_part_that_fails_is_named_and_the_others_are_measured(tmp_path, monkeypatch) -> None:
    import gpu

    def broken(*_):
        raise ValueError("of no use")
        yield

    row = {"what": "x", "mode": "y", "batch": 1, "side": "molgeo", "edges": "kept"}
    row |= {"step_ms": 1.0, "busy_ms": None, "launches": None, "waits": 0.0}
    row |= {"peak_mb": 1.0, "moved_mb": 1.0}
    parts = [gpu.Part("a", broken, 1.0), gpu.Part("c", broken, 0.0)]
    parts.append(gpu.Part("b", lambda _: iter([row]), 1.0))
    monkeypatch.setattr(gpu, "_quick", lambda *_: parts)
    monkeypatch.setattr(gpu, "run_tests", lambda _: ["tests: passed"])
    with pytest.raises(SystemExit, match="something failed"):
        gpu.main(["--device", "cpu", "--quick", "--out", str(tmp_path)])
    written = (tmp_path / "gpu.md").read_text()
    assert "* a: FAILED, ValueError: of no use" in written
    assert "* c: not run, the 280 s are over" in written
    assert "| x | y | 1 |" in written


def test_a_card_is_busy_while_anything_runs_on_it() -> None:
    from card import Event, busy_and_launches

    events = [
        Event("kernel", True, 10, 20),
        Event("kernel of another stream", True, 15, 30),
        Event("inside", True, 16, 18),
        Event("Memcpy DtoH", True, 50, 55),
        Event("cudaLaunchKernel", False, 0, 5),
        Event("cuLaunchKernelEx", False, 5, 7),
        Event("cudaGraphLaunch", False, 7, 9),
        Event("cudaMemcpyAsync", False, 40, 60),
        Event("cudaStreamSynchronize", False, 60, 70),
        Event("aten::mm", False, 0, 5),
    ]
    assert busy_and_launches(events) == (25, 4)


@pytest.mark.parametrize("mode", ["infer", "forces", "train"])
def test_a_recorded_step_is_replayed(mode: str) -> None:
    """By what stands in for CUDA graphs on a CPU, for other positions and weights."""
    from card_rows import GivenGraph, known_slots, recorded
    from sides import Case, made_up
    from static_replay import StaticReplay

    case = Case("spectrum_net", made_up(8), 2, torch.device("cpu"))

    def capture(function):
        function()
        return StaticReplay.capture(function)

    model = GivenGraph(case.sides["molgeo"], known_slots(case.graph))
    replay, step, results = recorded(case, mode, model, capture)
    case.pos += 0.01 * torch.randn_like(case.pos)
    before, of_replay = [p.detach().clone() for p in model.parameters()], list(results)
    replay()
    found = [x.detach().clone() for x in of_replay]
    moved = any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert moved is (mode == "train")
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), before, strict=True):
            parameter.copy_(value)
    step()
    torch.testing.assert_close(found, [x.detach() for x in results], rtol=1e-5, atol=1e-5)


def test_pytorchs_edges_and_triplets_are_all_there_are() -> None:
    from pyg_graphs import given_triplets, pytorch_edges, pytorch_triplets

    from molgeo.graph import radius_graph

    torch.manual_seed(0)
    sizes = torch.tensor([1, 7, 2, 9])
    batch = torch.repeat_interleave(torch.arange(4), sizes)
    pos = 3.0 * torch.rand(int(sizes.sum()), 3)
    graph = radius_graph(pos, 2.0, batch)
    edges = pytorch_edges(pos, 2.0, batch)
    assert torch.equal(edges, torch.stack([graph.target, graph.source]))
    found, expected = pytorch_triplets(edges, len(pos)), given_triplets(graph)
    assert all(torch.equal(a, b) for a, b in zip(found[:2], expected[:2], strict=True))
    rows = [sorted(zip(*(x.tolist() for x in one[2:]), strict=True)) for one in (found, expected)]
    assert rows[0] == rows[1]
    assert len(rows[0]) > 20


def test_targets_are_met_not_met_or_not_run() -> None:
    from card_targets import verdicts

    def row(what, mode, batch, step_ms, side="molgeo", edges="given, replayed", **others):
        title = {"what": what, "mode": mode, "batch": batch, "side": side, "edges": edges}
        return title | {"step_ms": step_ms, "busy_ms": 0.9 * step_ms, "peak_mb": 10.0} | others

    rows = [
        row("spectrum_net_qm9", "run", 128, 6.5, edges="gathered"),
        row("dimenet_pp_qm9", "run", 128, 12.0, edges="gathered"),
        row("schnet", "infer", 32, 2.0, edges="found"),
        row("schnet", "infer", 32, 1.0),
        row("schnet", "infer", 32, 2.5, "PyG", "given", peak_mb=18.0),
        row("schnet", "infer", 32, 3.5, "PyG", "found"),
        row("relaxation", "relax", 1024, 5.0, steps_per_s=3000.0),
        row("relaxation", "relax", 1, 5.0, steps_per_s=10.0),
    ]
    lines = verdicts(rows, ["tests: passed", "100 passed"], on_card=True)
    assert lines[0].startswith("met: pytest --device cuda")
    for expected in (
        "met: spectrum_net_qm9, batch 128, 6.50 ≤ 7 ms",
        "met: spectrum_net_qm9, batch 128, the card busy, 0.90 ≥ 0.85 of a step",
        "not met: dimenet_pp_qm9, batch 128, 12.00 ≤ 11 ms",
        "not met: schnet, infer, batch 32, memory 0.56 ≤ 0.5 of PyG's",
        "not run: schnet, infer, batch 128 beside PyG",
        "not run: ethanol's step through ASE ≤ 1.5 ms",
        "met: 1,024 molecules relaxed together, steps per second, 300.00 ≥ 200 times",
    ):
        assert expected in lines
    assert any(x.startswith("met: schnet, infer, batch 32, 2.50 ≥ 2 of molgeo's") for x in lines)
    failed = verdicts(rows, ["tests: FAILED"], on_card=True)
    assert failed[0].startswith("not met: pytest")


def test_bytes_are_those_of_inputs_and_outputs() -> None:
    from traffic import bytes_moved

    a, b = torch.ones(8, 4), torch.ones(8, 1).expand(8, 4)
    assert bytes_moved(lambda: a + b) == 4 * (32 + 8 + 32)
    assert bytes_moved(lambda: a.t()) == 0
    assert bytes_moved(lambda: torch.empty(5)) == 0
