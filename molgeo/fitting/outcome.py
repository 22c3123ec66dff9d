"""What a fit came to, as plain data: each row with its prediction, the way there, and a summary.

Three files of the run's folder hold it, so that a report can be made again without the model:
``rows.csv``, ``history.csv`` and ``summary.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molgeo.chem.scaffolds import scaffold
from molgeo.properties import Property
from molgeo.runtime.errors import InputError
from molgeo.runtime.whole_file import replacing

Array = NDArray[np.float64]

ROW_COLUMNS: Final = (
    "input",
    "name",
    "smiles",
    "part",
    "n_heavy",
    "scaffold",
    "in_domain",
    "domain_reason",
)
"""Columns of every row, before those of the targets."""

BLOCK: Final = ("value", "predicted", "std", "low90", "high90", "baseline", "mean")
"""Ends of the columns of a target: the label, the model's prediction with its standard error and
90% interval, and the predictions of the 2D baseline and of the mean of the training values."""

PREDICTORS: Final = {"model": "predicted", "baseline": "baseline", "mean": "mean"}
"""What is compared → its column."""

FOLD: Final = "fold "
"""Begins the part of a row that a model without this fold has predicted."""

FOLDS: Final = "folds"
"""All folds together."""

WAYS: Final = {"scaffold": "by scaffold", "random": "at random"}
"""Name of a split → how it divides rows."""

BASELINES: Final = {
    "2D baseline": "by substructures and descriptors, without coordinates",
    "composition baseline": "by the composition alone, as the table has no bonds",
}
"""What the model is compared with → how that learns."""

HELD_OUT: Final = ("test", FOLDS)
"""Parts of rows that a model did not see, the best first."""

ENOUGH: Final = 50
ENOUGH_OF_CLASS: Final = 10
"""Test rows, and those of either class, by which a model is judged. Of fewer, chance decides more
than the model, and the rows of the folds are asked."""

_RESAMPLES: Final = 500
_SURE: Final = 0.95
"""Share of the resamples in which the model has to be better."""

FILES: Final = ("rows.csv", "history.csv", "summary.json")


@dataclass(frozen=True)
class FitTarget:
    """What was learned.

    Attributes:
        name: of the property.
        column: as outputs have it, with its unit.
        unit: of the values.
        description: one line for people.
        classes: the texts of two classes, if the values are classes: the value is 0 or 1, and the
            prediction is the probability of the second one.
    """

    name: str
    column: str
    unit: str = ""
    description: str = ""
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, one: Property, classes: Sequence[str] = ()) -> FitTarget:
        """Of a property that a model has.

        Args:
            one: the property.
            classes: as in `FitTarget`.
        """
        return cls(one.name, one.column, one.unit, one.description, tuple(classes))

    @property
    def score(self) -> str:
        """What the model is compared by: the name of an error or a score in the summary."""
        return "roc_auc" if self.classes else "mae"


@dataclass(frozen=True)
class Outcome:
    """What a fit came to.

    Attributes:
        rows: a row per molecule: `ROW_COLUMNS`, with ``scaffold`` as in `molgeo.chem.scaffolds`,
            then ``COLUMN_value`` … of each target as in `BLOCK`; NaN for what is not known.
            ``part`` is ``train``, which the model saw, ``validation``, which it was chosen by,
            ``test``, or ``fold 1`` and so on.
        history: ``member``, ``step``, ``train_loss`` and ``validation_error`` of each validation.
        targets: what was learned.
        summary: of the targets ``errors`` by part (`errors_of`), the ``verdict`` (`verdict`), the
            ``baseline``, how parts are divided (``ways``), and what the fit says ``about`` itself,
            with its ``notes``. A part may also be the name of another split, ``random`` or
            ``scaffold``, whose rows are not among these.
    """

    rows: pd.DataFrame
    history: pd.DataFrame
    targets: tuple[FitTarget, ...]
    summary: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        rows: pd.DataFrame,
        history: pd.DataFrame,
        targets: Sequence[FitTarget],
        about: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        more: Mapping[str, Mapping[str, Any]] | None = None,
        ways: Mapping[str, str] | None = None,
        baseline: str = next(iter(BASELINES)),
    ) -> Outcome:
        """Summarise rows.

        Args:
            rows: as in `Outcome`; columns that it lacks are not known of any row.
            history: as in `Outcome`.
            targets: what was learned.
            about: title → what the fit says of itself, in the order in which it is shown.
            notes: for people, a line each.
            more: column of a target → errors of further rows, such as of another split.
            ways: part → how its rows are divided from the others, in words as of `WAYS`.
            baseline: one of `BASELINES`.
        """
        if "scaffold" not in rows and "smiles" in rows:
            rows = rows.assign(scaffold=[scaffold(str(one or "")) for one in rows["smiles"]])
        ends = [f"{one.column}_{end}" for one in targets for end in BLOCK]
        whole = rows.reindex(columns=[*ROW_COLUMNS, *ends])
        for column in ends:
            whole[column] = whole[column].astype("float64")
        errors = {
            one.column: errors_of(whole, one) | dict((more or {}).get(one.column, {}))
            for one in targets
        }
        summary = {
            "targets": [{**asdict(one), "classes": list(one.classes)} for one in targets],
            "verdict": {
                one.column: verdict(whole, one, errors[one.column], baseline) for one in targets
            },
            "errors": errors,
            "baseline": baseline,
            "ways": dict(ways or {}),
            "about": dict(about or {}),
            "notes": list(notes),
        }
        return cls(whole, history, tuple(targets), summary)

    def write(self, folder: Path) -> None:
        """Write the three files, each whole or not at all.

        Args:
            folder: that is there.
        """
        texts = (
            self.rows.to_csv(index=False),
            self.history.to_csv(index=False),
            json.dumps(self.summary, indent=2, ensure_ascii=False) + "\n",
        )
        for name, text in zip(FILES, texts, strict=True):
            with replacing(folder / name) as part:
                part.write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Outcome:
        """What `write` wrote.

        Args:
            folder: of a run.

        Raises:
            InputError: there is no such folder, or its files are of something else.
        """
        try:
            texts = {"input": str, "name": str, "smiles": str, "part": str, "scaffold": str}
            texts["domain_reason"] = str
            rows = pd.read_csv(folder / FILES[0], dtype=texts, keep_default_na=True)
            known = [name for name in texts if name in rows]
            rows[known] = rows[known].fillna("")
            history = pd.read_csv(folder / FILES[1])
            summary = json.loads((folder / FILES[2]).read_text(encoding="utf-8"))
            targets = [
                FitTarget(**{**one, "classes": tuple(one["classes"])}) for one in summary["targets"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder}: expected the folder of a fit with {', '.join(FILES)}: {error}"
            ) from error
        return cls(rows, history, tuple(targets), summary)

    @property
    def headline(self) -> str:
        """The verdicts of all targets, in one line."""
        return " ".join(one["text"] for one in self.verdicts)

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """Those of all targets that have one; first of those whose model is not better."""
        known = [one for one in self.summary["verdict"].values() if one["text"]]
        return sorted(known, key=lambda one: ("no", "unsure", "yes").index(one["better"]))


def among(rows: pd.DataFrame, part: str) -> NDArray[np.bool_]:
    """Which rows are of a part.

    Args:
        rows: as in `Outcome`.
        part: ``train``, ``validation``, ``test`` or `FOLDS`.
    """
    parts = rows["part"].astype(str)
    found = parts.str.startswith(FOLD) if part == FOLDS else parts == part
    return np.asarray(found, bool)


def block(rows: pd.DataFrame, one: FitTarget, end: str) -> Array:
    """(rows,) a column of a target.

    Args:
        rows: as in `Outcome`.
        one: the target.
        end: of the column's name, as in `BLOCK`.
    """
    return np.asarray(rows[f"{one.column}_{end}"], np.float64)


def errors_of(rows: pd.DataFrame, one: FitTarget) -> dict[str, dict[str, Any]]:
    """Part → ``n``, the errors of each of `PREDICTORS` on the very same rows, and the coverage.

    Args:
        rows: as in `Outcome`.
        one: the target.
    """
    found = {}
    values, predicted = block(rows, one, "value"), block(rows, one, "predicted")
    low, high = block(rows, one, "low90"), block(rows, one, "high90")
    for part in ("train", "validation", FOLDS, "test"):
        is_in = among(rows, part) & np.isfinite(values) & np.isfinite(predicted)
        if not is_in.any():
            continue
        told: dict[str, Any] = {"n": int(is_in.sum())}
        for name, end in PREDICTORS.items():
            theirs = block(rows, one, end)[is_in]
            if np.isfinite(theirs).all():
                told[name] = scores(values[is_in], theirs, bool(one.classes))
        if "mean" in told:  # it ranks nothing, though each fold has a mean of its own
            told["mean"] |= (
                {"roc_auc": 0.5, "pr_auc": float(values[is_in].mean())}
                if one.classes
                else {"spearman": None}
            )
        has_bars = is_in & np.isfinite(low) & np.isfinite(high)
        if has_bars.any():
            inside = (low <= values) & (values <= high)
            told["n_with_bars"] = int(has_bars.sum())
            told["within90"] = float(inside[has_bars].mean())
            told["width90"] = float(np.median((high - low)[has_bars]))
        found[part] = told
    return found


def scores(values: Array, predicted: Array, is_class: bool) -> dict[str, float | None]:
    """Errors of numbers, or scores of probabilities; None for what such rows do not tell.

    Args:
        values: (rows,) labels; 0 or 1 of classes.
        predicted: (rows,).
        is_class: whether ``predicted`` are probabilities of 1.

    Returns:
        ``mae``, ``rmse``, ``r2`` and ``spearman``; or ``roc_auc``, ``pr_auc``, ``accuracy`` and
        ``log_loss``.
    """
    return _of_classes(values, predicted) if is_class else _of_numbers(values, predicted)


def _of_numbers(values: Array, predicted: Array) -> dict[str, float | None]:
    from scipy.stats import spearmanr

    errors = predicted - values
    spread = float(((values - values.mean()) ** 2).sum())
    varied = len(values) > 2 and spread > 0 and np.ptp(predicted) > 1e-12 * np.ptp(values)
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "r2": 1 - float((errors**2).sum()) / spread if spread > 0 else None,
        "spearman": float(spearmanr(values, predicted).statistic) if varied else None,
    }


def _of_classes(values: Array, predicted: Array) -> dict[str, float | None]:
    from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

    truth, p = values.astype(int), np.clip(predicted, 0.0, 1.0)
    has_both = 0 < truth.sum() < len(truth)
    return {
        "roc_auc": float(roc_auc_score(truth, p)) if has_both else None,
        "pr_auc": float(average_precision_score(truth, p)) if has_both else None,
        "accuracy": float(((p >= 0.5) == truth).mean()),
        "log_loss": float(log_loss(truth, np.clip(p, 1e-6, 1 - 1e-6), labels=[0, 1])),
    }


def verdict(
    rows: pd.DataFrame,
    one: FitTarget,
    errors: Mapping[str, Mapping[str, Any]],
    baseline: str = next(iter(BASELINES)),
) -> dict[str, Any]:
    """Whether the model is better than the 2D baseline and the mean on rows that it did not see.

    Args:
        rows: as in `Outcome`.
        one: the target.
        errors: of `errors_of`.
        baseline: one of `BASELINES`.

    Returns:
        ``part`` that is judged by, the test part if it has `ENOUGH` rows; ``text`` for people; and
        ``better``: ``yes``, ``unsure`` if another choice of as many molecules may say otherwise, or
        ``no``. Without held-out rows ``part`` and ``text`` are empty.
    """
    there = [part for part in HELD_OUT if part in errors]
    enough = (part for part in there if part == FOLDS or _is_enough(rows, one, part))
    part = next(enough, there[0] if there else "")
    told = errors.get(part, {})
    key = one.score
    known = {
        name: told[name][key] for name in PREDICTORS if name in told and told[name][key] is not None
    }
    if "model" not in known or len(known) < 2:
        return {"part": part, "better": "", "text": ""}
    ours = known.pop("model")
    sign = -1.0 if one.classes else 1.0
    rival = min(known, key=lambda name: sign * known[name])
    better = "no"
    if sign * ours < sign * known[rival]:
        is_in = among(rows, part) & np.isfinite(block(rows, one, "value"))
        is_in &= np.isfinite(block(rows, one, "predicted"))
        better = "yes" if _share_better(rows[is_in], one, rival) >= _SURE else "unsure"
    unit = f" {one.unit}" if one.unit and not one.classes else ""
    what = "ROC-AUC" if one.classes else "mean error"
    of = {"baseline": f"the {baseline}", "mean": "the mean of the training values"}[rival]
    relation = {
        "yes": "is better than",
        "unsure": "is not clearly better than",
        "no": "is no better than",
    }[better]
    rows_of = {at: "row" if errors[at]["n"] == 1 else "rows" for at in there}
    where = {"test": "test {}", FOLDS: "{}, each predicted without its fold"}
    order = [part, *(other for other in there if other != part)]
    compared = [
        (errors[at][rival][key], errors[at]["model"][key], at)
        for at in order
        if {"model", rival} <= errors[at].keys()
    ]
    figures = [
        f"{own:.3g} and {theirs:.3g}{unit} on {errors[at]['n']} {where[at].format(rows_of[at])}"
        for theirs, own, at in compared
        if own is not None and theirs is not None
    ]
    text = f"{one.name}: the 3D model {relation} {of}: {what} {'; '.join(figures)}."
    return {"part": part, "better": better, "rival": rival, "text": text}


def _is_enough(rows: pd.DataFrame, one: FitTarget, part: str) -> bool:
    """Whether a part has so many rows that a model can be judged by them."""
    values = block(rows, one, "value")[among(rows, part)]
    known = values[np.isfinite(values)]
    if not one.classes:
        return len(known) >= ENOUGH
    return min(int((known > 0.5).sum()), int((known <= 0.5).sum())) >= ENOUGH_OF_CLASS


def _share_better(rows: pd.DataFrame, one: FitTarget, rival: str) -> float:
    """Share of resamples of the molecules in which the model is ahead."""
    values, ours = block(rows, one, "value"), block(rows, one, "predicted")
    theirs = block(rows, one, PREDICTORS[rival])
    draw = np.random.RandomState(0)
    n, wins, tried = len(values), 0, 0
    for _ in range(_RESAMPLES):
        chosen = draw.randint(0, n, n)
        a, b = (_loss(values[chosen], p[chosen], one) for p in (ours, theirs))
        if a is not None and b is not None:
            tried += 1
            wins += a < b
    return wins / tried if tried else 0.0


def _loss(values: Array, predicted: Array, one: FitTarget) -> float | None:
    """What `FitTarget.score` says, as an error: the smaller the better; None if it is not told."""
    if not one.classes:
        return float(np.abs(predicted - values).mean())
    from scipy.stats import rankdata

    positive = values > 0.5
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return None
    return 1.0 - (float(rankdata(predicted)[positive].sum()) - n * (n + 1) / 2) / (n * m)
