"""The page of a fit."""

import re

import numpy as np
import pandas as pd
import pytest

from molgeo.fitting.outcome import FitTarget, Outcome
from molgeo.fitting.report.page import write_page
from molgeo.properties import Property
from molgeo.runtime.errors import InputError

LOGS = FitTarget.of(Property("logS", "log mol/L", "mean", description="a <b>solubility</b>"))
TOXIC = FitTarget("toxic", "toxic", classes=("no", "yes"))
SMILES = [f"{'C' * n}{end}" for n in range(1, 11) for end in ("O", "c1ccccc1", "C(=O)O", "Cl")]


def outcome_of(baseline=0.2, bars=True, folds=True):
    draw = np.random.default_rng(3)
    n, c = len(SMILES), LOGS.column
    value = draw.normal(-3, 2, n)
    predicted = value + draw.normal(0, 0.4, n)
    predicted[7] = value[7] + 9.0  # the worst, of the test part
    parts = ["test" if k % 4 == 3 else f"fold {1 + k % 3}" if folds else "train" for k in range(n)]
    truth = (value > -3).astype(float)
    rows = {
        "input": [f"row {k}" for k in range(n)],
        "name": "",
        "smiles": SMILES,
        "part": parts,
        "n_heavy": [len(one.replace("l", "")) for one in SMILES],
        "domain_reason": ["rare <i>atoms</i>" if k == 7 else "" for k in range(n)],
        f"{c}_value": value,
        f"{c}_predicted": predicted,
        f"{c}_baseline": value + draw.normal(0, baseline, n),
        f"{c}_mean": -3.0,
        "toxic_value": truth,
        "toxic_predicted": np.clip(0.5 * truth + draw.uniform(0, 0.5, n), 0, 1),
        "toxic_baseline": draw.uniform(0, 1, n),
        "toxic_mean": 0.5,
    }
    if bars:
        ends = {"std": 0.4, "low90": predicted - 0.7, "high90": predicted + 0.7}
        rows |= {f"{c}_{end}": column for end, column in ends.items()}
    history = pd.DataFrame(
        {
            "member": [1, 1, 2, 2],
            "step": [10, 20, 10, 20],
            "train_loss": [None, 0.5, 1.0, None],
            "validation_error": [0.9, 0.6, 0.8, 0.7],
        }
    )
    scores = {"mae": 0.123, "rmse": 0.4, "r2": None, "spearman": None}
    told = {"n": 9, **dict.fromkeys(("model", "baseline", "mean"), scores)}
    more = {"more": {LOGS.column: {"random": told}}, "ways": {"test": "by scaffold"}}
    about = {"members": 2}
    return Outcome.of(pd.DataFrame(rows), history, [TOXIC, LOGS], about, ["<script>"], **more)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, outcome_of())
    return path.read_text()


def test_the_first_line_says_if_the_baseline_is_as_good(page):
    body = page[page.index("<body>") :]
    first = re.search(r'<p class="verdict([^"]*)"><strong>(.*?)</strong>', body)
    assert body.index(first[0]) < body.index("<h1>")
    assert first[1] == " notice"
    assert first[2].startswith("logS: the 3D model is no better than the 2D baseline: mean error")


def test_it_is_one_file_and_text_is_escaped(page):
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "<script" not in page
    for text in (
        "&lt;script&gt;",
        "a &lt;b&gt;solubility&lt;/b&gt;",
        "rare &lt;i&gt;atoms&lt;/i&gt;",
    ):
        assert text in page


def test_tables_have_all_predictors_and_scores(page):
    told = outcome_of().summary["errors"]
    for part in ("test", "folds"):
        for name in ("model", "baseline", "mean"):
            assert f"<td>{told[LOGS.column][part][name]['mae']:.3g}</td>" in page
            assert f"<td>{told['toxic'][part][name]['roc_auc']:.3g}</td>" in page
    assert f"<td>{told[LOGS.column]['test']['within90']:.0%}</td>" in page
    assert "test rows, by scaffold: no model saw them" in page
    assert "rows of the folds: each predicted without its fold" in page
    held = r"rows held out at random: [^<]*</td><td>9</td><td[^>]*>3D model</td><td>0.123</td>"
    assert re.search(held, page)
    assert page.count("Rows by scaffold say what to expect of new chemistry") == 1
    assert "<code>no ring: [OH]</code>" in page
    assert "<code>c1ccccc1</code>" in page


def test_figures_and_worst_molecules(page):
    titles = re.findall(r'<section class="panel"><h2>(.*?)</h2>', page)
    of_folds = [f"{one}, rows of the folds" for one in ("Classes told apart", "Probabilities")]
    classes = [*of_folds, "Errors by size"]
    numbers = ["3D model", "2D baseline", "Calibration of the bars", "Errors by size"]
    assert titles == classes + numbers
    assert page.index("Learning curve") > page.index("Calibration of the bars")
    worst = page[page.rindex("largest errors") :]
    first = re.search(r"<code>(.*?)</code>", worst)
    assert first[1] == SMILES[7]
    assert worst.count('class="panel bad"') == 10
    assert "rare &lt;i&gt;" in worst


def test_what_is_not_known_has_no_figure(tmp_path):
    outcome = outcome_of(bars=False, folds=False)
    outcome.rows[f"{LOGS.column}_baseline"] = np.nan
    path = tmp_path / "report.html"
    write_page(path, Outcome.of(outcome.rows, pd.DataFrame(), [LOGS]))
    page = path.read_text()
    assert "Calibration of the bars" not in page
    assert "90% intervals" not in page
    assert "Error bars" not in page
    assert "<h2>2D baseline" not in page
    assert "Learning curve" not in page
    assert "<h2>3D model</h2>" in page
    assert "the mean of the training values: mean error" in page


def test_a_place_that_is_none_is_said(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_page(tmp_path / "none" / "report.html", outcome_of())
