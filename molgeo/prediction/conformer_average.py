"""One value for a molecule from those of its conformers, with its error.

With w_c ∝ exp(−E_c / kT), E_c the predicted energies of the conformers and p_c a property:

* the **Boltzmann average** ``Σ_c w_c p_c`` at 298.15 K is what a gas of the molecule would show, as
  far as the energies are right;
* the value of the **lowest** conformer is ``p_c`` of the smallest E_c;
* the **value** of the molecule is the same average at kT = `SOFTNESS`. Energies of
  conformers at force-field geometries are uncertain by some 0.05 eV, twice kT at 298 K, so that
  sharper weights follow the noise: the softer average is closer to QM9's labels for every property;
* the **spread** is the standard deviation under the weights of the value.

A label of QM9 belongs to one conformer, which was made by rules, not found by its energy. A model
has learned which conformers those rules make (`molgeo.prediction.weighed`). If it knows a molecule,
those whose weight is less than `LEAST_SHARE` of the largest one are left out of everything. The
value is the average of the others with its weights w, ``w_c^(1 / t) / Σ w^(1 / t)`` with
t = `SHARPNESS`, and so is the spread.

If it does not, one rule is kept: the conformer of a label is more extended than the lowest one, in
which a chain turns back to itself. So conformers that a geometry engine relaxed have
``w_c ∝ exp(−E_c / kT + R_c / R₀)`` for the value, with the engine's energies,
``R = Σ_a Z_a |r_a − r̄|²`` about the centre of nuclear charge, and R₀ = `STRETCH`.

Errors of two models at the geometries of each are partly their own. So the value may be a mean of
both, ``s p + (1 − s) p′``, whose share s falls with the spread of p and is measured on validation
molecules (`molgeo.predictor.calibration.Mixing`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.prediction.rows import CONFORMER_COLUMNS, INTERVAL_COLUMNS, STD, SUFFIXES, VALUES
from molgeo.predictor.calibration import Calibration, Mixing, within
from molgeo.properties import Property
from molgeo.units import BOHR, BOLTZMANN

CONFORMERS: Final = 8
"""Made of each SMILES if no number is asked for. 1, 2, 4 and 8 were tried, each better than the
one before; a conformer costs some 6 ms."""

WEIGHED_CONFORMERS: Final = 32
"""The same if a model weighs them: the more there are, the more often QM9's own one is among them,
and those that do not count cost no more than to be made."""

LEAST_SHARE: Final = 0.1
"""Of the largest weight, what a conformer must have to count; chosen on 512 validation molecules.
At 0.02 errors are up to 1.5% larger, and at 0.3 too."""

SHARPNESS: Final = 0.7
"""To 1 / t of it the weight of a model is taken; chosen on 1,500 validation molecules from 0.6 to
1.5. Errors at 0.6 are alike, and those at 1 up to 1% larger."""

SOFTNESS: Final = 0.1
"""eV; chosen on 1,000 validation molecules from kT at 298 K, this, equal weights and the lowest."""

STRETCH: Final = 50.0
"""a0², R₀; chosen with the engine's energies on 400 validation molecules, from 33 to 100 and ∞."""

ROOM: Final = BOLTZMANN * 298.15
"""kT at 298.15 K, eV."""

Array = NDArray[np.float64]


class ConformerAverage(NamedTuple):
    """Four numbers of each property, (properties,) each, and the molecule's signals if any."""

    value: Array
    std: Array
    lowest: Array
    boltzmann: Array
    signals: Array | None = None

    def mixed(self, other: ConformerAverage, mixing: Mixing) -> ConformerAverage:
        """With that of another model, of which there is 1 − share of each property.

        The share falls with the spread, but not of numbers whose conformers are known.
        """

        def mean(name: str, share: Array) -> Array:
            mine: Array = getattr(self, name)
            its: Array = getattr(other, name)
            return share * mine + (1 - share) * its

        own = mixing.at(self.std)
        found = {name: mean(name, own) for name in ("value", "std")}
        found |= {name: mean(name, mixing.most) for name in ("lowest", "boltzmann")}
        return self._replace(**found)


def conformer_average(
    values: Array,
    energies: Array,
    signals: Array | None = None,
    extents: Array | None = None,
    log_weights: Array | None = None,
) -> ConformerAverage:
    """Average over the conformers of one molecule.

    Args:
        values: (conformers, properties).
        energies: (conformers,) eV, up to a constant; all equal if none is known.
        signals: (conformers, signals) of how far each is from the training data, if they are known.
        extents: (conformers,) R in a0², if extended conformers weigh more.
        log_weights: (conformers,) of the value, up to a constant, if a model weighed them; then
            extents do not count.

    Returns:
        The averages, in the units of ``values``.
    """
    soft, sharp = soft_weights(energies, extents), weights(energies, ROOM)
    if log_weights is not None:
        soft = weights(-log_weights, SHARPNESS)
    value = soft @ values
    variance = soft @ (values - value) ** 2
    return ConformerAverage(
        value,
        np.sqrt(variance),
        values[int(energies.argmin())],
        sharp @ values,
        None if signals is None else soft @ signals,
    )


def weights(energies: Array, kT: float) -> Array:
    """Shares of conformers in equilibrium: (conformers,), of sum 1.

    Args:
        energies: (conformers,) eV, up to a constant.
        kT: eV.
    """
    w: Array = np.exp((energies.min() - energies) / kT)
    return w / w.sum()


def counting(log_weights: Array) -> NDArray[np.bool_]:
    """Which conformers of a molecule count, as a model weighs them: (conformers,).

    Args:
        log_weights: (conformers,) up to a constant.
    """
    counted: NDArray[np.bool_] = log_weights >= log_weights.max() + math.log(LEAST_SHARE)
    return counted


def soft_weights(energies: Array, extents: Array | None = None) -> Array:
    """Shares of conformers in the value of a molecule; arguments as of `conformer_average`."""
    stretched = 0.0 if extents is None else SOFTNESS / STRETCH * extents
    return weights(energies - stretched, SOFTNESS)


def extent(z: NDArray[np.int64], pos: Array) -> float:
    """``Σ_a Z_a |r_a − r̄|²`` in a0².

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
    """
    centred = pos - z @ pos / z.sum()
    return float(z @ (centred**2).sum(1)) / BOHR**2


class Numbers:
    """Averages and error bars of some properties.

    Args:
        outputs: properties and atomization energies.
        have_errors: the errors of values are known.
        of_conformers: tell the spread over the conformers, and more of them.
        intervals: tell the ends of the 90% intervals without that too.

    Attributes:
        columns: all that is known of one property, then of the next.
    """

    def __init__(
        self,
        outputs: Sequence[Property],
        have_errors: bool,
        of_conformers: bool,
        intervals: bool = False,
    ) -> None:
        self._outputs = outputs
        wanted = {"", *(CONFORMER_COLUMNS if of_conformers else ())}
        if have_errors:
            wanted |= {STD, *(INTERVAL_COLUMNS if of_conformers or intervals else ())}
        self._suffixes = [suffix for suffix in SUFFIXES if suffix in wanted]
        self.columns = [one.column + suffix for one in outputs for suffix in self._suffixes]
        # An atomization energy is as uncertain as the total.
        totals = [one.total or one for one in outputs]
        self._totals = [one.name for one in totals]

    def mixing(self, known: Calibration) -> Mixing:
        """How much there is of the model in a mean with its partner, of each output."""
        return known.mixing(self._totals)

    def of(
        self,
        average: ConformerAverage,
        of_several: bool,
        known: Calibration | None = None,
        outside: bool = False,
    ) -> dict[str, float]:
        """Column → number; what is not finite is left out.

        Args:
            average: over the conformers of a molecule, of all outputs, each within its range.
            of_several: there are several conformers, or there might be, as of a SMILES.
            known: what is known of the errors of such values; None for nothing.
            outside: the molecule is outside the model's domain.
        """
        numbers: dict[str, Array] = {"": average.value}
        if of_several:
            conformers = (average.std, average.lowest, average.boltzmann)
            numbers |= dict(zip(CONFORMER_COLUMNS, conformers, strict=True))
        numbers |= self._errors(average, known, outside)
        numbers |= {name: within(self._outputs, numbers[name]) for name in VALUES & numbers.keys()}
        return {
            one.column + suffix: float(numbers[suffix][k])
            for k, one in enumerate(self._outputs)
            for suffix in self._suffixes
            if suffix in numbers and math.isfinite(numbers[suffix][k])
        }

    def _errors(
        self, average: ConformerAverage, known: Calibration | None, outside: bool
    ) -> dict[str, Array]:
        """Standard errors and ends of intervals, if they are known."""
        if known is None:
            return {}
        signals = None if average.signals is None else average.signals[None]
        halves = [
            known.half_widths(name, average.std[k : k + 1], signals, np.array([outside]))
            for k, name in enumerate(self._totals)
        ]
        sigma, interval = np.array(halves)[:, :, 0].T
        low, high = INTERVAL_COLUMNS
        return {STD: sigma, low: average.value - interval, high: average.value + interval}
