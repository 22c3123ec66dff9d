"""Errors of a model over a part of QM9."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from molgeo.data.geometries import (
    MAX_CONFORMERS,
    RELAXED,
    Cheap,
    Geometry,
    GeometrySet,
    with_labels,
)
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import named
from molgeo.evaluation.calibrating import calibrated_numbers, calibrations
from molgeo.evaluation.collected import Collected
from molgeo.evaluation.familiarity import add_familiarity
from molgeo.evaluation.properties import (
    Part,
    Partner,
    Sample,
    Source,
    errors,
    interval_widths,
)
from molgeo.evaluation.weighing import Weigher
from molgeo.prediction.conformer_average import LEAST_SHARE
from molgeo.prediction.given import knows_relaxed, usual_conformers, weigher_name
from molgeo.predictor import Predictor, checkpoint
from molgeo.predictor.calibration import Calibration
from molgeo.predictor.familiarity import SMALL
from molgeo.runtime.errors import SettingError
from molgeo.runtime.precision import MatmulPrecision
from molgeo.runtime.progress import Progress

if TYPE_CHECKING:
    from molgeo.generate.qm9 import Choice


def evaluate(
    predictor: Predictor,
    root: str | Path | None = None,
    split: Part = "test",
    geometry: Geometry = "dft",
    limit: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
    conformers: int | None = None,
    report: str | Path | None = None,
    partner: Predictor | None = None,
) -> dict[str, Any]:
    """Mean absolute and root mean square errors on QM9.

    Args:
        predictor: the model.
        root: folder of the prepared QM9; None for the default one.
        split: part of the standard split.
        geometry: as in `molgeo.datasets.QM9.geometry`. Cheap ones are relaxed by the geometry
            engine for a model of relaxed molecules, as `molgeo.predict` does. What ``molgeo data
            prepare qm9 --conformers`` has made is used, anything else is made on the fly, with the
            same result.
        limit: molecules, taken from the start of the (random) part; 0 for all.
        batch_size: as in `molgeo.evaluation.properties.errors`.
        progress: called with (molecules done, molecules in all).
        precision: of float32 matrix products; ``medium`` multiplies in bfloat16, which is faster.
        conformers: of each molecule; None for as many as `molgeo.predict` makes, 32 for a model of
            QM9's labels and 8 for others. Their values are averaged as it does.
        report: page of the errors to write; None for none.
        partner: a model at cheap geometries that the model was calibrated together with: values are
            the mean of both, as `molgeo.predict` without a model gives them; None for none.

    Returns:
        ``model, data, split, geometry``, the ``engine`` if one relaxed the molecules, the
        ``weigher`` if one weighed conformers, the ``partner`` if values are a mean, and what
        `molgeo.evaluation.properties.errors` gives.

    Raises:
        FileNotFoundError: QM9 is not prepared.
        SettingError: ``limit`` is negative, ``conformers`` is not in 1 to 255 or the geometry is
            ``dft``, which has one, or no molecule of the part could be evaluated.
    """
    if limit < 0:
        raise SettingError(f"evaluate: limit must be 0 or more, got {limit}")
    if conformers is not None and not 1 <= conformers <= MAX_CONFORMERS:
        raise SettingError(f"evaluate: conformers must be 1 to {MAX_CONFORMERS}, got {conformers}")
    if conformers is not None and geometry == "dft":
        raise SettingError("conformers: --geometry dft has one of each molecule; choose another")
    data = QM9(root)
    engine = None if geometry == "dft" else engine_of(predictor)
    n = conformers or usual_conformers(weigher_name(predictor.header))
    weigher = weigher_of(predictor, geometry, n)
    sample = sample_of(data, split, geometry, limit, n, engine, partner, weigher)
    about = {"model": predictor.name, "data": "qm9", "split": split, "geometry": geometry}
    about |= {} if engine is None else {"engine": engine}
    about |= {} if weigher is None else {"weigher": weigher.name}
    kept: list[Collected] = []
    found = errors(predictor, sample, batch_size, progress, precision, kept.append)
    # Without shares of its own in the header, a model's values are no mean.
    scales = sample.calibration(predictor)
    about |= {} if scales is None or not scales.partner else {"partner": scales.partner}
    result = {**about, **found}
    if report is not None:
        _write_report(Path(report), result, kept[0], data, predictor, sample)
    return result


def _write_report(
    path: Path,
    result: dict[str, Any],
    found: Collected,
    data: QM9,
    predictor: Predictor,
    sample: Sample,
) -> None:
    """The page of errors."""
    from molgeo.evaluation.report.groups import Molecules
    from molgeo.evaluation.report.page import Measured, write_page

    widths = interval_widths(predictor, sample, found)
    measured = [
        Measured(one, found.values[:, k].numpy(), found.labels[:, k].numpy(), widths[k])
        for k, one in enumerate(found.properties)
    ]
    rows, bounds = found.rows.tolist(), data.molecules.bounds
    numbers = [data.molecules.z[bounds[k] : bounds[k + 1]].numpy() for k in rows]
    header = predictor.header
    flagged = found.flagged.numpy() if header.calibration else None
    molecules = Molecules([data.smiles(k) for k in rows], numbers, flagged)
    about = {"model_sha256": predictor.sha256, "level_of_theory": header.level_of_theory}
    of_card = header.from_smiles if sample.made else header.metrics
    write_page(path, {**result, **about}, measured, molecules, of_card.mae)


def calibrate(
    predictor: Predictor,
    root: str | Path | None = None,
    limit: int = 0,
    progress: Progress | None = None,
    conformers: Sequence[int] | None = None,
    beyond: Mapping[int, Sample] | None = None,
    partner: Predictor | None = None,
) -> list[Calibration]:
    """How the errors of values are distributed, on validation molecules.

    The predictor gets the record of its training data's features too, if it has none.

    Args:
        predictor: the model.
        root: as in `evaluate`.
        limit: as in `evaluate`.
        progress: as in `evaluate`.
        conformers: numbers of conformers, each of which has a calibration of its own; 0 for QM9's
            own geometries. None for those that `calibrated_numbers` has.
        beyond: number of conformers → molecules that QM9 does not have.
        partner: a model at cheap geometries; relaxed ones have a second calibration, of the mean
            of both.

    Returns:
        Calibrations, for the header of a checkpoint.

    Raises:
        FileNotFoundError: QM9 is not prepared.
        ValueError: as in `molgeo.predictor.calibration.calibration_from`.
    """
    data = QM9(root)
    conformers = conformers or calibrated_numbers(predictor.header)
    own, most = sample_of(data, "validation", "dft", limit, 1), max(conformers)
    made = own
    if most:
        engine = engine_of(predictor)
        weigher = weigher_of(predictor, "smiles", most)
        made = sample_of(
            data, "validation", "smiles", limit, most, engine, partner, weigher, conformers
        ).made_once()
    samples = {n: made.with_conformers(n) if n else own for n in conformers}
    if predictor.familiarity is None:
        at = 0 if 0 in conformers else most
        train = sample_of(data, "train", "smiles" if at else "dft", 0, 1)
        is_small = data.molecules.heavy_atoms(train.rows) <= SMALL
        small = train._replace(rows=train.rows[is_small])
        add_familiarity(predictor, train, samples[at], small)
    return calibrations(predictor, samples, progress, beyond)


def engine_of(predictor: Predictor) -> str | None:
    """The engine that relaxes conformers for a model, as for `molgeo.predict`; None for none."""
    return checkpoint.geometry_engine() if knows_relaxed(predictor.header) else None


def weigher_of(predictor: Predictor, geometry: Geometry, conformers: int) -> Predictor | None:
    """The model that weighs conformers for another one, as for `molgeo.predict`; None for none."""
    name = weigher_name(predictor.header)
    if name is None or geometry not in ("smiles", "flat") or conformers == 1:
        return None
    return checkpoint.load(name).to(predictor.scale.device)


def sample_of(
    data: QM9,
    split: Part,
    geometry: Geometry,
    limit: int,
    conformers: int,
    engine: str | None = None,
    partner: Predictor | None = None,
    weigher: Predictor | None = None,
    fewer: Sequence[int] = (),
) -> Sample:
    """A part of QM9.

    Args:
        data: the data set.
        split: as in `evaluate`.
        geometry: as in `evaluate`.
        limit: as in `evaluate`.
        conformers: of each molecule.
        engine: that relaxes them; None for none.
        partner: as in `evaluate`.
        weigher: that weighs them; None for none.
        fewer: other numbers of conformers that the sample is to be good for.
    """
    rows: Tensor = getattr(data.split(), split)[: limit or None]
    properties, is_made = named(data.molecules.properties), geometry == "smiles"
    source = _source(data, geometry, conformers)
    own = before = Sample(source, rows, properties, conformers, is_made)
    weighs = None if weigher is None else Weigher(weigher, before)
    if engine is not None:
        choice = None if weighs is None else _choice(weighs, sorted({conformers, *fewer} - {0}))
        relaxed = _source(data, geometry, conformers, engine, choice)
        own = before._replace(source=relaxed, engine=engine)
        if partner is not None:
            own = own._replace(partner=Partner(partner, before._replace(stretched=True)))
    return own.weighed_by(weighs)


def _choice(weigher: Weigher, conformers: list[int]) -> Choice:
    """Of conformers made of a SMILES, those are relaxed that count for any of these numbers."""
    from molgeo.generate.qm9 import Choice
    from molgeo.predictor.checkpoint import weights_digest

    about = {"of": conformers, "least": LEAST_SHARE, "weigher": weights_digest(weigher.model)}
    return Choice(about, lambda rows: weigher.counting(torch.from_numpy(rows), conformers))


def _source(
    data: QM9,
    geometry: Geometry,
    conformers: int,
    engine: str | None = None,
    choice: Choice | None = None,
) -> Source:
    """Where geometries come from: the prepared file, or a force field when they are asked for."""
    if geometry == "dft":
        own = data.geometry(geometry)
        return lambda rows: (own, rows)
    kind: Cheap = geometry if engine is None else RELAXED[geometry]
    relaxing = None
    # Here, so that training, which evaluates at the end, needs no RDKit.
    if engine is not None:
        from molgeo.simulation.engine import GeometryEngine

        relaxing = GeometryEngine(engine)
    try:
        prepared = data.geometry(kind, relaxing.weights if relaxing else "")
        if prepared.conformers >= conformers:
            return lambda rows: (prepared, rows)
    except FileNotFoundError:
        pass
    from molgeo.generate.qm9 import make_once

    def made(rows: Tensor) -> tuple[GeometrySet, Tensor]:
        geometries = make_once(data, rows.numpy(), kind, conformers, None, relaxing, choice)
        molecules = data.molecules
        labels = molecules.y[rows], molecules.idx[rows], molecules.properties
        return with_labels(geometries, *labels, conformers), torch.arange(len(rows))

    return made
