"""Errors of a model over a part of a data set, in published units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from molgeo.data.geometries import MAX_CONFORMERS, Geometry, GeometrySet, with_labels
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.prediction.conformer_average import CONFORMERS, ConformerAverage, conformer_average
from molgeo.predictor import Predictor, calibration
from molgeo.predictor.calibration import Calibration, calibration_of, half_widths
from molgeo.properties import Property, first_energy, names_of
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.precision import MatmulPrecision, matmul_precision

if TYPE_CHECKING:
    from torch_geometric.data import Data

Part = Literal["train", "validation", "test"]
Progress = Callable[[int, int], None]
Source = Callable[[Tensor], tuple[GeometrySet, Tensor]]
"""From rows of QM9 to geometries and the rows' places among them."""


def evaluate(
    predictor: Predictor,
    root: str | Path | None = None,
    split: Part = "test",
    geometry: Geometry = "dft",
    limit: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
    conformers: int = CONFORMERS,
) -> dict[str, Any]:
    """Mean absolute and root mean square errors on QM9.

    Args:
        predictor: the model.
        root: folder of the prepared QM9; None for the default one.
        split: part of the standard split.
        geometry: as in `molgeo.datasets.QM9.geometry`. What ``molgeo data prepare qm9
            --conformers`` has made is used, anything else is made on the fly, with the same result.
        limit: molecules, taken from the start of the (random) part; 0 for all.
        batch_size: molecules a batch.
        progress: called with (molecules done, molecules in all).
        precision: of float32 matrix products; ``medium`` multiplies in bfloat16, which is faster.
        conformers: of each SMILES; their values are averaged as `molgeo.predict` does.

    Returns:
        ``model, data, split, geometry, n``; ``failed``, molecules without a geometry, which are
        not among n, and ``reasons``, how many for which reason; and ``mae`` and ``rmse``: output
        column → error in the unit of its name. From SMILES, where the model is calibrated,
        also ``coverage``: output column → shares of labels within value ± ``_std`` and between
        ``_low90`` and ``_high90``, as `molgeo.predict` gives them.

    Raises:
        FileNotFoundError: QM9 is not prepared.
        ValueError: ``limit`` is negative, ``conformers`` is not in 1 to 255, or no molecule of the
            part could be evaluated.
    """
    if limit < 0:
        raise SettingError(f"evaluate: limit must be 0 or more, got {limit}")
    if not 1 <= conformers <= MAX_CONFORMERS:
        raise SettingError(f"evaluate: conformers must be 1 to {MAX_CONFORMERS}, got {conformers}")
    found = collect(
        predictor, root, split, geometry, limit, batch_size, progress, precision, conformers
    )
    error = found.values - found.labels
    columns = [one.column for one in found.properties]
    result = {
        "model": predictor.name,
        "data": "qm9",
        "split": split,
        "geometry": geometry,
        "n": len(error),
        "failed": found.reasons.total(),
        "reasons": dict(found.reasons.most_common()),
        "mae": dict(zip(columns, error.abs().mean(0).tolist(), strict=True)),
        "rmse": dict(zip(columns, error.square().mean(0).sqrt().tolist(), strict=True)),
    }
    known = calibration_of(predictor.header, conformers) if geometry == "smiles" else None
    if known is not None:
        result["coverage"] = dict(zip(columns, _coverage(found, known), strict=True))
    return result


def calibrate(
    predictor: Predictor,
    root: str | Path | None = None,
    limit: int = 0,
    progress: Progress | None = None,
    conformers: Sequence[int] = (1, 2, 4, CONFORMERS),
) -> list[Calibration]:
    """How the errors of values from SMILES are distributed, on validation molecules.

    Args:
        predictor: the model.
        root: as in `evaluate`.
        limit: as in `evaluate`.
        progress: as in `evaluate`.
        conformers: numbers of conformers, each of which has a calibration of its own.

    Returns:
        Calibrations, for the header of a checkpoint.

    Raises:
        FileNotFoundError: QM9 is not prepared.
        ValueError: as in `molgeo.predictor.calibration.calibrate`.
    """
    made = []
    for k, n in enumerate(conformers):

        def step(done: int, total: int, before: int = k) -> None:
            if progress:
                progress(before * total + done, len(conformers) * total)

        found = collect(predictor, root, "validation", "smiles", limit, 256, step, conformers=n)
        values, stds, labels = (t.numpy() for t in (found.values, found.stds, found.labels))
        made.append(calibration.calibrate(names_of(found.properties), values, stds, labels, n))
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
    root: str | Path | None,
    split: Part,
    geometry: Geometry,
    limit: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
    conformers: int = CONFORMERS,
) -> Collected:
    """What `evaluate` compares; arguments and errors as there."""
    data = QM9(root)
    known = [one for one in predictor.properties if one == PROPERTIES.get(one.name)]
    if not known:
        raise ValueError(
            f"evaluate: expected a model of some of QM9's properties, got {predictor.name} of "
            f"{', '.join(predictor.property_names)}; name its own data with --data"
        )
    rows: Tensor = getattr(data.split(), split)[: limit or None]
    columns = [data.molecules.properties.index(one.name) for one in known]
    source = _source(data, geometry, conformers)
    averages: list[ConformerAverage] = []
    labels: list[Tensor] = []
    reasons: Counter[str] = Counter()
    done = 0
    predictor.eval()
    for chunk in rows.split(batch_size):
        geometries, places = source(chunk)
        exists = geometries.exists[places]
        reasons.update(geometries.tally(places[~exists]))
        if exists.any():
            found = [geometries.all_of(place[None], conformers) for place in places[exists]]
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
        raise InputError(f"evaluate: no molecule of split {split!r} has a geometry")
    values, stds = (
        torch.from_numpy(np.stack([getattr(average, name) for average in averages]))
        for name in ("value", "std")
    )
    return Collected(known, values, stds, torch.stack(labels), reasons)


def _coverage(found: Collected, known: Calibration) -> list[dict[str, float]]:
    """Of each property, the shares of labels within the intervals for one molecule."""
    shares = []
    for k, one in enumerate(found.properties):
        error = (found.values[:, k] - found.labels[:, k]).abs()
        widths = half_widths(known.scales[one.name], found.stds[:, k])
        share = [float((error <= width).double().mean()) for width in widths]
        shares.append(dict(zip(("std", "low90_high90"), share, strict=True)))
    return shares


def _predicted(predictor: Predictor, batch: Data, known: list[Property]) -> Tensor:
    """Properties of a batch on the model's device, (conformers, properties) on the CPU."""
    device = predictor.scale.device
    with torch.inference_mode():
        out = predictor(batch.z.to(device), batch.pos.to(device), batch.batch.to(device))
    return torch.stack([out[one.name] for one in known], dim=-1).cpu()


def _average(values: Tensor, known: list[Property]) -> ConformerAverage:
    """One molecule's numbers from those of its conformers, (conformers, properties)."""
    energy = first_energy(known)
    weighing = values[:, known.index(energy)] if energy else torch.zeros(len(values))
    return conformer_average(values.numpy(), weighing.numpy())


def _source(data: QM9, kind: Geometry, conformers: int) -> Source:
    """Where geometries come from: the prepared file, or a force field when they are asked for."""
    if kind == "dft":
        own = data.geometry(kind)
        return lambda rows: (own, rows)
    try:
        prepared = data.geometry(kind)
        if prepared.conformers >= conformers:
            return lambda rows: (prepared, rows)
    except FileNotFoundError:
        pass
    # Here, so that training, which evaluates at the end, needs no RDKit.
    from molgeo.generate.geometries import make

    def made(rows: Tensor) -> tuple[GeometrySet, Tensor]:
        geometries = make(data, rows.numpy(), kind, conformers)
        molecules = data.molecules
        labels = molecules.y[rows], molecules.idx[rows], molecules.properties
        return with_labels(geometries, *labels, conformers), torch.arange(len(rows))

    return made
