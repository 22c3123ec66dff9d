"""What is told of a fit: its rows with predictions, its summary, and the header of its model."""

from __future__ import annotations

import dataclasses
import datetime
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd
import torch

from molgeo.chem.scaffolds import scaffold
from molgeo.data.tensor_file import read_tensors, write_tensors
from molgeo.evaluation.collected import Collected
from molgeo.evaluation.properties import errors
from molgeo.fitting.bars import HeldOut, sample_of
from molgeo.fitting.baseline import Baselines, baselines
from molgeo.fitting.members import Data
from molgeo.fitting.other_split import Train, errors_of_other_split
from molgeo.fitting.outcome import BASELINES, FOLD, FOLDS, WAYS, FitTarget, Outcome
from molgeo.fitting.preparing import Prepared
from molgeo.fitting.settings import FitSettings
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import calibration_of, within
from molgeo.runtime.progress import progress
from molgeo.training.csv_log import LOG, validation_curve, validations
from molgeo.training.export import commit, hardware, published
from molgeo.training.table import TableConfig

REPORT: Final = "report.html"
"""File of the page for people, in a fit's folder."""

BASELINE: Final = "baseline.safetensors"
"""File of what the 2D baseline says, in the folder of the members."""

PLACES: Final = {
    "test": "molecules of the test part{way}",
    FOLDS: "molecules of the folds{way}, each predicted by a model that did not see it",
    **{name: f"molecules held out {way}" for name, way in WAYS.items()},
}
"""Parts whose errors are told, in this order, with how they are divided from the others."""


class Tested(NamedTuple):
    """What a model does on the test part.

    Attributes:
        found: predictions; None if there is no test part.
        metrics: errors, for the header.
    """

    found: Collected | None
    metrics: dict[str, Any]


def tested(whole: Predictor, data: Data, conformers: int) -> Tested:
    """Compare a model with the test part.

    Args:
        whole: the model, with its bars.
        data: of the fit.
        conformers: of each molecule, of which values are averages.
    """
    rows = torch.from_numpy(data.folds.test)
    if not len(rows):
        return Tested(None, {})
    kept: list[Collected] = []
    sample = sample_of(data, rows, whole.properties, conformers)
    metrics = errors(whole, sample, keep=kept.append)
    geometry = data.table.geometry
    return Tested(kept[0], {"split": "test", "geometry": geometry, **metrics})


def outcome_of(
    own: Prepared,
    whole: Predictor,
    held: HeldOut,
    test: Tested,
    folder: Path,
    train: Train,
    n_held: int,
) -> Outcome:
    """All rows with what models that did not see them say.

    Args:
        own: what the model is made of.
        whole: the model.
        held: rows of the folds.
        test: the test part.
        folder: of the members.
        train: as of `errors_of_other_split`.
        n_held: folds that are held out there.
    """
    classes = {one.title: one.classes for one in own.columns}
    targets = [
        FitTarget.of(one, classes[column.title])
        for one, column in zip(whole.properties, own.columns, strict=True)
    ]
    table = own.data.table
    plain = _baselines(own, [bool(one.classes) for one in targets], folder / BASELINE)
    parts = [f"{FOLD}{k + 1}" for k in held.fold.tolist()]
    tables = [_rows(own, whole, held.found, parts, targets, plain)]
    if test.found is not None:
        n = len(test.found.rows)
        tables.append(_rows(own, whole, test.found, ["test"] * n, targets, plain))
    rows = pd.concat(tables, ignore_index=True)
    first = whole.properties[0]
    history = pd.DataFrame(
        _history(folder, own.recipe.members, first.column),
        columns=["member", "step", "train_loss", "validation_error"],
    )
    known, unknown = BASELINES
    baseline = known if all(one.smiles for one in table.rows) else unknown
    about = {**_about(own, whole), baseline: "; ".join(dict.fromkeys(plain.names))}
    more = errors_of_other_split(own, targets, train, n_held)
    of_folds = WAYS["scaffold" if own.data.folds.by_scaffold else "random"]
    of_test = WAYS.get(own.base.split, f"by the column {own.base.split}")
    ways = {"test": of_test, FOLDS: of_folds}
    return Outcome.of(
        rows, history, targets, about, own.remarks, more=more, ways=ways, baseline=baseline
    )


def _baselines(own: Prepared, is_class: Sequence[bool], path: Path) -> Baselines:
    """The 2D baseline and the mean, fitted now or by an earlier call, whose file is there."""
    if path.exists():
        arrays, header = read_tensors(path)
        return Baselines(arrays["values"].numpy(), arrays["mean"].numpy(), tuple(header["names"]))
    with progress("fitting the 2D baseline") as report:
        found = baselines(
            own.features,
            own.data.table.values,
            own.data.folds.fold,
            is_class,
            own.base.seed,
            report,
        )
    arrays = {"values": torch.from_numpy(found.values), "mean": torch.from_numpy(found.mean)}
    write_tensors(arrays, {"names": found.names}, path)
    return found


def _rows(
    own: Prepared,
    whole: Predictor,
    found: Collected,
    parts: Sequence[str],
    targets: Sequence[FitTarget],
    plain: Baselines,
) -> pd.DataFrame:
    """Rows of one kind, as `Outcome` has them."""
    table, places = own.data.table, found.rows.numpy()
    sources = [table.rows[k] for k in places.tolist()]
    columns: dict[str, Any] = {
        "input": [one.input for one in sources],
        "name": [one.name for one in sources],
        "smiles": [one.smiles or "" for one in sources],
        "part": list(parts),
        "n_heavy": found.heavy.numpy(),
        "scaffold": [scaffold(one.smiles) if one.smiles else "" for one in sources],
        "in_domain": ~found.unlike,
        "domain_reason": _reasons(whole, found),
    }
    made = table.geometry == "smiles"
    known = calibration_of(whole.header.calibration, own.recipe.conformers if made else 0)
    for k, (one, of) in enumerate(zip(targets, whole.properties, strict=True)):
        values = found.values[:, k].numpy()
        columns |= {
            f"{one.column}_value": found.labels[:, k].numpy(),
            f"{one.column}_predicted": values,
            f"{one.column}_baseline": plain.values[places, k],
            f"{one.column}_mean": plain.mean[places, k],
        }
        if known is None:
            continue
        sigma, half = found.half_widths(known, k).T
        low, high = (within([of], end[:, None])[:, 0] for end in (values - half, values + half))
        columns |= {
            f"{one.column}_std": sigma,
            f"{one.column}_low90": low,
            f"{one.column}_high90": high,
        }
    return pd.DataFrame(columns)


def _reasons(whole: Predictor, found: Collected) -> list[str]:
    """Why each molecule is outside the domain; "" if it is inside."""
    record, reasons = whole.familiarity, []
    for k, (is_out, is_larger) in enumerate(
        zip(found.unlike.tolist(), found.larger.tolist(), strict=True)
    ):
        signals = [] if found.signals is None else found.signals[k].tolist()
        far = record.reasons(signals) if record is not None and signals else ()
        size = ("more heavy atoms than any molecule of the other folds",) if is_larger else ()
        rare = ("atoms or bonds that the other molecules hardly have",)
        reasons.append("; ".join((far + size) or rare) if is_out else "")
    return reasons


def _history(folder: Path, n: int, column: str) -> list[dict[str, Any]]:
    """Validations of all members; errors are those of the first target, in its unit."""
    return [
        {
            "member": k,
            "step": int(row["step"]) + 1,
            "train_loss": float(row["train_loss"]) if row.get("train_loss") else None,
            "validation_error": float(row[f"val_mae_{column}"]),
        }
        for k in range(1, n + 1)
        for row in validations(folder / str(k) / LOG)
    ]


def _about(own: Prepared, whole: Predictor) -> dict[str, Any]:
    """What the fit says of itself."""
    recipe, table, unit = own.recipe, own.data.table, whole.properties[0].unit
    return {
        "table": own.base.data_file[0],
        "members": recipe.members,
        "folds": recipe.folds,
        "split": own.base.split,
        "begun with": own.base.start_from or "random weights",
        "pooling": ", ".join(dict.fromkeys(one.head for one in whole.properties)),
        "geometry": f"{recipe.conformers} conformers of each SMILES"
        if table.geometry == "smiles"
        else "as given",
        "steps": "molecules learned from" if whole.heads.by_kernel else "step",
        "validation_error": f"mean absolute error of the fold, {unit or 'no unit'}",
    }


def facts_of(
    own: Prepared,
    base: TableConfig,
    settings: FitSettings,
    whole: Predictor,
    test: Tested,
    folder: Path,
    name: str,
) -> dict[str, Any]:
    """What the header of the model says.

    Args:
        own: what the model is made of.
        base: config of its members.
        settings: of the fit.
        whole: the model.
        test: its test part.
        folder: of the members.
        name: of the model.
    """
    data = own.data
    n_train = int((data.folds.fold >= 0).sum())
    made = data.table.geometry == "smiles"
    return {
        "name": name,
        "data": base.set_name,
        "n_train": n_train,
        "split": f"{n_train} in {own.recipe.folds} folds, {len(data.folds.test)} to test on, by "
        f"{base.split}, seed {settings.seed}",
        "level_of_theory": "not stated",
        "geometry": data.table.geometry,
        "geometry_source": "MMFF94, from the SMILES" if made else "given",
        "trained_on_forces": False,
        "training": published(base),
        "is_fit": True,
        "command": command(settings, base.data_file[0]),
        "curve": validation_curve(folder / "1" / LOG),
        "hardware": hardware(base),
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "notes": _notes(own, whole),
        "metrics": test.metrics,
        "calibration": [dataclasses.asdict(one) for one in whole.header.calibration],
    }


def _notes(own: Prepared, whole: Predictor) -> str:
    """What kind of model it is."""
    n, folds = own.recipe.members, own.recipe.folds
    kind = (
        f"A Gaussian process of all rows, on a backbone that is that of {own.base.start_from}. "
        f"{n} others that each lack one of {folds} folds of the rows say how wrong it may be."
        if whole.heads.by_kernel
        else f"The mean of {n} models in one file, each trained without one of {folds} folds of "
        "the rows."
    )
    beside = (
        " Beside coordinates it takes RDKit's descriptors of the bonds."
        if whole.descriptors
        else ""
    )
    return (
        f"{kind}{beside} `molgeo fit` made it; its error bars are measured on rows that a model "
        "did not see."
    )


def command(settings: FitSettings, name: str) -> str:
    """``molgeo fit`` with all that differs from the defaults and makes the fit what it is."""
    words = ["molgeo fit", shlex.quote(name)]
    fields = FitSettings.__dataclass_fields__
    for key, value in settings.of_fit().items():
        if key == "unit" and not any(value):
            continue
        if isinstance(value, list):
            value = ",".join(value)
        if value == fields[key].default or value is None:
            continue
        option = f"--{key.replace('_', '-')}"
        words += [option] if value is True else [option, shlex.quote(str(value))]
    return " ".join(words)


def lines_of(outcome: Outcome) -> list[str]:
    """What a fit came to, for people: the first line says whether the model is worth having."""
    lines = [outcome.headline] if outcome.headline else []
    for one in outcome.targets:
        unit = f" {one.unit}" if one.unit else ""
        errors = outcome.summary["errors"][one.column]
        for part in PLACES:
            if "model" not in (told := errors.get(part, {})):
                continue
            found = {k: float("nan") if v is None else v for k, v in told["model"].items()}
            way = outcome.summary["ways"].get(part, "")
            where = PLACES[part].format(way=f", {way}" if way else "")
            where = where.replace("molecules", "molecule", 1) if told["n"] == 1 else where
            text = f"{one.name}, {told['n']} {where}: " + (
                f"ROC-AUC {found['roc_auc']:.3f}, PR-AUC {found['pr_auc']:.3f}"
                if one.classes
                else f"MAE {found['mae']:.3g}{unit}, RMSE {found['rmse']:.3g}{unit}"
            )
            if told.get("within90") is not None:
                own = " (these rows set them)" if part == FOLDS else ""
                text += f"; the 90% intervals hold {told['within90']:.0%}{own}"
            lines.append(text)
    return lines
