"""Errors on rows that are held out in the other way: at random beside by scaffold, or vice versa.

By scaffold says what to expect of new chemistry, at random what to expect of molecules like those
of the table. A fit tests on one of the two. Of the other one, some folds are held out from members
that are trained for this alone, as those of the model are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from molgeo.data.split import UNDECIDED, has_groups
from molgeo.evaluation.properties import collect
from molgeo.fitting.bars import sample_of
from molgeo.fitting.baseline import baselines
from molgeo.fitting.folds import folds_of
from molgeo.fitting.members import Data
from molgeo.fitting.outcome import BLOCK, FOLD, FOLDS, FitTarget, errors_of
from molgeo.fitting.preparing import Prepared
from molgeo.predictor import Predictor

Train = Callable[[Data, int], Sequence[Predictor]]
"""Trains the first n members of data."""


def other_of(split: str) -> str:
    """The other way to divide rows: ``scaffold`` of ``random``, ``random`` of all others."""
    return "scaffold" if split == "random" else "random"


def errors_of_other_split(
    own: Prepared, targets: Sequence[FitTarget], train: Train, n: int
) -> dict[str, dict[str, Any]]:
    """What is told of the other split, as of a part of `molgeo.fitting.outcome.errors_of`.

    Args:
        own: what the model is made of.
        targets: that are learned.
        train: gives the first members of data, each trained without one fold.
        n: folds that are held out.

    Returns:
        Column of a target → the errors; empty if the rows cannot be divided in the other way, as
        without SMILES.
    """
    split, data = other_of(own.base.split), _divided(own)
    if data is None:
        return {}
    members = train(data, n)
    table, chances = data.table, [bool(one.classes) for one in targets]
    fold = data.folds.fold
    plain = baselines(own.features, table.values, fold, chances, own.base.seed, parts=range(2))
    tables = []
    for k, member in enumerate(members):
        rows = torch.from_numpy(np.flatnonzero(fold == k))
        sample = sample_of(data, rows, member.properties, own.recipe.conformers)
        found = collect(member, sample)
        places = found.rows.numpy()
        columns: dict[str, Any] = {"part": [f"{FOLD}{k + 1}"] * len(places)}
        for j, one in enumerate(targets):
            columns |= {
                f"{one.column}_value": found.labels[:, j].numpy(),
                f"{one.column}_predicted": found.values[:, j].numpy(),
                f"{one.column}_baseline": plain.values[places, j],
                f"{one.column}_mean": plain.mean[places, j],
            }
        tables.append(pd.DataFrame(columns))
    ends = [f"{one.column}_{end}" for one in targets for end in BLOCK]
    rows_of_all = pd.concat(tables, ignore_index=True).reindex(columns=["part", *ends])
    told = {}
    for one in targets:
        if errors := errors_of(rows_of_all, one).get(FOLDS):
            if one.classes:  # those of the model are tempered, these are not
                errors["model"]["log_loss"] = None
            told[one.column] = {split: errors}
    return told


def _divided(own: Prepared) -> Data | None:
    """The data of the fit, divided into folds in the other way; None if that cannot be."""
    data, split = own.data, other_of(own.base.split)
    table, kept = data.table, np.flatnonzero(data.geometries.exists.numpy())
    some = replace(table.of(kept), parts=np.full(len(kept), UNDECIDED))
    if not all(row.smiles for row in some.rows) or not has_groups(some.groups):
        return None
    folds = folds_of(some, split, 0.0, own.recipe.folds, own.base.seed)
    return replace(data, folds=folds.among(kept, len(table.rows)))
