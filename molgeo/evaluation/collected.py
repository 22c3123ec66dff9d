"""Predictions of a part of a data set beside its labels, of one model or of two together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.predictor.calibration import Calibration, Compared, Mixing
from molgeo.properties import Property, names_of

STEPS: Final = 20
"""Parts of one that the share of a model in a mean with another is chosen from."""

WIDE: Final = 0.9
"""Quantile of the spreads over conformers that `FALLS` speaks of."""

FALLS: Final = (0.0, 0.2, 0.4, 0.7, 1.0, 1.5, 2.5, 5.0)
"""Such a spread over σ₀ of `molgeo.predictor.calibration.Mixing`, from which it is chosen."""


class Collected(NamedTuple):
    """Predictions of a part of a data set beside its labels.

    Attributes:
        properties: of the columns.
        values: (molecules, properties) float64, averages over the conformers.
        stds: (molecules, properties) float64, over the conformers.
        labels: (molecules, properties) float64.
        reasons: why molecules are missing, and how many.
        rows: (molecules,) int64, which molecules of the data set.
        signals: (molecules, signals) float64; None if the model tells none.
        flagged: (molecules,) bool, whether each is outside the model's domain; False if that was
            not asked for.
        larger: (molecules,) bool, whether each has more heavy atoms than any validation molecule.
        heavy: (molecules,) int64, heavy atoms.
    """

    properties: list[Property]
    values: Tensor
    stds: Tensor
    labels: Tensor
    reasons: Counter[str]
    rows: Tensor
    signals: Tensor | None
    flagged: Tensor
    larger: Tensor
    heavy: Tensor

    def measured(self) -> Compared:
        """The same, as calibration takes it."""
        signals = None if self.signals is None else self.signals.numpy()
        return Compared(
            names_of(self.properties),
            self.values.numpy(),
            self.stds.numpy(),
            self.labels.numpy(),
            signals,
            self.unlike,
        )

    @property
    def unlike(self) -> NDArray[np.bool_]:
        """(molecules,) whether the error bars are those of molecules unlike the training data."""
        return (self.flagged | self.larger).numpy()

    def mixed(self, other: Collected, mixing: Mixing) -> Collected:
        """The mean with what another model says of these molecules; those that it lacks are left.

        Args:
            other: of the other model.
            mixing: how much there is of this one.
        """
        mine, its = self.beside(other)
        share = torch.from_numpy(mixing.at(mine.stds.numpy()))
        values, stds = (
            share * one + (1 - share) * two
            for one, two in ((mine.values, its.values), (mine.stds, its.stds))
        )
        return mine._replace(values=values, stds=stds)

    def beside(self, other: Collected) -> tuple[Collected, Collected]:
        """Both at the molecules that both have, in this one's order and of its properties."""
        rows = dict(zip(other.rows.tolist(), range(len(other.rows)), strict=True))
        has = torch.tensor([row in rows for row in self.rows.tolist()])
        places = torch.tensor([rows[row] for row in self.rows[has].tolist()])
        columns = [names_of(other.properties).index(one) for one in names_of(self.properties)]
        its = other.of_places(places)
        tables = {name: getattr(its, name)[:, columns] for name in ("values", "stds", "labels")}
        its = its._replace(properties=self.properties, **tables)
        return self.of_places(has.nonzero()[:, 0]), its

    def of_places(self, places: Tensor) -> Collected:
        """Some of the molecules.

        Args:
            places: (n,) int64, which ones.
        """
        own: dict[str, Any] = {
            name: one[places] for name, one in self._asdict().items() if isinstance(one, Tensor)
        }
        return self._replace(**own)

    def half_widths(self, known: Calibration, k: int) -> NDArray[np.float64]:
        """(molecules, 2) half-widths of one property's intervals, as predictions have them."""
        signals = None if self.signals is None else self.signals.numpy()
        stds = self.stds[:, k].numpy()
        both = known.half_widths(self.properties[k].name, stds, signals, self.unlike)
        return np.stack(both, axis=1)

    def of(self, properties: Sequence[str]) -> Compared:
        """As `measured`, with columns for other properties too, which have no labels."""
        own = self.measured()
        places = [own.properties.index(one) if one in own.properties else -1 for one in properties]
        nothing = np.full((len(own.values), 1), np.nan)
        values, stds, labels = (np.hstack([one, nothing])[:, places] for one in own[1:4])
        return Compared(properties, values, stds, labels, own.signals, own.outside)


def together(parts: Sequence[Collected]) -> Collected:
    """Predictions of several parts of a data set, which tell the same, as those of one part."""
    first = parts[0]
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name, one in first._asdict().items()
        if isinstance(one, Tensor)
    }
    reasons = sum((part.reasons for part in parts), Counter[str]())
    return first._replace(**joined, reasons=reasons)


def best_mixing(own: Collected, other: Collected) -> Mixing:
    """How much of a model in a mean with another one has the least error, of each property.

    Args:
        own: of the model, at molecules with labels.
        other: of the other one, at the same molecules.
    """
    wide = np.quantile(own.stds.numpy(), WIDE, axis=0)
    falls = [part / np.where(wide > 0, wide, np.inf) for part in FALLS]
    steps = np.linspace(0.0, 1.0, STEPS + 1)
    each = [Mixing(np.full(len(wide), most), some) for some in falls for most in steps]
    mine, its = own.beside(other)
    error = []
    for one in each:
        share = torch.from_numpy(one.at(mine.stds.numpy()))
        values = share * mine.values + (1 - share) * its.values
        error.append((values - mine.labels).abs().nanmean(0))
    # (tries, properties) of both numbers, of which each property takes those of its best try.
    best, own_column = torch.stack(error).argmin(0).numpy(), np.arange(len(wide))
    return Mixing(*(np.array(one)[best, own_column] for one in zip(*each, strict=True)))
