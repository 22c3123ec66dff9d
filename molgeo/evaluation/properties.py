"""Errors of a model on molecules with labels, in published units."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molgeo.data.geometries import GeometrySet
from molgeo.data.molecules import Batch
from molgeo.prediction.conformer_average import CONFORMERS, ConformerAverage, conformer_average
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import (
    Calibration,
    calibration_from,
    calibration_of,
    half_widths,
)
from molgeo.properties import Property, first_energy, names_of
from molgeo.runtime.errors import SettingError
from molgeo.runtime.precision import MatmulPrecision, matmul_precision
from molgeo.runtime.progress import Progress

CALIBRATED: Final = (1, 2, 4, CONFORMERS)
"""Numbers of conformers that have a calibration of their own."""

Part = Literal["train", "validation", "test"]
Source = Callable[[Tensor], tuple[GeometrySet, Tensor]]
"""From rows of a data set to geometries and the rows' places among them."""


class Sample(NamedTuple):
    """Molecules with labels to compare a model with.

    Attributes:
        source: of their geometries.
        rows: (n,) int64, which molecules of the data set.
        properties: of the labels.
        conformers: whose values are averaged, of each molecule.
        made: the geometries are made of SMILES.
    """

    source: Source
    rows: Tensor
    properties: tuple[Property, ...]
    conformers: int = 1
    made: bool = False


def errors(
    predictor: Predictor,
    sample: Sample,
    batch_size: int = 256,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
) -> dict[str, Any]:
    """Mean absolute and root mean square errors; labels that are missing do not count.

    Args:
        predictor: the model.
        sample: to compare it with.
        batch_size: molecules per batch.
        progress: called with (molecules done, molecules in all).
        precision: of float32 matrix products; ``medium`` multiplies in bfloat16, which is faster.

    Returns:
        ``n``; ``failed``, molecules without a geometry, which are not among n, and ``reasons``,
        how many for which reason; and ``mae`` and ``rmse``: output column → error in the unit of
        its name. If the model is calibrated for such molecules, also ``coverage``: output column →
        shares of labels within value ± ``_std`` and between ``_low90`` and ``_high90``, as
        `molgeo.predict` gives them.

    Raises:
        SettingError: the model has none of the labels, or no molecule could be evaluated.
    """
    found = collect(predictor, sample, batch_size, progress, precision)
    error = found.values - found.labels
    known = ~error.isnan()
    columns = [one.column for one in found.properties]
    result = {
        "n": len(error),
        "failed": found.reasons.total(),
        "reasons": dict(found.reasons.most_common()),
        "mae": _of_columns(columns, error.abs().nanmean(0)),
        "rmse": _of_columns(columns, error.square().nanmean(0).sqrt()),
    }
    if not known.all():
        result["labels"] = dict(zip(columns, known.sum(0).tolist(), strict=True))
    scales = calibration_of(predictor.header.calibration, sample.conformers if sample.made else 0)
    if scales is not None:
        result["coverage"] = dict(zip(columns, _coverage(found, scales), strict=True))
    return result


def _of_columns(columns: list[str], values: Tensor) -> dict[str, float]:
    """Column → number; one without any label has none."""
    numbers = dict(zip(columns, values.tolist(), strict=True))
    return {column: number for column, number in numbers.items() if math.isfinite(number)}


def calibrations(
    predictor: Predictor,
    samples: Mapping[int, Sample],
    progress: Progress | None = None,
) -> list[Calibration]:
    """How the errors of values are distributed, for several numbers of conformers.

    Args:
        predictor: the model.
        samples: number of conformers → molecules that the model was not trained on.
        progress: called with (molecules done, molecules in all).

    Returns:
        Calibrations, for the header of a checkpoint.

    Raises:
        SettingError: as in `molgeo.predictor.calibration.calibration_from`.
    """
    made = []
    for k, (n, sample) in enumerate(samples.items()):

        def step(done: int, total: int, before: int = k) -> None:
            if progress:
                progress(before * total + done, len(samples) * total)

        found = collect(predictor, sample, progress=step)
        values, stds, labels = (t.numpy() for t in (found.values, found.stds, found.labels))
        made.append(calibration_from(names_of(found.properties), values, stds, labels, n))
    return made


class Collected(NamedTuple):
    """Predictions of a part of a data set beside its labels.

    Attributes:
        properties: of the columns.
        values: (molecules, properties) float64, averages over the conformers.
        stds: (molecules, properties) float64, over the conformers.
        labels: (molecules, properties) float64.
        reasons: why molecules are missing, and how many.
    """

    properties: list[Property]
    values: Tensor
    stds: Tensor
    labels: Tensor
    reasons: Counter[str]


def collect(
    predictor: Predictor,
    sample: Sample,
    batch_size: int = 256,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
) -> Collected:
    """What `errors` compares; arguments and errors as there."""
    known = [one for one in predictor.properties if one in sample.properties]
    if not known:
        raise SettingError(
            f"evaluate: expected a model of some of {', '.join(names_of(sample.properties))}, got "
            f"{predictor.name} of {', '.join(predictor.property_names)}"
        )
    columns = [sample.properties.index(one) for one in known]
    rows = sample.rows
    averages: list[ConformerAverage] = []
    labels: list[Tensor] = []
    reasons: Counter[str] = Counter()
    done = 0
    predictor.eval()
    for chunk in rows.split(batch_size):
        geometries, places = sample.source(chunk)
        exists = geometries.exists[places]
        reasons.update(geometries.tally(places[~exists]))
        if exists.any():
            found = [geometries.all_of(place[None], sample.conformers) for place in places[exists]]
            batch = geometries.molecules.batch(torch.cat(found))
            with matmul_precision(precision):
                predicted = _predicted(predictor, batch, known)
            counts = [len(one) for one in found]
            averages += [_average(p, known) for p in predicted.split(counts)]
            labels += [y[0] for y in batch.y[:, columns].split(counts)]
        done += len(chunk)
        if progress:
            progress(done, len(rows))
    if not labels:
        raise SettingError("evaluate: expected molecules with a geometry, got none")
    values, stds = (
        torch.from_numpy(np.stack([getattr(average, name) for average in averages]))
        for name in ("value", "std")
    )
    return Collected(known, values, stds, torch.stack(labels), reasons)


def _coverage(found: Collected, known: Calibration) -> list[dict[str, float]]:
    """Of each property, the shares of labels within the intervals for one molecule."""
    shares: list[dict[str, float]] = []
    for k, one in enumerate(found.properties):
        error = (found.values[:, k] - found.labels[:, k]).abs()
        widths = half_widths(known.scales[one.name], found.stds[:, k])
        labelled = ~error.isnan()
        share = [float((error <= width)[labelled].double().mean()) for width in widths]
        shares.append(dict(zip(("std", "low90_high90"), share, strict=True)))
    return shares


def _predicted(predictor: Predictor, batch: Batch, known: list[Property]) -> Tensor:
    """Properties of a batch on the model's device, (conformers, properties) on the CPU."""
    batch = batch.to(predictor.scale.device)
    with torch.inference_mode():
        out = predictor(batch.z, batch.pos, graph=batch.graph(predictor.cutoff))
    return torch.stack([out[one.name] for one in known], dim=-1).cpu()


def _average(values: Tensor, known: list[Property]) -> ConformerAverage:
    """One molecule's numbers from those of its conformers, (conformers, properties)."""
    energy = first_energy(known)
    weighing = values[:, known.index(energy)] if energy else torch.zeros(len(values))
    return conformer_average(values.numpy(), weighing.numpy())
