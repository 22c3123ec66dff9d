"""The CSV log of a run."""

import pytest

from molgeo.training.csv_log import validation_curve


@pytest.mark.parametrize("n", [0, 1, 12, 13, 40])
def test_a_curve_is_short_and_has_the_last_validation(n, tmp_path):
    rows = "".join(f"{step},{1 / (step + 1)}\n{step + 5},\n" for step in range(9, 10 * n, 10))
    (tmp_path / "metrics.csv").write_text("step,val_loss\n" + rows)
    curve = validation_curve(tmp_path / "metrics.csv")
    assert len(curve) == (n if n <= 12 else pytest.approx(9, abs=3))
    assert curve[-1:] == ([(10 * n, 1 / (10 * n))] if n else [])
    assert validation_curve(tmp_path / "none.csv") == []
