"""By what the conformers of a data set's molecules are weighted, as `molgeo.predict` does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.data.qm9.properties import LOG_WEIGHT
from molgeo.prediction.conformer_average import counting
from molgeo.predictor import Predictor
from molgeo.runtime.device import PAIRS, bounded, for_device

if TYPE_CHECKING:
    from molgeo.data.geometries import GeometrySet
    from molgeo.evaluation.properties import Sample


class Weighing(NamedTuple):
    """What the weights of a molecule's conformers are made of.

    Attributes:
        energies: (conformers,) eV; None for those of the model itself.
        extents: (conformers,) a0²; None if extended conformers do not weigh more.
        log_weights: (conformers,) of a model that weighs them; None without one that knows them.
    """

    energies: NDArray[np.float64] | None = None
    extents: NDArray[np.float64] | None = None
    log_weights: NDArray[np.float64] | None = None


class Weigher:
    """A model that weighs conformers, and these as it knows them: before they were relaxed.

    Args:
        model: of `molgeo.data.qm9.properties.LOG_WEIGHT`.
        sample: the molecules, as a cheap force field left them.
    """

    def __init__(self, model: Predictor, sample: Sample) -> None:
        self.model, self.sample = model.eval(), sample
        self._known: dict[int, dict[int, float]] = {}

    def __call__(self, rows: Tensor) -> dict[int, dict[int, float]]:
        """Row → number of a conformer → logarithm of its weight; none of rows it does not know.

        Args:
            rows: (n,) int64, which molecules of the data set; each is weighed once.
        """
        new = [row not in self._known for row in rows.tolist()]
        self._known |= self._weighed(rows[torch.tensor(new)]) if any(new) else {}
        return self._known

    def counting(self, rows: Tensor, conformers: Sequence[int]) -> list[set[int] | None]:
        """The numbers of the conformers of each row that count; None of rows it does not know.

        Args:
            rows: (n,) int64, which molecules of the data set.
            conformers: made of each molecule; what counts among the first n of any of these n.
        """
        found = self(rows)
        each = (found[row] for row in rows.tolist())
        return [
            set().union(*(counted(one, n) for n in conformers)) if one else None for one in each
        ]

    def _weighed(self, rows: Tensor) -> dict[int, dict[int, float]]:
        geometries, places = self.sample.source(rows)
        every = [geometries.all_of(place[None], self.sample.conformers) for place in places]
        found: dict[int, dict[int, float]] = {row: {} for row in rows.tolist()}
        known = [
            (row, one)
            for row, one in zip(found, every, strict=True)
            if self._knows(geometries, one)
        ]
        sizes, device = np.diff(geometries.molecules.bounds), self.model.scale.device
        costs = [int((sizes[one.numpy()] ** 2).sum()) for _, one in known]
        for part in bounded(costs, for_device(PAIRS, device)):
            conformers = torch.cat([one for _, one in known[part]])
            batch = geometries.molecules.batch(conformers).to(device)
            with torch.inference_mode():
                graph = batch.graph(self.model.cutoff)
                values = self.model(batch.z, batch.pos, graph=graph)[LOG_WEIGHT.name]
            counts = [len(one) for _, one in known[part]]
            for (row, one), own in zip(known[part], values.cpu().split(counts), strict=True):
                numbers = geometries.number[one].tolist()
                found[row] = dict(zip(numbers, own.tolist(), strict=True))
        return found

    def _knows(self, geometries: GeometrySet, conformers: Tensor) -> bool:
        """Whether there are conformers, of elements that the model learned."""
        if not len(conformers):
            return False
        a, b = geometries.molecules.bounds[int(conformers[0]) :][:2]
        domain = self.model.domain
        return domain is None or domain.check(geometries.molecules.z[a:b].tolist()) is None


def counted(found: dict[int, float], conformers: int) -> set[int]:
    """The numbers of those that count among the first conformers of a molecule.

    Args:
        found: number of a conformer → logarithm of its weight.
        conformers: how many were made.
    """
    logs = {number: log for number, log in found.items() if number < conformers}
    counts = counting(np.array(list(logs.values())))
    return {number for number, is_in in zip(logs, counts, strict=True) if is_in}


def of_molecule(
    geometries: GeometrySet, place: Tensor, conformers: int, found: dict[int, float] | None
) -> Tensor:
    """Conformers of a molecule, of which those that count, as `molgeo.predict` has them.

    Args:
        geometries: of some molecules.
        place: int64, of the molecule among them.
        conformers: how many were made.
        found: as of `counted`; None or none if no model knows the molecule.

    Returns:
        (conformers,) int64, indices into the geometries' molecules.
    """
    own = geometries.all_of(place[None], conformers)
    if not found:
        return own
    numbers = counted(found, conformers)
    counts = [one in numbers for one in geometries.number[own].tolist()]
    return own[torch.tensor(counts, dtype=torch.bool)]


def of_numbers(found: dict[int, float] | None, numbers: list[int]) -> NDArray[np.float64] | None:
    """(conformers,) logarithms of weights of a molecule's conformers by their numbers, if known."""
    if not found or len(numbers) < 2:
        return None
    return np.array([found[number] for number in numbers])
