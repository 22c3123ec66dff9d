"""Two checkouts in turn: what is compared, and that it runs."""

import pytest

FOLDER = "benchmarks"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, pytestconfig):
    monkeypatch.syspath_prepend(pytestconfig.rootpath / FOLDER)
    import before_after

    return before_after


class Side:
    """A checkout that takes a known time."""

    def __init__(self, seconds: float, value: float = 1.0) -> None:
        self.seconds, self.value, self.asked = seconds, value, []

    def ask(self, do: str, **_: object) -> dict[str, object]:
        self.asked.append(do)
        return {"values": [self.value], "peak": 2e6, "seconds": self.seconds}


def test_a_row_is_the_ratio_of_both(script) -> None:
    sides = [Side(0.2), Side(0.1)]
    row = script._row(sides, "schnet", "infer", 8, 4)
    assert row["ms"] == pytest.approx([200.0, 100.0])
    assert row["ratio"] == row["median_ratio"] == pytest.approx(0.5)
    assert row["peak_mb"] == [2.0, 2.0]
    assert [side.asked for side in sides] == [["build"] + ["step"] * 4] * 2
    assert "| schnet | infer | 8 | 200.00 | 100.00 | 0.500 (0.500) |" in script._line(row)


@pytest.mark.parametrize("other", [1.1, float("nan")])
def test_different_results_end_the_run(script, other) -> None:
    with pytest.raises(SystemExit, match="results differ"):
        script._row([Side(0.1), Side(0.1, other)], "schnet", "infer", 8, 1)


@pytest.mark.parametrize("mode", ["infer", "train", "forces", "force_train", "md"])
def test_a_step_computes_what_is_compared(script, mode) -> None:
    """The same from the same seed, and changed by training alone."""
    first, second = (script.Case("schnet", 1) for _ in range(2))
    values = first.values(mode)
    assert values == pytest.approx(second.values(mode), rel=1e-5)
    assert all(value > 0 for value in values)


def test_a_runs_step_learns_the_same_twice(script) -> None:
    """Of kept edges, by Muon, clipped and averaged."""
    first, second = (script.Run("schnet", 4) for _ in range(2))
    values = first.values("run")
    assert values == pytest.approx(second.values("run"), rel=1e-5)
    assert len(set(values)) == 3
    assert first.averages.n_averaged == first.n_steps == 3
    weights, averages = first.module.predictor.parameters(), first.averages.module.parameters()
    assert any(not w.equal(a) for w, a in zip(weights, averages, strict=True))
