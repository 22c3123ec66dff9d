"""The geometry engine: conformers of many molecules relaxed together by a force field.

A model of relaxed molecules asks for coordinates at the level of its training data. MMFF94's minima
are not there, and differ from one bond to the next. A force field whose minima are there takes all
conformers of all molecules of a window down at once. What it cannot do stays as it was, and costs
the others nothing. Nothing here needs ASE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from molgeo.chem.bonds import same_bonds
from molgeo.chem.conformers.distinct import first_alike
from molgeo.predictor import Predictor, checkpoint
from molgeo.predictor.ensemble import largest_error, members
from molgeo.runtime.device import BatchSize, choose
from molgeo.runtime.progress import Progress
from molgeo.simulation.minimisation import Minimum, Start, descend
from molgeo.simulation.together import Structure, Together
from molgeo.units import KCAL_MOL

if TYPE_CHECKING:
    from molgeo.chem.conformers.force_field import Conformers

FMAX: Final = 0.02
"""eV/Å, the largest force on an atom of a relaxed conformer. At 0.05 errors from SMILES are 3 to 6%
larger, as soft torsions are not at rest."""

MAX_STEPS: Final = 80
"""Of the optimiser, after which a conformer stays where it is."""

LOOSE: Final = 0.2
"""eV/Å, below which a conformer that stays so is taken all the same: what is left are soft torsions
of a chain, and its bonds are at rest."""


LARGEST: Final = 100
"""Of a molecule that is relaxed. Larger ones are far from the small molecules whose geometries the
engine learned, and their Hessian matrices would take most of the time."""


class _Job(NamedTuple):
    """A conformer to relax: of which molecule, and which of its conformers are this one."""

    molecule: int
    conformers: list[int]
    start: Start


class GeometryEngine:
    """A force field that relaxes conformers. It is loaded when it is needed.

    Args:
        model: name of a shipped force field, path of a checkpoint, or a predictor.
        device: as of `molgeo.runtime.device.choose`.
        batch_size: most conformers of a batch; "auto" bounds its work instead.

    Attributes:
        name: of the force field.
        sha256: of its file; "" for a predictor.

    Raises:
        ValueError: a device that is not there, or a file that is no checkpoint.
    """

    def __init__(
        self,
        model: str | Path | Predictor,
        device: str = "auto",
        batch_size: BatchSize = "auto",
    ) -> None:
        self._model, self._device, self._batch_size = model, choose(device), batch_size
        if isinstance(model, Predictor):
            self.name, self.sha256 = model.name, model.sha256
        else:
            self.name, self.sha256 = checkpoint.find(model).stem, checkpoint.sha256(model)

    @cached_property
    def _models(self) -> list[Predictor]:
        """The force field, in float32: a loose limit asks for no more digits."""
        return members(self._model, self._device, torch.float32)

    @cached_property
    def weights(self) -> str:
        """As `molgeo.predictor.checkpoint.weights_digest`."""
        return checkpoint.weights_digest(self._models[0])

    def relax(
        self, found: Sequence[Conformers], progress: Progress | None = None
    ) -> list[Conformers]:
        """Relax all conformers of some molecules together; equal ones once.

        Args:
            found: conformers of each molecule at a cheap level.
            progress: told (conformers done, conformers in all), those that are equal once.

        Returns:
            The same molecules. Those that were relaxed have the engine's name at the end of their
            ``geometry``, and its energies, lowest first; conformers that it failed with are left
            out. Others are as they were given.
        """
        jobs = [job for k, one in enumerate(found) for job in self._jobs(k, one)]
        starts = [job.start._replace(key=key) for key, job in enumerate(jobs)]
        minima: list[dict[int, Minimum]] = [{} for _ in found]
        for n, minimum in enumerate(self._minima(starts), 1):
            job = jobs[minimum.start.key]
            if self._is_sound(minimum):
                minima[job.molecule].update(dict.fromkeys(job.conformers, minimum))
            if progress:
                progress(n, len(jobs))
        return list(map(self._joined, found, minima))

    def _jobs(self, k: int, one: Conformers) -> list[_Job]:
        """What there is to relax of molecule k; nothing if the force field does not know it."""
        if not self._knows(one):
            return []
        jobs: dict[int, _Job] = {}
        for c, first in enumerate(first_alike(one.z, one.pos).tolist()):
            start = Start(0, Structure(one.z, one.pos[c], charge=one.charge))
            jobs.setdefault(first, _Job(k, [], start)).conformers.append(c)
        return list(jobs.values())

    def _knows(self, one: Conformers) -> bool:
        """Whether the force field learned these elements and this charge."""
        domain, z = self._models[0].domain, one.z.tolist()
        if len(z) > LARGEST or not np.isfinite(one.pos).all():
            return False
        return domain is None or domain.check(z, charge=one.charge) is None

    def _minima(self, starts: list[Start]) -> Iterator[Minimum]:
        """What becomes of each; if a batch fails, each of those that are left on its own."""
        # Matrices are padded to the largest of a batch.
        left = {one.key: one for one in sorted(starts, key=lambda one: len(one.structure.z))}
        try:
            yield from self._taken_down(list(left.values()), left)
        except (RuntimeError, ValueError):
            for start in list(left.values()):
                with suppress(RuntimeError, ValueError):
                    yield from self._taken_down([start], left)

    def _taken_down(self, starts: list[Start], left: dict[int, Start]) -> Iterator[Minimum]:
        """Minima of one batch; their starts are left no more."""
        together = Together(self._models)
        options = FMAX, MAX_STEPS, self._batch_size
        for one in descend(starts, together, *options, springs=True):
            del left[one.start.key]
            yield one

    def _is_sound(self, minimum: Minimum) -> bool:
        """Whether a conformer is at rest, still the same molecule, and one that is known."""
        if minimum.failed or not minimum.fmax < LOOSE:
            return False
        z, before, after = minimum.start.structure.z, minimum.start.structure.pos, minimum.pos
        limit, expected = largest_error(self._models), minimum.results.get("forces_std")
        if limit is not None and expected is not None and expected.max() > limit:
            return False
        domain = self._models[0].domain
        is_known = domain is None or not domain.unfamiliar(z.tolist(), after)
        return is_known and same_bonds(z, before, after)

    def _joined(self, one: Conformers, minima: dict[int, Minimum]) -> Conformers:
        """A molecule at its minima; as it was if there are none."""
        if not minima:
            return one
        energy = {c: float(minimum.results["energy"]) for c, minimum in minima.items()}
        order = sorted(minima, key=lambda c: (energy[c], c))
        return one._replace(
            pos=np.stack([minima[c].pos for c in order]),
            energy=np.array([energy[c] for c in order]) / KCAL_MOL,
            number=one.number[order],
            geometry=f"{one.geometry}+{self.name}",
        )
