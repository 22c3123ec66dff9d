"""How far from the truth a value may be: intervals that hold a stated share of molecules.

A molecule's value v is an average over conformers whose standard deviation is s. On n molecules
that the model was not trained on, with labels y, the *score* of a property is

    r = |y − v| / (e + s),      e = median |y − v|,

and ``q_p`` is the score that the share p of them stays below, the ⌈(n + 1) p⌉-th smallest. Then

    v ± q_p (e + s)

holds the truth for the share p of molecules that are drawn as those n were, on average over such
draws and whatever the distribution of the errors; and it is wider if the conformers differ.
2,000 molecules know a share to a percent.

The standard error in the output is the half-width for p = 0.683, as one standard deviation of a
normal distribution holds; the interval that is given beside it is the one for p = 0.9.

Source:
    Split conformal prediction with normalised scores: Papadopoulos, Gammerman, Vovk, AIA 2008; Lei
    et al., JASA 113, 1094 (2018).

Deviation:
    e, one number per property, is taken from the same n molecules as the scores. Its effect on
    the shares is of the order of 1/n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from molgeo.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Numbers = TypeVar("Numbers", float, "Tensor")

ONE_SIGMA: Final = 0.6827
INTERVAL: Final = 0.9


@dataclass(frozen=True)
class Scale:
    """How the errors of one property are distributed.

    Attributes:
        error: e, the median absolute error, in the property's unit.
        sigma: score of the share `ONE_SIGMA`.
        interval: score of the share `INTERVAL`.
    """

    error: float
    sigma: float
    interval: float


@dataclass(frozen=True)
class Calibration:
    """What is known of a model's errors for molecules given as SMILES.

    Attributes:
        conformers: how many are made of each molecule; 0 for given coordinates.
        n: molecules measured on.
        scales: property → its scale.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    conformers: int
    n: int
    scales: dict[str, Scale]


def calibration_of(calibrations: Iterable[Calibration], conformers: int) -> Calibration | None:
    """The calibration for a number of conformers.

    Args:
        calibrations: of a model, as its header has them.
        conformers: that are made of each molecule; 0 for given coordinates.

    Returns:
        The one for the largest number that is not above ``conformers``: more conformers make no
        larger errors. None if there is none.
    """
    fitting = [one for one in calibrations if min(conformers, 1) <= one.conformers <= conformers]
    return max(fitting, key=lambda one: one.conformers, default=None)


def calibration_from(
    properties: Sequence[str], values: Array, stds: Array, labels: Array, conformers: int
) -> Calibration:
    """Scales from molecules that the model was not trained on.

    Args:
        properties: names of the columns.
        values: (molecules, properties).
        stds: (molecules, properties), over the conformers.
        labels: (molecules, properties); NaN if one is missing.
        conformers: that were made of each molecule; 0 for given coordinates.

    Returns:
        The calibration.

    Raises:
        ValueError: there are too few molecules for the share `INTERVAL`.
    """
    scales = {}
    for k, name in enumerate(properties):
        known = np.isfinite(labels[:, k])
        n = int(known.sum())
        if math.ceil((n + 1) * INTERVAL) > n:
            raise InputError(f"calibrate: expected at least 9 molecules, got {n}")
        errors = np.abs(values[known, k] - labels[known, k])
        error = float(np.median(errors))
        scores = np.sort(errors / (error + stds[known, k]))
        sigma, interval = (scores[math.ceil((n + 1) * p) - 1] for p in (ONE_SIGMA, INTERVAL))
        scales[name] = Scale(error, float(sigma), float(interval))
    return Calibration(conformers, len(values), scales)


def half_widths(scale: Scale, std: Numbers) -> tuple[Numbers, Numbers]:
    """Half of the intervals for the shares `ONE_SIGMA` and `INTERVAL`, in the property's unit.

    Args:
        scale: of the property.
        std: over the conformers, in the property's unit; one number or a tensor.
    """
    width = scale.error + std
    return scale.sigma * width, scale.interval * width
