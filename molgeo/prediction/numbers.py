"""The numbers of one row from the values of its conformers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molgeo.prediction.columns import CONFORMER_COLUMNS, INTERVAL_COLUMNS, STD, SUFFIXES
from molgeo.prediction.conformer_average import ConformerAverage, conformer_average
from molgeo.predictor.calibration import Calibration, half_widths
from molgeo.properties import Property

Array = NDArray[np.float64]

_BOUNDED: Final = ("", *INTERVAL_COLUMNS, "_lowest", "_boltzmann")
"""Suffixes of the columns that hold values; the others hold widths."""


class Numbers:
    """Averages and error bars of some properties.

    Args:
        outputs: properties and atomization energies.
        suffixes: of the columns that are wanted of each.
        calibration: of all of them; None if their errors are not known.
    """

    def __init__(
        self, outputs: Sequence[Property], suffixes: Sequence[str], calibration: Calibration | None
    ) -> None:
        self._outputs = outputs
        self._suffixes = [suffix for suffix in SUFFIXES if suffix in suffixes]
        totals = [one.total or one for one in outputs]
        # An atomization energy is as uncertain as the total.
        self._scales = [calibration.scales[one.name] for one in totals] if calibration else []
        self._minimum = np.array([one.minimum for one in outputs])

    def of(self, values: Array, energies: Array, of_conformers: bool) -> dict[str, float]:
        """Column → number; what is not finite is left out.

        Args:
            values: (conformers, outputs).
            energies: (conformers,) eV, up to a constant, that the conformers are weighted by.
            of_conformers: they were made of a SMILES, so that the calibration holds.
        """
        average = conformer_average(values, energies)
        numbers: dict[str, Array] = {"": average.value}
        if of_conformers or len(values) > 1:
            conformers = (average.std, average.lowest, average.boltzmann)
            numbers |= dict(zip(CONFORMER_COLUMNS, conformers, strict=True))
        if of_conformers:
            numbers |= self._errors(average)
        for suffix in numbers.keys() & set(_BOUNDED):
            numbers[suffix] = np.maximum(numbers[suffix], self._minimum)
        return {
            one.column + suffix: float(numbers[suffix][k])
            for k, one in enumerate(self._outputs)
            for suffix in self._suffixes
            if suffix in numbers and math.isfinite(numbers[suffix][k])
        }

    def _errors(self, average: ConformerAverage) -> dict[str, Array]:
        """Standard errors and ends of intervals, if they are known."""
        if not self._scales:
            return {}
        halves = [half_widths(s, float(d)) for s, d in zip(self._scales, average.std, strict=True)]
        sigma, interval = np.array(halves).T
        low, high = INTERVAL_COLUMNS
        return {STD: sigma, low: average.value - interval, high: average.value + interval}
