import numpy as np
import pandas as pd
import pytest

from molgeo.runtime.errors import InputError
from molgeo.simulation.report.summary import mean_of_blocks, summarise


def table(tmp_path, n=101, **more):
    time = np.arange(n) * 5.0
    columns = {
        "step": np.arange(n),
        "time_fs": time,
        "potential_eV": -10.0 + 0.0 * time,
        "kinetic_eV": 1.0 + 0.0 * time,
        "total_eV": -9.0 + 0.0 * time,
        "temperature_K": np.where(time < 250, 100.0, 300.0 + 10.0 * (-1) ** np.arange(n)),
        "conserved_eV": -9.0 + 1e-3 * time / 1000.0,
        **more,
    }
    path = tmp_path / "md.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_means_leave_out_the_start_and_drift_is_of_all(tmp_path):
    summary = summarise(table(tmp_path), n_atoms=10)
    assert summary.settled.temperature_K.mean() == pytest.approx(300.0, abs=0.3)
    assert summary.drift == pytest.approx(0.1)  # 1 meV/ps of ten atoms
    np.testing.assert_allclose(summary.deviation[-1], 0.05)
    lines = dict(summary.lines())
    assert lines["simulated"] == "0.500 ps"
    assert lines["means are over"] == "the last 0.250 ps"
    assert lines["mean temperature"] == "300 ± 1 K, fluctuates by 10 K"
    assert lines["mean potential energy"] == "-10.0000 eV"
    assert lines["drift of the conserved energy"] == "0.1 meV/atom/ps"
    assert set(lines) == {
        "simulated",
        "means are over",
        "mean temperature",
        "mean potential energy",
        "drift of the conserved energy",
    }


@pytest.mark.parametrize(("part", "expected"), [(0.0, 0.25), (0.1, 0.25), (0.4, 0.4)])
def test_a_cold_start_is_left_out(tmp_path, part, expected):
    """Of which there may be none: a quarter is left out anyway."""
    n = 2000
    cold = np.arange(n) < part * n
    noise = np.random.default_rng(0).standard_normal(n)
    path = tmp_path / "md.csv"
    table(tmp_path, n, temperature_K=300.0 + 20.0 * noise - 150.0 * cold)
    summary = summarise(path, 10)
    assert summary.settled_from == (pytest.approx(expected * n, abs=2), True)
    assert summary.settled.temperature_K.mean() == pytest.approx(300.0, abs=3.0)


def test_a_run_that_has_not_settled_says_so(tmp_path):
    """A temperature that rises to the end, and an energy that does."""
    for column in ("temperature_K", "potential_eV"):
        summary = summarise(table(tmp_path, **{column: np.arange(101.0)}), 10)
        assert summary.settled_from == (50, False)
        lines = dict(summary.lines())
        assert lines["means are over"] == "the last 0.250 ps, as the run is too short to settle"


@pytest.mark.parametrize(("settling", "expected"), [(100.0, 50), (300.0, 60), (450.0, 60)])
def test_a_thermostat_takes_its_time(tmp_path, settling, expected):
    """Whatever a series looks like; of 600 fs, half at most."""
    summary = summarise(table(tmp_path, n=121), 10, settling)
    assert summary.settled_from == (expected, settling <= 300)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_run_of_a_few_rows(tmp_path, n):
    summary = summarise(table(tmp_path, n), 10)
    assert len(summary.settled) >= 1
    assert summary.lines()


def test_the_error_of_a_mean_knows_that_values_remember_each_other():
    """Of x' = a x + noise the mean's variance is (1 + a) / (1 − a) times that of independent x."""
    rng = np.random.default_rng(0)
    x = np.empty(100_000)
    x[0] = 0.0
    for k, noise in enumerate(rng.standard_normal(len(x) - 1)):
        x[k + 1] = 0.9 * x[k] + noise
    mean, error = mean_of_blocks(x + 7.0, 500)
    right = np.sqrt(19.0 / (1 - 0.9**2) / len(x))
    assert error == pytest.approx(right, rel=0.1)
    assert abs(mean - 7.0) < 3 * error
    assert mean_of_blocks(np.array([9.0, 1.0, 1.0, 3.0, 3.0]), 2) == (2.0, 1.0)


def test_short_runs_have_no_error_of_their_mean(tmp_path):
    lines = dict(summarise(table(tmp_path, n=10), 3).lines())
    assert "±" not in lines["mean temperature"]


def test_what_is_not_there_is_not_said(tmp_path):
    summary = summarise(table(tmp_path, conserved_eV=np.nan), n_atoms=10)
    assert summary.deviation is None
    assert summary.drift is None
    assert "drift of the conserved energy" not in dict(summary.lines())


def test_periodic_runs_and_ensembles_have_more(tmp_path):
    path = table(tmp_path, pressure_bar=12.4, volume_A3=1000.0, max_force_std_eV_A=0.25)
    lines = dict(summarise(path, 10).lines())
    assert lines["mean pressure"] == "12 bar"
    assert lines["mean volume"] == "1000.0 Å³"
    assert lines["largest expected error of a force"] == "0.250 eV/Å"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "cannot be read as a table"),
        ("a,b\n1,2\n", "expected rows with conserved_eV"),
        ("time_fs,potential_eV,total_eV,temperature_K,conserved_eV\n", "expected rows"),
    ],
)
def test_what_is_no_table(tmp_path, text, match):
    path = tmp_path / "md.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=match):
        summarise(path, 3)
    with pytest.raises(InputError, match="cannot be read"):
        summarise(tmp_path / "nowhere.csv", 3)
