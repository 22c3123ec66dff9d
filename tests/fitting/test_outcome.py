"""What a fit came to: errors beside the baseline's, the verdict, and the files."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score

from molgeo.fitting.outcome import FOLDS, FitTarget, Outcome, among
from molgeo.properties import Property
from molgeo.runtime.errors import InputError

LOGS = FitTarget.of(Property("logS", "log mol/L", "mean"))
TOXIC = FitTarget("toxic", "toxic", classes=("no", "yes"))
HISTORY = pd.DataFrame(
    {"member": [1, 1], "step": [10, 20], "train_loss": [1.0, 0.5], "validation_error": [0.9, 0.6]}
)


def rows_of(n=200, ours=0.3, baseline=0.6, seed=0):
    draw = np.random.default_rng(seed)
    value = draw.normal(-3, 2, n)
    predicted = value + draw.normal(0, ours, n)
    parts = np.where(np.arange(n) < n // 2, "train", "test")
    c = LOGS.column
    return pd.DataFrame(
        {
            "input": [f"row {k}" for k in range(n)],
            "smiles": "CCO",
            "part": parts,
            f"{c}_value": value,
            f"{c}_predicted": predicted,
            f"{c}_low90": predicted - 1.645 * ours,
            f"{c}_high90": predicted + 1.645 * ours,
            f"{c}_baseline": value + draw.normal(0, baseline, n),
            f"{c}_mean": value[: n // 2].mean(),
        }
    )


def classes_of(n=120, seed=1):
    draw = np.random.default_rng(seed)
    truth = (np.arange(n) % 3 == 0).astype(float)
    return pd.DataFrame(
        {
            "part": [f"fold {1 + k % 4}" for k in range(n)],
            "toxic_value": truth,
            "toxic_predicted": np.clip(truth * 0.6 + draw.uniform(0, 0.5, n), 0, 1),
            "toxic_baseline": draw.uniform(0, 1, n),
            "toxic_mean": 1 / 3,
        }
    )


def test_errors_agree_with_scikit_learn():
    rows = rows_of()
    told = Outcome.of(rows, HISTORY, [LOGS]).summary["errors"][LOGS.column]["test"]
    test = rows[rows.part == "test"]
    value, predicted = test[f"{LOGS.column}_value"], test[f"{LOGS.column}_predicted"]
    errors = predicted - value
    assert told["n"] == 100
    assert told["model"]["mae"] == pytest.approx(errors.abs().mean())
    assert told["model"]["rmse"] == pytest.approx((errors**2).mean() ** 0.5)
    assert told["model"]["r2"] == pytest.approx(r2_score(value, predicted))
    assert told["model"]["spearman"] == pytest.approx(spearmanr(value, predicted).statistic)
    assert told["mean"]["spearman"] is None
    assert told["within90"] == pytest.approx((errors.abs() <= 1.645 * 0.3).mean())
    assert told["width90"] == pytest.approx(2 * 1.645 * 0.3)


def test_classes_have_scores_of_their_own():
    rows = classes_of()
    outcome = Outcome.of(rows, HISTORY, [TOXIC])
    told = outcome.summary["errors"]["toxic"][FOLDS]
    truth, p = rows.toxic_value, rows.toxic_predicted
    assert told["model"]["roc_auc"] == pytest.approx(roc_auc_score(truth, p))
    assert told["model"]["pr_auc"] == pytest.approx(average_precision_score(truth, p))
    assert told["mean"]["roc_auc"] == pytest.approx(0.5)
    assert outcome.summary["verdict"]["toxic"]["better"] == "yes"
    assert "each predicted without its fold" in outcome.headline


@pytest.mark.parametrize(
    ("baseline", "better", "words"),
    [(0.6, "yes", "is better than"), (0.31, "unsure", "not clearly"), (0.2, "no", "no better")],
)
def test_the_verdict_says_whether_the_baseline_is_as_good(baseline, better, words):
    outcome = Outcome.of(rows_of(baseline=baseline, seed=5), HISTORY, [LOGS])
    found = outcome.summary["verdict"][LOGS.column]
    assert (found["better"], found["rival"], found["part"]) == (better, "baseline", "test")
    assert words in outcome.headline
    assert "log mol/L on 100 test rows" in outcome.headline


@pytest.mark.parametrize(("n_test", "part"), [(49, FOLDS), (50, "test")])
def test_few_test_rows_decide_nothing(n_test, part):
    rows = rows_of()
    rows["part"] = np.where(np.arange(200) < n_test, "test", "fold 1")
    # On the test part the model is the worse one.
    c = LOGS.column
    rows.loc[rows.part == "test", f"{c}_baseline"] = rows[f"{c}_value"]
    found = Outcome.of(rows, HISTORY, [LOGS]).summary["verdict"][c]
    assert (found["part"], found["better"]) == (part, "yes" if part == FOLDS else "no")
    figures = [f"on {n_test} test rows", f"on {200 - n_test} rows, each predicted without"]
    places = [found["text"].index(text) for text in figures]
    assert (places == sorted(places)) == (part == "test")


@pytest.mark.parametrize(("n_ones", "part"), [(9, FOLDS), (10, "test")])
def test_few_of_a_class_decide_nothing(n_ones, part):
    rows = classes_of(300)
    ones = rows.index[rows.toxic_value == 1][:n_ones]
    zeros = rows.index[rows.toxic_value == 0][:100]
    rows.loc[[*ones, *zeros], "part"] = "test"
    assert Outcome.of(rows, HISTORY, [TOXIC]).summary["verdict"]["toxic"]["part"] == part


def test_a_model_worse_than_the_mean_is_compared_with_the_mean():
    rows = rows_of(ours=6.0, baseline=9.0)
    outcome = Outcome.of(rows, HISTORY, [LOGS])
    assert "no better than the mean of the training values" in outcome.headline


def test_what_is_not_known_is_left_out():
    rows = rows_of()
    c = LOGS.column
    rows.loc[150, f"{c}_value"] = np.nan
    rows.loc[151, f"{c}_baseline"] = np.nan
    told = Outcome.of(rows.drop(columns=f"{c}_low90"), HISTORY, [LOGS]).summary["errors"][c]["test"]
    assert told["n"] == 99
    assert "baseline" not in told  # not on the very same rows
    assert "within90" not in told
    assert "mean" in told


def test_it_is_written_and_read(tmp_path):
    outcome = Outcome.of(
        rows_of(20), HISTORY, [LOGS, TOXIC], {"rows": "20"}, ["Two rows are set aside."]
    )
    outcome.write(tmp_path)
    read = Outcome.read(tmp_path)
    assert read.summary == outcome.summary
    assert read.targets == (LOGS, TOXIC)
    assert read.headline == outcome.headline
    c = f"{LOGS.column}_predicted"
    assert read.rows[c].tolist() == outcome.rows[c].tolist()
    assert among(read.rows, "test").sum() == 10
    assert read.history.equals(outcome.history)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "history.csv",
        "rows.csv",
        "summary.json",
    ]


def test_another_folder_is_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder of a fit with rows\.csv"):
        Outcome.read(tmp_path)
    (tmp_path / "rows.csv").write_text("a\n1\n")
    (tmp_path / "history.csv").write_text("a\n1\n")
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(InputError, match="expected the folder of a fit"):
        Outcome.read(tmp_path)
