"""What a model's features are like on the molecules it was trained on."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from molgeo.evaluation.properties import BATCH_SIZE, Sample, collect
from molgeo.predictor import Predictor
from molgeo.predictor.familiarity import (
    PERCENTS,
    SIGNALS,
    Familiarity,
    familiarity,
    mean_features,
)
from molgeo.predictor.gaussians import gaussians

MOLECULES: Final = 3000
"""Training molecules whose atoms' features are taken: some 50,000 atoms of QM9."""


def add_familiarity(
    predictor: Predictor, train: Sample, validation: Sample, small: Sample | None = None
) -> None:
    """Give a predictor the record by which it tells how far molecules are from its training data.

    Args:
        predictor: the model, in place.
        train: molecules it was trained on; the first `MOLECULES` are taken.
        validation: molecules like them, which it was not trained on.
        small: training molecules that are kept one by one; None for none.
    """
    features, z, _ = features_of(predictor, train._replace(rows=train.rows[:MOLECULES]))
    found = {**gaussians(features, z), "known": torch.zeros(0, features.shape[1])}
    if small is not None and len(small.rows):
        found["known"] = features_of(predictor, small)[2].contiguous()
    nothing = torch.zeros(PERCENTS + 1, len(SIGNALS))
    predictor.familiarity = Familiarity(**found, percentiles=nothing)
    signals = collect(predictor, validation).signals
    assert signals is not None
    predictor.familiarity = familiarity(found, signals)


def features_of(predictor: Predictor, sample: Sample) -> tuple[Tensor, Tensor, Tensor]:
    """Features and atomic numbers of all atoms, and mean features of all molecules.

    They are of the first conformer of each molecule.

    Args:
        predictor: the model, which is set to evaluation mode.
        sample: the molecules.

    Returns:
        (atoms, features), (atoms,) and (molecules, features).
    """
    predictor.eval()
    features, numbers, averages = [], [], []
    for chunk in sample.rows.split(BATCH_SIZE):
        geometries, places = sample.source(chunk)
        own = geometries.all_of(places[geometries.exists[places]], 1)
        if not len(own):
            continue
        batch = geometries.molecules.batch(own).to(predictor.scale.device)
        with torch.inference_mode():
            graph = batch.graph(predictor.cutoff)
            out = predictor.backbone.atom_features(batch.z.long(), batch.pos, graph)
            averages.append(mean_features(out, graph).float().cpu())
        features.append(out.float().cpu())
        numbers.append(batch.z.long().cpu())
    return torch.cat(features), torch.cat(numbers), torch.cat(averages)
