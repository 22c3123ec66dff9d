"""Errors of a model on molecules with labels, in published units."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.data.geometries import GeometrySet
from molgeo.data.molecules import Batch
from molgeo.evaluation.collected import Collected
from molgeo.evaluation.coverage import by_class, coverage
from molgeo.evaluation.weighing import Weigher, Weighing, of_molecule, of_numbers
from molgeo.prediction.conformer_average import (
    ConformerAverage,
    conformer_average,
    extent,
)
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import (
    Calibration,
    calibration_of,
)
from molgeo.properties import Property, first_energy, names_of
from molgeo.runtime.device import PAIRS, Arriving, bounded, one_behind, received
from molgeo.runtime.errors import SettingError
from molgeo.runtime.precision import MatmulPrecision, matmul_precision
from molgeo.runtime.progress import Progress
from molgeo.units import KCAL_MOL

BATCH_SIZE: Final = 256
"""Molecules of a batch on a CPU."""

ROWS_AT_ONCE: Final = 2048
"""Molecules whose geometries are made before they are cut into batches for a card."""

NO_VALUES: Final = "values that no molecule has"
"""Why a molecule counts as failed whose `molgeo.predictor.familiarity.strangeness` is above one."""

NONE_LEFT: Final = "none of so few conformers, or of those that count, was relaxed"
"""Why a molecule counts as failed of which other conformers were relaxed."""

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
        engine: name of the force field that relaxed them; "" for none.
        partner: a model at the geometries before that, and these; None for none.
        stretched: extended conformers weigh more, as they do if an engine relaxed them.
        weigher: a model that weighs the conformers; None for none.
    """

    source: Source
    rows: Tensor
    properties: tuple[Property, ...]
    conformers: int = 1
    made: bool = False
    engine: str = ""
    partner: Partner | None = None
    stretched: bool = False
    weigher: Weigher | None = None

    def calibration(self, predictor: Predictor) -> Calibration | None:
        """What a model's header says of its errors for such molecules, with the partner if any."""
        n, known = self.conformers if self.made else 0, predictor.header.calibration
        found = None
        if self.partner is not None:
            found = calibration_of(known, n, self.engine, self.partner.model.name)
        return found or calibration_of(known, n, self.engine)

    def with_conformers(self, n: int) -> Sample:
        """The same molecules with another number of conformers, the partner's too."""
        return self._with(self.partner and self.partner.sample.with_conformers(n), conformers=n)

    def made_once(self) -> Sample:
        """The same molecules, whose geometries are kept as they are made, the partner's too."""
        kept: dict[tuple[int, ...], tuple[GeometrySet, Tensor]] = {}

        def source(rows: Tensor) -> tuple[GeometrySet, Tensor]:
            name = tuple(rows.tolist())
            if name not in kept:
                kept[name] = self.source(rows)
            return kept[name]

        return self._with(self.partner and self.partner.sample.made_once(), source=source)

    def _with(self, of_partner: Sample | None, **fields: Any) -> Sample:
        partner = self.partner and of_partner and self.partner._replace(sample=of_partner)
        return self._replace(partner=partner, **fields)

    def weighed_by(self, weigher: Weigher | None) -> Sample:
        """The same, whose conformers a model weighs, the partner's too."""
        of_partner = self.partner and self.partner.sample._replace(weigher=weigher)
        return self._with(of_partner, weigher=weigher)


class Partner(NamedTuple):
    """A model whose values are averaged with those of another one.

    Attributes:
        model: which it is.
        sample: the same molecules, at the geometries that it knows.
    """

    model: Predictor
    sample: Sample


def errors(
    predictor: Predictor,
    sample: Sample,
    batch_size: int | None = None,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
    keep: Callable[[Collected], None] | None = None,
) -> dict[str, Any]:
    """Mean absolute and root mean square errors; labels that are missing do not count.

    Args:
        predictor: the model.
        sample: to compare it with.
        batch_size: molecules per batch; None for 256 on a CPU, and on a card as many as a bound on
            their pairs allows.
        progress: called with (molecules done, molecules in all).
        precision: of float32 matrix products; ``medium`` multiplies in bfloat16, which is faster.
        keep: is given what the errors are made of.

    Returns:
        ``n``; ``failed``, molecules without a geometry, which are not among n, and ``reasons``,
        how many for which reason; and ``mae`` and ``rmse``: output column → error in the unit of
        its name. If the model is calibrated for such molecules, also ``coverage``: output column →
        shares of labels within value ± ``_std`` and between ``_low90`` and ``_high90``, as
        `molgeo.predict` gives them; ``flagged``, the share outside the model's domain; and
        ``classes``, the shares inside, outside and by size, as `molgeo.evaluation.coverage` tells.
        Of probabilities also ``roc_auc`` and ``pr_auc``.

    Raises:
        SettingError: the model has none of the labels, or no molecule could be evaluated.
    """
    judge = bool(predictor.header.calibration)
    found = collect(predictor, sample, batch_size, progress, precision, judge)
    scales = sample.calibration(predictor)
    if scales is not None and scales.partner and sample.partner is not None:
        other = collect(*sample.partner, batch_size, precision=precision)
        found = found.mixed(other, scales.mixing(names_of(found.properties)))
    if keep is not None:
        keep(found)
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
    chances = [k for k, one in enumerate(found.properties) if one.is_probability]
    result |= _of_chances(found, chances, columns) if chances else {}
    if not known.all():
        result["labels"] = dict(zip(columns, known.sum(0).tolist(), strict=True))
    if scales is not None:
        result["coverage"] = coverage(found, scales)
        result["flagged"] = float(found.flagged.double().mean())
        result["classes"] = by_class(found, scales)
    return result


def _of_chances(found: Collected, chances: list[int], columns: list[str]) -> dict[str, Any]:
    """``roc_auc`` and ``pr_auc`` of probabilities, by column, if there are both classes."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores: dict[str, dict[str, float]] = {"roc_auc": {}, "pr_auc": {}}
    for k in chances:
        known = found.labels[:, k].isfinite()
        truth, given = found.labels[known, k].numpy(), found.values[known, k].numpy()
        if 0 < truth.sum() < len(truth):
            scores["roc_auc"][columns[k]] = float(roc_auc_score(truth, given))
            scores["pr_auc"][columns[k]] = float(average_precision_score(truth, given))
    return scores


def _of_columns(columns: list[str], values: Tensor) -> dict[str, float]:
    """Column → number; one without any label has none."""
    numbers = dict(zip(columns, values.tolist(), strict=True))
    return {column: number for column, number in numbers.items() if math.isfinite(number)}


def collect(
    predictor: Predictor,
    sample: Sample,
    batch_size: int | None = None,
    progress: Progress | None = None,
    precision: MatmulPrecision = "highest",
    judge: bool = False,
) -> Collected:
    """What `errors` compares; arguments and errors as there.

    ``judge`` says of each molecule whether it is outside the model's domain, as predictions do.
    """
    known = [one for one in predictor.properties if one in sample.properties]
    if not known:
        raise SettingError(
            f"evaluate: expected a model of some of {', '.join(names_of(sample.properties))}, got "
            f"{predictor.name} of {', '.join(predictor.property_names)}"
        )
    averages: list[ConformerAverage] = []
    reasoned: list[bool] = []
    labels: list[Tensor] = []
    rows: list[Tensor] = []
    heavy: list[Tensor] = []
    reasons: Counter[str] = Counter()
    done, end = 0, len(known) + len(predictor.properties)
    predictor.eval()
    for batch in one_behind(_begun(predictor, sample, known, batch_size, precision, reasons)):
        if batch.counts:
            found = batch.values().split(batch.counts)
            sound = torch.tensor([bool((p[:, len(known) : end] <= 1.0).all()) for p in found])
            reasons.update({NO_VALUES: n} if (n := int((~sound).sum())) else {})
            good = [p for p, is_sound in zip(found, sound, strict=True) if is_sound]
            weighing = [
                one for one, is_sound in zip(batch.weighing, sound, strict=True) if is_sound
            ]
            averages += [_average(p, known, end, w) for p, w in zip(good, weighing, strict=True)]
            labels.append(batch.labels[sound])
            rows.append(batch.rows[sound])
            heavy.append(batch.heavy[sound])
            if judge:
                flags = zip(_judged(predictor, batch, not sample.made), sound, strict=True)
                reasoned += [flag for flag, is_sound in flags if is_sound]
        done += batch.n_rows
        if progress and batch.n_rows:
            progress(done, len(sample.rows))
    if not averages:
        raise SettingError("evaluate: expected molecules with a geometry, got none")
    values, stds = (
        torch.from_numpy(np.stack([getattr(average, name) for average in averages]))
        for name in ("value", "std")
    )
    record, n = predictor.familiarity, len(averages)
    flagged, larger = (torch.zeros(n, dtype=torch.bool) for _ in range(2))
    signals = None
    if reasoned:
        flagged = torch.tensor(reasoned)
    if record is not None:
        table = np.stack([one.signals for one in averages if one.signals is not None])
        signals = torch.from_numpy(table)
        flagged |= torch.tensor([judge and bool(record.reasons(row)) for row in table.tolist()])
        larger = torch.tensor([record.is_larger(row) for row in table.tolist()])
    told = (torch.cat(labels), reasons, torch.cat(rows), signals, flagged, larger, torch.cat(heavy))
    return Collected(known, values, stds, *told)


def _judged(predictor: Predictor, batch: _Batch, given: bool) -> list[bool]:
    """Of the first conformers, whether they are of a kind that training hardly held."""
    domain, atoms = predictor.domain, batch.atoms
    if domain is None or atoms is None:
        return [False] * len(batch.counts)
    firsts = np.cumsum([0, *batch.counts[:-1]])
    z, pos = atoms.z.split(batch.n_atoms), atoms.pos.split(batch.n_atoms)
    return [bool(domain.judge(z[k], pos[k], given)) for k in firsts]


class _Batch(NamedTuple):
    """Molecules whose values are on their way.

    Attributes:
        n_rows: rows of the data set that are done with it.
        counts: conformers of each molecule.
        labels: (molecules, properties) float64.
        rows: (molecules,) int64, which molecules of the data set.
        values: waits for what `molgeo.predictor.familiarity.Judged.table` has of each conformer.
        heavy: (molecules,) int64, heavy atoms of each.
        weighing: of each molecule, by what its conformers are weighted.
        atoms: the conformers; None if there are none.
    """

    n_rows: int
    counts: list[int]
    labels: Tensor
    rows: Tensor
    values: Arriving
    heavy: Tensor
    weighing: list[Weighing]
    atoms: Batch | None = None

    @property
    def n_atoms(self) -> list[int]:
        """Of each conformer."""
        assert self.atoms is not None
        return self.atoms.batch.bincount(minlength=sum(self.counts)).tolist()


def _begun(
    predictor: Predictor,
    sample: Sample,
    known: list[Property],
    batch_size: int | None,
    precision: MatmulPrecision,
    reasons: Counter[str],
) -> Iterator[_Batch]:
    """Make geometries, and let the model begin with them; what has none is added to the reasons."""
    columns, nothing = [sample.properties.index(one) for one in known], torch.empty(0)
    at_once, most_pairs = _limits(predictor.scale.device, batch_size)
    for chunk in sample.rows.split(at_once):
        geometries, places = sample.source(chunk)
        logs = {} if sample.weigher is None else sample.weigher(chunk)
        exists = geometries.exists[places]
        reasons.update(geometries.tally(places[~exists]))
        every = [
            of_molecule(geometries, place, sample.conformers, own)
            for place, own in zip(places, map(logs.get, chunk.tolist()), strict=True)
        ]
        found = [one for one in every if len(one)]
        # Of those that a smaller number would have made, or that count, an engine may have failed
        # with each.
        reasons.update({NONE_LEFT: n} if (n := int(exists.sum()) - len(found)) else {})
        exists = torch.tensor([len(one) > 0 for one in every], dtype=torch.bool)
        sizes = np.diff(geometries.molecules.bounds)
        costs = [int((sizes[one.numpy()] ** 2).sum()) for one in found]
        parts = list(bounded(costs, most_pairs))
        for part in parts:
            rows = torch.cat(found[part])
            batch = geometries.molecules.batch(rows)
            counts = [len(one) for one in found[part]]
            firsts = np.cumsum([0, *counts[:-1]])
            with matmul_precision(precision):
                values = _predicted(predictor, batch, known)
            n_rows = len(chunk) if part is parts[-1] else 0
            labels = batch.y[firsts][:, columns]
            heavy = geometries.molecules.heavy_atoms(rows[firsts])
            places_of = chunk[exists][part]
            numbers = [geometries.number[one].tolist() for one in found[part]]
            learned = [
                of_numbers(logs.get(row), own)
                for row, own in zip(places_of.tolist(), numbers, strict=True)
            ]
            weighing = _weighing(sample, geometries.energy[rows], batch, counts, learned)
            yield _Batch(n_rows, counts, labels, places_of, values, heavy, weighing, batch)
        if not parts:
            yield _Batch(len(chunk), [], nothing, chunk[:0], lambda: nothing, nothing, [])


def _weighing(
    sample: Sample,
    energies: Tensor,
    batch: Batch,
    counts: list[int],
    learned: list[NDArray[np.float64] | None],
) -> list[Weighing]:
    """By what the conformers of each molecule are weighted, as `molgeo.predict` does.

    Args:
        sample: which they are of.
        energies: (conformers,) kcal/mol of the force field.
        batch: the conformers.
        counts: conformers of each molecule.
        learned: logarithms of their weights, if a model knows them.
    """
    if not (sample.engine or sample.stretched):
        return [Weighing(log_weights=one) for one in learned]
    sizes = batch.batch.bincount(minlength=len(energies)).tolist()
    z, pos = (one.numpy().astype(float) for one in (batch.z, batch.pos))
    ends = np.cumsum(sizes)[:-1]
    extents = np.array(list(map(extent, np.split(z, ends), np.split(pos, ends))))
    parts = np.cumsum(counts)[:-1]
    own = np.split(energies.numpy() * KCAL_MOL, parts) if sample.engine else [None] * len(counts)
    return list(map(Weighing, own, np.split(extents, parts), learned))


def interval_widths(
    predictor: Predictor, sample: Sample, found: Collected
) -> list[NDArray[np.float64] | None]:
    """Half-widths of each property's intervals.

    Args:
        predictor: the model.
        sample: that it was compared with.
        found: what came of it.

    Returns:
        (molecules, 2) in the unit of each property, for `ONE_SIGMA` and `INTERVAL` of
        `molgeo.predictor.calibration`; None if the model is not calibrated for such molecules.
    """
    known = sample.calibration(predictor)
    if known is None:
        return [None for _ in found.properties]
    return [found.half_widths(known, k) for k in range(len(found.properties))]


def _limits(device: torch.device, batch_size: int | None) -> tuple[int, float]:
    """Molecules whose geometries are made at a time, and most pairs of atoms of a batch of them."""
    if batch_size or device.type == "cpu":
        return batch_size or BATCH_SIZE, math.inf
    return ROWS_AT_ONCE, PAIRS["cuda"]


def _predicted(predictor: Predictor, batch: Batch, known: list[Property]) -> Arriving:
    """Properties of a batch, (conformers, properties), on their way from the model's device."""
    batch = batch.to(predictor.scale.device)
    with torch.inference_mode():
        graph = batch.graph(predictor.cutoff)
        found = predictor.judged(batch.z, batch.pos, graph=graph)
        return received(found.table(names_of(known)))


def _average(
    values: Tensor,
    known: list[Property],
    end: int,
    weighing: Weighing,
) -> ConformerAverage:
    """One molecule's numbers from those of its conformers, whose signals begin at a column."""
    signals = values[:, end:].numpy() if values.shape[1] > end else None
    values = values[:, : len(known)]
    energy = first_energy(known)
    own = values[:, known.index(energy)] if energy else torch.zeros(len(values))
    energies = own.numpy() if weighing.energies is None else weighing.energies
    return conformer_average(
        values.numpy(), energies, signals, weighing.extents, weighing.log_weights
    )
