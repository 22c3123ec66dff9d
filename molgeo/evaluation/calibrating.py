"""How the errors of a model's values are distributed, for its error bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from molgeo.evaluation.collected import Collected, best_mixing
from molgeo.evaluation.properties import Sample, collect
from molgeo.prediction.conformer_average import CONFORMERS
from molgeo.prediction.given import usual_conformers, weigher_name
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import LEAST, Calibration, Compared, calibration_from
from molgeo.predictor.header import Facts
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import Progress

CALIBRATED: Final = (1, 2, 4, CONFORMERS)
"""Numbers of conformers that have a calibration of their own."""


def calibrated_numbers(header: Facts) -> tuple[int, ...]:
    """Numbers of conformers that a model is calibrated for, with the one that is made for it.

    Args:
        header: of its checkpoint.
    """
    usual = usual_conformers(weigher_name(header))
    return tuple(dict.fromkeys((*CALIBRATED, usual)))


def calibrations(
    predictor: Predictor,
    samples: Mapping[int, Sample],
    progress: Progress | None = None,
    beyond: Mapping[int, Sample] | None = None,
) -> list[Calibration]:
    """How the errors of values are distributed, for several numbers of conformers.

    Args:
        predictor: the model.
        samples: number of conformers → molecules that the model was not trained on.
        progress: called with (molecules done, molecules in all).
        beyond: likewise, molecules that the training data do not have; they count only if the
            predictor tells how far molecules are from its training data.

    Returns:
        Calibrations, for the header of a checkpoint.

    Raises:
        SettingError: as in `molgeo.predictor.calibration.calibration_from`.
    """
    if chances := [one.name for one in predictor.properties if one.is_probability]:
        raise SettingError(
            f"calibrate: {chances[0]} is a probability, which says by itself how sure it is: it "
            "has no error bar"
        )
    made = []
    for k, (n, sample) in enumerate(samples.items()):

        def step(done: int, total: int, before: int = k) -> None:
            if progress:
                progress(before * total + done, len(samples) * total)

        found, far = collect(predictor, sample, progress=step, judge=True), None
        if beyond is not None and n in beyond and predictor.familiarity is not None:
            far = collect(predictor, beyond[n], judge=True)
        made.append(replace(_calibration(found, n, far), engine=sample.engine))
        if sample.partner is not None:
            other = collect(*sample.partner)
            mixing = best_mixing(found, other)
            found = found.mixed(other, mixing)
            if far is not None and beyond is not None and (partner := beyond[n].partner):
                far = far.mixed(collect(*partner), mixing)
            known = _calibration(found, n, far)
            of_each = zip(known.scales.items(), *map(np.ndarray.tolist, mixing), strict=True)
            scales = {k: replace(one, share=s, falls=f) for (k, one), s, f in of_each}
            name = sample.partner.model.name
            made.append(replace(known, scales=scales, engine=sample.engine, partner=name))
    return made


def _calibration(found: Collected, n: int, far: Collected | None) -> Calibration:
    """From predictions for n conformers, and those of molecules that training data lack."""
    measured = found.measured()
    _check_enough(measured)
    return calibration_from(measured, n, None if far is None else far.of(measured.properties))


def _check_enough(found: Compared) -> None:
    """Refuse to measure an interval of nine in ten on fewer than nine molecules.

    Raises:
        SettingError: a property has too few labels; the message says what helps.
    """
    for name, n in zip(found.properties, np.isfinite(found.labels).sum(0).tolist(), strict=True):
        if n < LEAST:
            raise SettingError(
                f"calibrate: expected at least {LEAST} validation molecules with {name}, got {n}: "
                "raise --limit (0 takes all), or train with a larger validation part"
            )
