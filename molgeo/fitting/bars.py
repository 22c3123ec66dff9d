"""Error bars from held-out folds, and how far a molecule is from all that a fit was trained on.

Each row that is not tested on was held out from one member. Its error with that member is a score
of `molgeo.predictor.calibration`: all rows count, and no validation part is lost. The mean of the
members is better than each, so that intervals are rather too wide than too narrow.

Signals of a row come from Gaussians of the features of the other folds' atoms, in the features of
all members together, as those of a new molecule will.

Source:
    Cross-conformal prediction: Vovk, Ann. Math. Artif. Intell. 74, 9 (2015); Barber, Candès,
    Ramdas, Tibshirani, Ann. Stat. 49, 486 (2021), for the mean of the folds' models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from molgeo.evaluation.collected import Collected, together
from molgeo.evaluation.familiarity import MOLECULES, features_of
from molgeo.evaluation.properties import Sample, collect
from molgeo.fitting.folds import Folds
from molgeo.fitting.members import Data
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import FARTHEST, LEAST, Calibration, Compared, calibration_from
from molgeo.predictor.familiarity import PERCENTS, SIGNALS, SMALL, Familiarity, familiarity
from molgeo.predictor.gaussians import gaussians
from molgeo.properties import Property
from molgeo.runtime.progress import progress

MOST_SMALL: Final = 500
"""Small molecules that are kept one by one."""


FACTORS: Final = torch.logspace(-2, 0.5, 101, dtype=torch.float64)
"""That are tried on the logarithms of odds."""


class HeldOut(NamedTuple):
    """Predictions of rows by members that did not see them.

    Attributes:
        found: the predictions, with signals.
        fold: (molecules,) of each.
    """

    found: Collected
    fold: Tensor


def sample_of(data: Data, rows: Tensor, learned: tuple[Property, ...], conformers: int) -> Sample:
    """Rows of a fit as molecules to compare a model with."""
    own = data.geometries
    return Sample(lambda n: (own, n), rows, learned, conformers, data.table.geometry == "smiles")


def add_bars(
    whole: Predictor, members: Sequence[Predictor], data: Data, n_folds: int, conformers: int
) -> HeldOut:
    """Give a model its record of what it was trained on, and its error bars.

    Args:
        whole: the members' mean, which changes in place.
        members: that it is made of.
        data: of the fit.
        n_folds: of the data.
        conformers: of each molecule, of which values are averages.

    Returns:
        What all of this was measured on.
    """
    folds = [torch.from_numpy(np.flatnonzero(data.folds.fold == k)) for k in range(n_folds)]
    learned, domain = whole.properties, whole.domain
    known = [
        features_of(whole, sample_of(data, rows[: MOLECULES // n_folds], learned, 1))
        for rows in folds
    ]
    numbers = sorted({1, conformers}) if data.table.geometry == "smiles" else [1]
    parts: dict[int, list[HeldOut]] = {n: [] for n in numbers}
    with progress("measuring errors") as report:
        for k, rows in enumerate(folds[: len(members)]):
            others = [one for j, one in enumerate(known) if j != k]
            # A kernel has the features of all, and a deviation that is of its own training rows.
            judge = members[k] if whole.heads.by_kernel else whole
            judge.familiarity, judge.domain = _undecided(others), members[k].domain
            for n in numbers:
                sample = sample_of(data, rows, learned, n)
                judged = collect(judge, sample, judge=True)
                own = judged if judge is members[k] else collect(members[k], sample)
                both = _with_signals(own, judged)
                parts[n].append(HeldOut(both, torch.full((len(both.rows),), k)))
            report(k + 1, len(folds))
    whole.domain = domain
    held = {
        n: HeldOut(together([one.found for one in each]), torch.cat([one.fold for one in each]))
        for n, each in parts.items()
    }
    most = held[numbers[-1]].found
    assert most.signals is not None
    training = _gaussians(known)
    heavy = data.geometries.molecules.heavy_atoms(data.geometries.first[torch.cat(folds)])
    small = torch.cat(folds)[heavy <= SMALL][:MOST_SMALL]
    if len(small):
        training["known"] = features_of(whole, sample_of(data, small, learned, 1))[2].contiguous()
    whole.familiarity = record = familiarity(training, most.signals)
    held = {n: HeldOut(_flagged(one.found, record), one.fold) for n, one in held.items()}
    if any(one.is_probability for one in whole.properties):
        # A probability says by itself how sure it is, and has no bar.
        found = held[numbers[-1]]
        return found._replace(found=_tempered(whole, found.found))
    made = data.table.geometry == "smiles"
    calibrations = [
        calibration_of_rows(one, data.folds, n if made else 0) for n, one in held.items()
    ]
    whole.header = whole.header.model_copy(update={"calibration": calibrations})
    return held[numbers[-1]]


def _tempered(whole: Predictor, found: Collected) -> Collected:
    """Probabilities as sure as they are right: of each, the odds' logarithm by a factor.

    Heads that were fitted to few molecules are too sure of others. The factor is the likeliest on
    rows that a member did not see. It does not change which molecule is likelier than which.

    Args:
        whole: whose odds change in place.
        found: those rows.

    Returns:
        The rows with their probabilities changed likewise.
    """
    values = found.values.clone()
    for k in range(len(whole.properties)):
        known = found.labels[:, k].isfinite()
        odds = found.values[:, k].clamp(1e-6, 1 - 1e-6).logit()
        truth = found.labels[known, k]
        losses = torch.stack(
            [binary_cross_entropy_with_logits(factor * odds[known], truth) for factor in FACTORS]
        )
        factor = FACTORS[int(losses.argmin())]
        whole.baseline[k] *= factor
        whole.scale[k] *= factor
        values[:, k] = (factor * odds).sigmoid()
    return found._replace(values=values)


def _gaussians(known: Sequence[tuple[Tensor, Tensor, Tensor]]) -> dict[str, Tensor]:
    features, z = (torch.cat([one[k] for one in known]) for k in (0, 1))
    return {**gaussians(features, z), "known": torch.zeros(0, features.shape[1])}


def _undecided(known: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Familiarity:
    """Gaussians that give signals, and call nothing strange."""
    beyond = torch.full((PERCENTS + 1, len(SIGNALS)), torch.inf)
    return Familiarity(**_gaussians(known), percentiles=beyond)


def _with_signals(own: Collected, whole: Collected) -> Collected:
    """A member's values with the signals of all members, of the molecules that both have."""
    places = [{row: k for k, row in enumerate(one.rows.tolist())} for one in (own, whole)]
    both = sorted(places[0].keys() & places[1].keys())
    mine, theirs = (torch.tensor([place[row] for row in both]).long() for place in places)
    assert whole.signals is not None
    signals = whole.signals[theirs].clamp(max=FARTHEST)  # an element may be in one fold alone
    return own.of_places(mine)._replace(
        signals=signals, flagged=whole.flagged[theirs], larger=whole.larger[theirs]
    )


def _flagged(found: Collected, record: Familiarity) -> Collected:
    """With what the whole record says of each molecule's signals."""
    assert found.signals is not None
    far = torch.tensor([bool(record.reasons(row)) for row in found.signals.tolist()])
    return found._replace(flagged=found.flagged | far)


def calibration_of_rows(held: HeldOut, folds: Folds, conformers: int) -> Calibration:
    """From rows of scaffolds that their members did not see, if there are enough of them.

    A scaffold counts as much as another one, however many molecules it has: a new molecule is most
    likely of a new one.

    Args:
        held: the rows.
        folds: of all rows.
        conformers: of each molecule; 0 for given coordinates.
    """
    found = held.found
    measured = found.measured()._replace(groups=folds.group[found.rows.numpy()])
    strange = measured.of(folds.strange[found.rows.numpy()])
    if np.isfinite(strange.labels).sum(0).min() >= 10 * LEAST and _n_groups(strange) >= LEAST:
        measured = strange
    if _n_groups(measured) < LEAST:
        measured = measured._replace(groups=None)
    outside = measured.of(measured.outside)
    # Of fewer nobody could tell an interval of their own.
    return calibration_from(measured, conformers, outside if _n_groups(outside) >= LEAST else None)


def _n_groups(of: Compared) -> int:
    """Groups of molecules that have a label, of the property that has the fewest."""
    groups = np.arange(len(of.labels)) if of.groups is None else of.groups
    return min(len(np.unique(groups[known])) for known in np.isfinite(of.labels).T)
