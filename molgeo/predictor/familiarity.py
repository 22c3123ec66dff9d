"""How far a molecule's atoms lie from the training data in the model's own features.

A molecule's signals are the largest and the mean of the distances ``near`` and ``apart`` of its
atoms (`molgeo.predictor.gaussians`), and the number of heavy atoms. Training molecules have values
around one.

Small molecules have atoms that hardly any other molecule has, such as those of methane. So the
record also holds x̄, the mean features of all atoms, of each small training molecule. A molecule
whose x̄ is nearer to one of them than `NEARNESS` times the median distance between neighbours of
these is that molecule, and its signals are at most the median of the validation molecules.

Far from the training data a network's outputs may be of any size: a HOMO of −20,000 eV has been
seen, of H2. A head's output x is a label without its baseline, in standard deviations of the
training labels. Of training molecules |x| is below 10, and of drugs and polyenes with twice their
atoms below 20. So a molecule's *strangeness* in a property is

    |x| / L,    L = 15 for a mean of atoms,  30 · max(1, n / 20) for a sum of n atoms,

and for an extent, whose deviations grow with r², L is at least half of the baseline. A strangeness
above one is no prediction.

Signals say nothing about the sign of an error: `molgeo.predictor.calibration` measures how far
errors grow with each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import torch
from torch import Tensor

from molgeo.graph import Graph
from molgeo.ops.segment import molecule_sum
from molgeo.predictor.gaussians import Gaussians
from molgeo.properties import Property

SIGNALS: Final = ("near_worst", "near_mean", "apart_worst", "apart_mean", "heavy_atoms")
"""Names of a molecule's signals, in the order of the columns."""

LINE: Final = "apart_mean"
"""The signal that says whether a molecule is outside."""

FLAGGED: Final = 0.015
"""Of validation molecules, the share that lies beyond the line."""

SMALL: Final = 6
"""Heavy atoms of the largest training molecules that are kept one by one."""

NEARNESS: Final = 0.5
"""Part of the distance between neighbours within which two molecules are the same."""

PERCENTS: Final = 1000
"""Steps of the table of percentiles."""


MOST_MEAN: Final = 15.0
"""L of what does not grow with the molecule."""

MOST_SUM: Final = 30.0
"""L of what does, for molecules of up to `USUAL_ATOMS` atoms."""

USUAL_ATOMS: Final = 20
"""As many atoms as a training molecule has."""

OF_BASELINE: Final = 0.5
"""Part of an extent's baseline by which its value may differ from it."""


@dataclass(frozen=True)
class Familiarity(Gaussians):
    """Gaussians of the training atoms' features, and the signals of validation molecules.

    Attributes:
        percentiles: (`PERCENTS` + 1, signals) of validation molecules.
        known: (molecules, features) x̄ of small training molecules; maybe none.
    """

    percentiles: Tensor
    known: Tensor

    @classmethod
    def _absent(cls, features: int) -> dict[str, Tensor]:
        return {"known": torch.zeros(0, features)}

    @classmethod
    def _shapes(cls, tensors: dict[str, Tensor], features: int) -> dict[str, tuple[int, ...]]:
        known = len(tensors["known"]), features
        return {"known": known, "percentiles": (PERCENTS + 1, len(SIGNALS))}

    @property
    def n_signals(self) -> int:
        """Signals of a molecule."""
        return self.percentiles.shape[1]

    def signals(self, features: Tensor, z: Tensor, graph: Graph) -> Tensor:
        """Signals of molecules, (molecules, `SIGNALS`).

        Args:
            features: (atoms, features) of the backbone.
            z: (atoms,) atomic numbers.
            graph: of these atoms.
        """
        heavy = molecule_sum((z > 1).to(self.mean.dtype).unsqueeze(-1), graph)
        columns = []
        for distance in self.distances(features, z):
            columns.append(worst(distance, graph.batch, graph.n_molecules))
            columns.append(mean_features(distance.unsqueeze(-1), graph)[:, 0])
        found = torch.stack([*columns, heavy[:, 0]], dim=-1)
        if len(self.known) < 2:
            return found
        mean = mean_features(features.to(self.mean.dtype), graph)
        is_known = torch.cdist(mean, self.known).amin(1) < NEARNESS * self._apart
        usual = torch.minimum(found, self.percentiles[PERCENTS // 2])
        return torch.where(is_known.unsqueeze(-1), usual, found)

    @cached_property
    def _apart(self) -> Tensor:
        """Median distance of a known molecule to the nearest other one."""
        distance = torch.cdist(self.known, self.known)
        return distance.fill_diagonal_(torch.inf).amin(1).median()

    def percentile(self, signal: str, value: float) -> float:
        """Part of the validation molecules whose signal is smaller."""
        known = self.percentiles[:, SIGNALS.index(signal)].contiguous()
        place = torch.searchsorted(known, known.new_tensor(value))
        return min(float(place) / PERCENTS, 1.0)

    def is_larger(self, signals: Sequence[float]) -> bool:
        """Whether a molecule has more heavy atoms than any of the validation molecules."""
        # Half an atom: an average over conformers is no whole number to the last digit.
        return signals[-1] > float(self.percentiles[-1, -1]) + 0.5

    def reasons(self, signals: Sequence[float]) -> tuple[str, ...]:
        """Why a molecule with these signals is outside, one phrase; none if it is inside."""
        part = self.percentile(LINE, signals[SIGNALS.index(LINE)])
        if part <= 1.0 - FLAGGED:
            return ()
        return (
            "features of its atoms are far from those of training "
            f"(farther than in {min(part, 0.999):.1%} of like molecules)",
        )


def worst(distance: Tensor, batch: Tensor, n: int) -> Tensor:
    """The largest value of the atoms of each of n molecules."""
    return distance.new_zeros(n).scatter_reduce_(0, batch, distance, "amax")


def mean_features(features: Tensor, graph: Graph) -> Tensor:
    """x̄, the mean features of the atoms of each molecule: (molecules, features)."""
    size = graph.atoms_per_molecule.to(features.dtype).unsqueeze(-1)
    return molecule_sum(features, graph) / size


def familiarity(of_training: dict[str, Tensor], signals: Tensor) -> Familiarity:
    """A record whose percentiles are those of validation molecules.

    Args:
        of_training: as of `gaussians`, and ``known`` if there are known molecules.
        signals: (molecules, `SIGNALS`), and maybe others before the last one.
    """
    n = len(SIGNALS) - 1
    signals = torch.cat([signals[:, :n], signals[:, -1:]], dim=-1)  # undoes `with_deviations`
    steps = torch.linspace(0, 1, PERCENTS + 1, dtype=torch.float64)
    table = torch.quantile(signals.double(), steps, dim=0).float()
    absent = Familiarity._absent(of_training["mean"].shape[1])
    return Familiarity(**{**absent, **of_training}, percentiles=table.contiguous())


def with_deviations(signals: Tensor, deviations: Tensor) -> Tensor:
    """Signals with what a model says itself of how wrong its values may be, before the last one.

    Args:
        signals: (molecules, `SIGNALS`).
        deviations: (molecules, n) standard deviations of values, in those of the training labels,
            as all signals are: numbers around one, whatever the unit of a property.
    """
    return torch.cat([signals[:, :-1], deviations.to(signals.dtype), signals[:, -1:]], dim=-1)


class Judged(NamedTuple):
    """Values of molecules, and how much they mean.

    Attributes:
        values: what a call returns.
        strangeness: (molecules, properties), above one where a value means nothing.
        signals: (molecules, `SIGNALS`), before the last one what `with_deviations` adds of values
            that come from kernels; None if the model has no record of its training data's features.
        features: (atoms, features) of the backbone, that the values come from; None if they are
            not told.
    """

    values: dict[str, Tensor]
    strangeness: Tensor
    signals: Tensor | None
    features: Tensor | None = None

    def table(self, keys: Sequence[str]) -> Tensor:
        """All of it, which comes from a device at once.

        Args:
            keys: of the values wanted.

        Returns:
            (molecules, keys + properties + signals) float64: values, strangeness, and signals if
            there are any.
        """
        values = torch.stack([self.values[key].double() for key in keys], dim=-1)
        signals = [] if self.signals is None else [self.signals.double()]
        return torch.cat([values, self.strangeness, *signals], dim=-1)


def kinds_of(properties: Iterable[Property]) -> list[str]:
    """What decides on how far values may lie: the head, or that it gives odds, which may be any."""
    return ["odds" if one.is_probability else one.head for one in properties]


def strangeness(
    standardised: Tensor, baseline: Tensor, n_atoms: Tensor, kinds: Sequence[str]
) -> Tensor:
    """How far each value is from all that training molecules have; above one it means nothing.

    Args:
        standardised: (molecules, properties) outputs of the heads.
        baseline: (molecules, properties) in the same units.
        n_atoms: (molecules,) atoms of each.
        kinds: of each property, as of `kinds_of`.

    Returns:
        (molecules, properties) float64; infinite for an output that is no number.
    """
    x = standardised.double().abs().nan_to_num(nan=torch.inf, posinf=torch.inf)
    size = (n_atoms.double() / USUAL_ATOMS).clamp(min=1.0)
    bounds = []
    for kind, own in zip(kinds, baseline.double().abs().unbind(-1), strict=True):
        bound = (
            torch.full_like(size, MOST_MEAN)
            if kind in ("mean", "orbital", "moments", "kernel")
            else MOST_SUM * size
        )
        bound = torch.full_like(size, torch.inf) if kind == "odds" else bound
        bounds.append(torch.maximum(bound, OF_BASELINE * own) if kind == "extent" else bound)
    return x / torch.stack(bounds, dim=-1)
