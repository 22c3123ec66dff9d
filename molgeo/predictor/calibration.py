"""How far from the truth a value may be: intervals that hold a stated share of molecules.

A molecule's value v is an average over conformers whose standard deviation is s. On n molecules
that the model was not trained on, with labels y, the *score* of a property is

    r = |y − v| / (e + s),      e = median |y − v|,

and ``q_p`` is the score that the share p of them stays below, the ⌈(n + 1) p⌉-th smallest. Then

    v ± q_p (e + s)

holds the truth for the share p of molecules that are drawn as those n were, on average over such
draws and whatever the distribution of the errors; and it is wider if the conformers differ.
2,000 molecules know a share to a percent.

Errors grow with how far a molecule is from the training data. If the model tells *signals* σ_k of
it (`molgeo.predictor.familiarity`), the width is

    w = e + a s + Σ_k b_k max(0, σ_k − σ̄_k) + c [outside the domain],

with σ̄_k the median of validation molecules and e, a, b_k, c ≥ 0 those that make the errors most
likely, if they follow a Laplace distribution of scale w: the minimum of Σ (ln w + |y − v| / w).
c is the floor of molecules whose bonds are strange though the features of their atoms are not.
Then the scores are |y − v| / w. Molecules outside the domain have a ``q_p`` of their own, measured
on molecules outside (Mondrian classes): those that the training data do not have.

Molecules may come in K groups, such as those of one scaffold, which are alike. A new molecule is of
a new group, so that groups are drawn like the new one, and molecules of a group are not draws of
their own. Then each molecule of a group of N counts 1 / N, in the likelihood and in the shares, and
``q_p`` is the smallest score below which these counts come to (K + 1) p. Without groups K is n.

The standard error in the output is the half-width for p = 0.683, as one standard deviation of a
normal distribution holds; the interval that is given beside it is the one for p = 0.9.

A value is within the property's range [m, M] already (`molgeo.predictor.predictor`), and so are
labels. The interval that is given is ``[v − h, v + h] ∩ [m, M]``, which holds as many of them.

Source:
    Split conformal prediction with normalised scores: Papadopoulos, Gammerman, Vovk, AIA 2008; Lei
    et al., JASA 113, 1094 (2018). Mondrian classes: Vovk, Lindsay, Nouretdinov, Gammerman, 2003.
    Groups: Lee, Barber, Willett, arXiv:2306.06342 (hierarchical conformal prediction).

Deviation:
    e and the weights are those of all n molecules, and come from the scores' own molecules. So that
    few of these do not seem better than others will, the scores are taken with e and weights of the
    groups of other parts, of `PARTS` parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.properties import Property
from molgeo.runtime.errors import InputError

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

ONE_SIGMA: Final = 0.6827
INTERVAL: Final = 0.9
LEAST: Final = 9
"""Molecules of which an interval can hold the share `INTERVAL`: ⌈(n + 1) p⌉ is not above n."""

SHARE_OUTSIDE: Final = 0.2
"""Of the likelihood, what molecules outside the training data weigh together."""

PARTS: Final = 5
"""Of the molecules: scores of one part are taken with widths that come from the others."""

FARTHEST: Final = 1e4
"""Most that a signal counts, as of an element that no training atom has."""


@dataclass(frozen=True)
class Scale:
    """How the errors of one property are distributed.

    Attributes:
        error: e, the median absolute error, in the property's unit.
        sigma: score of the share `ONE_SIGMA`.
        interval: score of the share `INTERVAL`.
        spread: a, weight of the standard deviation over conformers.
        weights: b_k of each signal, in the property's unit; none without signals.
        outside: the two scores of molecules outside the domain; None if none were measured.
        apart: c, in the property's unit.
        share: s₀, of the model in values that are a mean with those of a partner.
        falls: 1 / σ₀, in one over the property's unit, of that share, as in `Mixing`.
    """

    error: float
    sigma: float
    interval: float
    spread: float = 1.0
    weights: tuple[float, ...] = ()
    outside: tuple[float, float] | None = None
    apart: float = 0.0
    share: float = 1.0
    falls: float = 0.0

    def width(self, stds: Array, excess: Array, outside: Bools | None = None) -> Array:
        """W, in the property's unit.

        Args:
            stds: (molecules,) s.
            excess: (molecules, signals) max(0, σ_k − σ̄_k); not looked at without weights.
            outside: (molecules,) whether each is outside the domain; None for none.
        """
        width = self.error + self.spread * stds
        width = width + excess @ np.array(self.weights) if self.weights else width
        return width if outside is None else width + self.apart * outside


class Mixing(NamedTuple):
    """How much of a mean with its partner is a model's own, of some properties.

    The conformers at hand are rarely the one that a label is of if their values differ much. So the
    share of the model that knows best what each of them has falls with the standard deviation σ of
    its values over them, as s₀ / (1 + (σ / σ₀)²).

    Attributes:
        most: (properties,) s₀.
        falls: (properties,) 1 / σ₀.
    """

    most: Array
    falls: Array

    def at(self, stds: Array) -> Array:
        """The share for each σ, (…, properties)."""
        share: Array = self.most / (1.0 + (self.falls * stds) ** 2)
        return share


@dataclass(frozen=True)
class Calibration:
    """What is known of a model's errors for molecules given as SMILES.

    Attributes:
        conformers: how many are made of each molecule; 0 for given coordinates.
        n: molecules measured on.
        scales: property → its scale.
        origin: σ̄_k of each signal.
        n_outside: molecules outside the domain measured on.
        engine: name of the force field that relaxed the conformers; "" for none.
        partner: name of the model at the conformers before that, with which values are a mean;
            "" for none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    conformers: int
    n: int
    scales: dict[str, Scale]
    origin: tuple[float, ...] = ()
    n_outside: int = 0
    engine: str = ""
    partner: str = ""

    def mixing(self, names: Sequence[str]) -> Mixing:
        """How much there is of the model in a mean with its partner.

        Args:
            names: (properties,).
        """
        scales = [self.scales[name] for name in names]
        most, falls = ([getattr(one, key) for one in scales] for key in ("share", "falls"))
        return Mixing(np.array(most), np.array(falls))

    def half_widths(
        self, name: str, std: Array, signals: Array | None = None, outside: Bools | None = None
    ) -> tuple[Array, Array]:
        """Half of the intervals for the shares `ONE_SIGMA` and `INTERVAL`, in the property's unit.

        Args:
            name: of the property.
            std: (molecules,) over the conformers, in the property's unit.
            signals: (molecules, signals); None if there are none.
            outside: (molecules,) whether each is outside the domain; None for none.
        """
        scale = self.scales[name]
        excess = np.empty(0)
        if scale.weights:
            if signals is None:
                raise ValueError("signals: the calibration needs those of each molecule, got none")
            excess = _excess(signals, self.origin)
        width = scale.width(std, excess, outside)
        sigma, interval = scale.sigma, scale.interval
        if outside is None or scale.outside is None:
            return sigma * width, interval * width
        far_sigma, far_interval = scale.outside
        return (
            np.where(outside, far_sigma, sigma) * width,
            np.where(outside, far_interval, interval) * width,
        )


def within(of: Sequence[Property], values: Array) -> Array:
    """Values, or ends of intervals, cut to the range of their property.

    Args:
        of: (properties,).
        values: (…, properties).
    """
    least, most = (np.array([getattr(one, key) for one in of]) for key in ("minimum", "maximum"))
    return np.clip(values, least, most)


def calibration_of(
    calibrations: Iterable[Calibration], conformers: int, engine: str = "", partner: str = ""
) -> Calibration | None:
    """The calibration for a number of conformers.

    Args:
        calibrations: of a model, as its header has them.
        conformers: that are made of each molecule; 0 for given coordinates.
        engine: that relaxed the conformers, as in `Calibration`.
        partner: as in `Calibration`.

    Returns:
        The one for the largest number that is not above ``conformers``: more conformers make no
        larger errors. None if there is none.
    """
    fitting = [
        one
        for one in calibrations
        if min(conformers, 1) <= one.conformers <= conformers
        and (one.engine, one.partner) == (engine, partner)
    ]
    return max(fitting, key=lambda one: one.conformers, default=None)


class Compared(NamedTuple):
    """Molecules that a model was not trained on, with their values and labels.

    Attributes:
        properties: names of the columns.
        values: (molecules, properties).
        stds: (molecules, properties), over the conformers.
        labels: (molecules, properties); NaN if one is missing.
        signals: (molecules, signals); None if the model tells none.
        outside: (molecules,) whether each is outside the domain.
        groups: (molecules,) int64, equal for those of one group; None if each is its own.
    """

    properties: Sequence[str]
    values: Array
    stds: Array
    labels: Array
    signals: Array | None = None
    outside: Bools | None = None
    groups: NDArray[np.int64] | None = None

    def of(self, places: Any) -> Compared:
        """Some of the molecules."""
        some: dict[str, Any] = {
            name: one[places] for name, one in self._asdict().items() if isinstance(one, np.ndarray)
        }
        return self._replace(**some)


def calibration_from(
    known: Compared, conformers: int, beyond: Compared | None = None
) -> Calibration:
    """Scales from molecules that the model was not trained on.

    Args:
        known: molecules like the training data.
        conformers: that were made of each molecule; 0 for given coordinates.
        beyond: molecules that the training data do not have.

    Returns:
        The calibration.

    Raises:
        ValueError: there are too few molecules, or groups of them, for the share `INTERVAL`.
    """
    if known.signals is None:
        beyond = None
    origin = () if known.signals is None else tuple(np.median(known.signals, axis=0).tolist())
    scales = {}
    n_outside = 0
    for k, name in enumerate(known.properties):
        near = _column(known, k, origin)
        if near.n_groups < LEAST:
            what = "molecules" if known.groups is None else "groups of molecules"
            raise InputError(f"calibrate: expected at least {LEAST} {what}, got {near.n_groups}")
        # A property that was not computed for molecules outside has only molecules inside.
        far = near.of(slice(0)) if beyond is None else _column(beyond, k, origin)
        if origin:
            scale = _fitted(near, far)
            near, far = _scored(near, far)
        else:
            scale = Scale(float(np.median(near.errors)), 1.0, 1.0)
            near = near.scored(scale)
        outside, inside = far.of(far.outside), near.of(~near.outside)
        # Without a class of their own, strange molecules count with the others.
        enough = min(outside.n_groups, inside.n_groups) >= LEAST
        sigma, interval = _quantiles(inside if enough else near)
        apart = _quantiles(outside) if enough else None
        scales[name] = replace(scale, sigma=sigma, interval=interval, outside=apart)
        n_outside = max(n_outside, len(outside.errors) if enough else 0)
    return Calibration(conformers, len(known.values), scales, origin, n_outside)


class _Column(NamedTuple):
    """One property of molecules that have a label; fields as of `Compared`, and scores."""

    errors: Array
    stds: Array
    excess: Array
    outside: Bools
    groups: NDArray[np.int64]
    scores: Array

    @property
    def counts(self) -> Array:
        """(molecules,) what each counts, one over the molecules of its group."""
        _, place, n = np.unique(self.groups, return_inverse=True, return_counts=True)
        return np.asarray(1.0 / n[place])

    @property
    def n_groups(self) -> int:
        """K."""
        return len(np.unique(self.groups))

    def of(self, places: Any) -> _Column:
        """Some of the molecules."""
        return _Column(*(one[places] for one in self))

    def scored(self, scale: Scale) -> _Column:
        """The same with |y − v| / w."""
        width = scale.width(self.stds, self.excess, self.outside)
        return self._replace(scores=self.errors / width)


def _column(of: Compared, k: int, origin: Sequence[float]) -> _Column:
    known = np.isfinite(of.labels[:, k])
    n = int(known.sum())
    signals = np.empty((n, 0)) if of.signals is None else of.signals[known]
    outside = np.zeros(n, bool) if of.outside is None else of.outside[known]
    errors = np.abs(of.values[known, k] - of.labels[known, k])
    groups = np.arange(n) if of.groups is None else of.groups[known]
    excess, nothing = _excess(signals, origin), np.full(n, np.nan)
    return _Column(errors, of.stds[known, k], excess, outside, groups, nothing)


def _excess(signals: Array, origin: Sequence[float]) -> Array:
    """max(0, σ − σ̄); what is at infinity is as far as `FARTHEST`."""
    return np.clip(np.asarray(signals, float) - np.asarray(origin, float), 0.0, FARTHEST)


def _scored(near: _Column, far: _Column) -> tuple[_Column, _Column]:
    """With scores whose widths come from the groups of other parts."""
    _, number = np.unique(np.concatenate([near.groups, far.groups]), return_inverse=True)
    each = np.split(number % PARTS, [len(near.groups)])
    scores = [one.scores.copy() for one in (near, far)]
    for part in range(PARTS):
        scale = _fitted(near.of(each[0] != part), far.of(each[1] != part))
        for one, parts, own in zip((near, far), each, scores, strict=True):
            own[parts == part] = one.of(parts == part).scored(scale).scores
    return near._replace(scores=scores[0]), far._replace(scores=scores[1])


def _quantiles(column: _Column) -> tuple[float, float]:
    """``q_p`` for each share p."""
    order = np.argsort(column.scores, kind="stable")
    # A sum of 1 / N may miss a whole number by rounding.
    below = column.counts[order].cumsum() + 1e-9
    wanted = [(column.n_groups + 1) * p for p in (ONE_SIGMA, INTERVAL)]
    sigma, interval = column.scores[order][np.searchsorted(below, wanted)]
    return float(sigma), float(interval)


def _fitted(near: _Column, far: _Column) -> Scale:
    """e, a and b of the largest likelihood; molecules outside weigh `SHARE_OUTSIDE` together."""
    from scipy.optimize import minimize

    columns = [near, far] if len(far.errors) else [near]
    errors = np.concatenate([one.errors for one in columns])
    unit = float(np.median(near.errors)) or 1.0
    terms = np.concatenate(
        [
            np.c_[np.ones(len(one.errors)), one.stds / unit, one.excess, one.outside]
            for one in columns
        ]
    )
    shares = [1.0] if len(columns) == 1 else [1.0 - SHARE_OUTSIDE, SHARE_OUTSIDE]
    mass = np.concatenate(
        [share * one.counts / one.n_groups for share, one in zip(shares, columns, strict=True)]
    )

    # Signals may be small numbers or thousands: in units of their means none is hard to go along.
    means = mass @ terms / mass.sum()
    is_zero = means == 0.0
    means[is_zero] = 1.0
    terms = terms / means

    def loss(x: Array) -> tuple[float, Array]:
        width = terms @ x
        ratio = errors / unit / width
        return float(mass @ (np.log(width) + ratio)), ((mass * (1 - ratio) / width) @ terms)

    # What is zero of all molecules stays where it starts, without a weight. But conformers of
    # others may differ though these have one each.
    start = np.r_[1.0, 1.0, np.where(is_zero[2:], 0.0, 0.1)]
    bounds = [(0.05, None), *[(0.0, None)] * (terms.shape[1] - 1)]
    x = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x / means
    e, spread, *each, apart = x.tolist()
    weights = tuple(b * unit for b in each)
    return Scale(e * unit, 1.0, 1.0, spread, weights, apart=apart * unit)
