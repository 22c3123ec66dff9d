"""Many structures to their next minima at once, by BFGS. Nothing here needs ASE.

The steps are those of ASE's `BFGS`, by which one structure is relaxed: the same Hessian matrix at
the start, the same update, the same longest step. Where the Hessian matrix is positive definite, as
near a minimum, a step is found from its Cholesky factor instead of from its eigenvectors, which a
card has no fast way to find for many matrices at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.chem.molecule import MIN_DISTANCE
from molgeo.predictor import Predictor
from molgeo.predictor.ensemble import members
from molgeo.runtime.device import BatchSize, sent
from molgeo.simulation.replay import Replay
from molgeo.simulation.springs import spring_hessian
from molgeo.simulation.together import Array, Structure, Together, most_pairs

STIFFNESS: Final = 70.0
"""eV/Å², of all coordinates before anything is known of them; ASE's."""

LONGEST: Final = 0.2
"""Å, by which no atom moves further in one step; ASE's."""

SOFTEST: Final = 1e-6
"""eV/Å², for eigenvalues of the Hessian matrix below: of a force of 0.01 eV/Å steps are too long
for `LONGEST` anyhow, and a division by zero would be no step."""

STAYED: Final = 1e-7
"""Å. A step in which no coordinate changes by more tells nothing of the Hessian matrix."""

IDLE: Final = 1 / 16
"""Part of a batch that may be at its end before others take its place."""

COARSE: Final = 1e-3
"""eV/Å, to which float32 goes at most: the rounding of its forces is below."""

FINAL: Final = 1 / 4
"""Of a batch, the one that float64 finishes: a full one would keep what is done waiting."""


class Start(NamedTuple):
    """A structure to be minimised.

    Attributes:
        key: that tells it from the others.
        structure: where it starts.
        n_steps: that were taken before, and count.
    """

    key: int
    structure: Structure
    n_steps: int = 0


class Minimum(NamedTuple):
    """What became of a structure.

    Attributes:
        start: as it was given.
        pos: (atoms, 3) Å, at the end.
        n_steps: of the optimiser.
        fmax: eV/Å, the largest force on an atom.
        converged: whether that is below the limit.
        failed: whether the model gives no finite numbers for it, or atoms came too close.
        results: as `Together.results`; empty if it failed.
    """

    start: Start
    pos: Array
    n_steps: int
    fmax: float
    converged: bool
    failed: bool
    results: dict[str, Any]


def minimise(
    starts: Iterable[Start],
    models: Sequence[Predictor],
    fmax: float,
    max_steps: int,
    batch_size: BatchSize = "auto",
    skin: float = 0.5,
    replay: Replay = "auto",
) -> Iterator[Minimum]:
    """Move structures downhill, in float32 as far as it goes, then in the models' own precision.

    Args:
        starts: taken as there is room, and so not all at once.
        models: as of `Together`.
        fmax: eV/Å, below which the largest force must be.
        max_steps: after which a structure is given up.
        batch_size: most structures of a batch; "auto" bounds its work instead.
        skin: as of `Together`.
        replay: as of `Together`.

    Yields:
        Each structure when it is at its end, in no particular order.
    """
    exact = Together(models, skin, replay)
    if exact.dtype != torch.float64:
        return descend(starts, exact, fmax, max_steps, batch_size)
    rough = Together(members(models, exact.device, torch.float32, True), skin, replay)
    nearly = descend(starts, rough, max(fmax, COARSE), max_steps, batch_size)
    return descend(map(_again, nearly), exact, fmax, max_steps, batch_size, FINAL)


def descend(
    starts: Iterable[Start],
    together: Together,
    fmax: float,
    max_steps: int,
    batch_size: BatchSize = "auto",
    part: float = 1.0,
    springs: bool = False,
) -> Iterator[Minimum]:
    """`minimise` in one precision: one batch, which is filled up as structures come to their end.

    Args:
        starts: as of `minimise`.
        together: the potential.
        fmax: as of `minimise`.
        max_steps: as of `minimise`.
        batch_size: as of `minimise`.
        part: of that, which this batch may be.
        springs: start from `molgeo.simulation.springs`, not from ASE's Hessian matrix: half of the
            steps for molecules.

    Yields:
        As `minimise`.
    """
    batch = _Batch(starts, together, batch_size, part, springs)
    while batch.refill():
        yield from batch.step(fmax, max_steps)


def _again(minimum: Minimum) -> Start:
    """From where float32 came to, or from the start if it failed there."""
    if minimum.failed:
        return minimum.start
    key, structure, _ = minimum.start
    return Start(key, structure._replace(pos=minimum.pos), minimum.n_steps)


class _Batch:
    """The structures that move at present, padded to the largest, so that matrices are stacked.

    ``pos`` is (structures, most atoms, 3) and ``hessian`` (structures, 3 · most atoms, the same).
    """

    def __init__(
        self,
        starts: Iterable[Start],
        together: Together,
        size: BatchSize,
        part: float,
        springs: bool,
    ) -> None:
        self._waiting: Iterator[Start] = iter(starts)
        self._next: Start | None = None
        self._together, self._springs = together, springs
        self._most = part * (np.inf if size == "auto" else size)
        self._most_pairs = part * (most_pairs(together.device) if size == "auto" else np.inf)
        self._starts: list[Start] = []
        self._n_steps = np.zeros(0, dtype=np.int64)
        self._active = np.zeros(0, dtype=bool)
        self._is_due = True
        self._pos = torch.zeros(0, 0, 3, dtype=torch.float64, device=together.device)
        self._before, self._forces_before = self._pos, self._pos
        self._hessian = self._pos.new_zeros(0, 0, 0)

    def refill(self) -> bool:
        """Let others take the place of those that are at their end, if these are many.

        Returns:
            Whether there is anything to move.
        """
        n_idle = int((~self._active).sum())
        if not self._is_due and n_idle <= IDLE * len(self._active):
            return True
        rows = np.flatnonzero(self._active)
        kept = [self._starts[row] for row in rows]
        new = list(self._taken(kept))
        self._starts = kept + new
        self._is_due = False
        self._n_steps = np.append(self._n_steps[rows], [each.n_steps for each in new]).astype(int)
        self._active = np.ones(len(self._starts), dtype=bool)
        if self._starts:
            self._lay_out(rows, new)
        return bool(self._starts)

    def step(self, fmax: float, max_steps: int) -> Iterator[Minimum]:
        """Evaluate all, take out those that are at their end, and move the others."""
        try:
            forces = self._together(self._pos.view(-1, 3)[self._place])
        except torch.OutOfMemoryError:
            if len(self._starts) == 1:
                raise
            self._lessen()
            return
        if self._free is not None:
            forces = forces * self._free
        f = torch.zeros_like(self._pos)
        f.view(-1, 3)[self._place] = forces
        self._learn(f.flatten(1))
        factor, info = torch.linalg.cholesky_ex(self._hessian)
        largest = torch.linalg.vector_norm(f, dim=-1).amax(1)
        energy = torch.stack([each.energy for each in self._together.potentials]).sum(0)
        # All that the host must know, in one copy: a copy waits for the device.
        facts = largest, energy, self._together.closest.double(), info.double()
        known = torch.stack(facts).cpu().numpy()
        failed = ~(np.isfinite(known[:2]).all(0) & (known[2] >= MIN_DISTANCE))
        is_small = known[0] < fmax
        ended = self._active & (failed | is_small | (self._n_steps >= max_steps))
        self._active &= ~ended
        self._is_due = bool((ended & failed).any()) or not self._active.any()
        for row in np.flatnonzero(ended):
            start, bad = self._starts[row], bool(failed[row])
            pos = self._pos[row, : len(start.structure.z)].cpu().numpy()
            results = {} if bad else self._together.results(int(row))
            end = int(self._n_steps[row]), float(known[0, row]), bool(is_small[row]) and not bad
            yield Minimum(start, pos, *end, bad, results)
        if self._active.any():
            self._move(f, factor, np.flatnonzero(self._active & (known[3] != 0)))

    def _move(self, f: Tensor, factor: Tensor, bent: NDArray[np.int64]) -> None:
        """A step of BFGS, of all that are not at their end; arguments as of `_newton`."""
        active = self._there(self._active)[:, None, None]
        f = torch.where(active, f, 0.0)
        self._before, self._forces_before = self._pos, f
        step = _newton(self._hessian, f.flatten(1), factor, self._there(bent)).view_as(f)
        # Of one at its end whose Hessian matrix has no factor, 0 / 0.
        step = torch.where(active, step, 0.0)
        longest = torch.linalg.vector_norm(step, dim=-1).amax(1)
        self._pos = self._pos + step * (LONGEST / longest).clamp(max=1.0)[:, None, None]
        self._n_steps += self._active

    def _learn(self, f: Tensor) -> None:
        """Update the Hessian matrices by the last step s and the change y of the gradient.

        ``H + y yᵀ / (yᵀ s) − H s (H s)ᵀ / (sᵀ H s)``, unless that is not finite, as after a step
        along which the forces stay the same.
        """
        s = (self._pos - self._before).flatten(1)
        y = self._forces_before.flatten(1) - f
        hs = (self._hessian @ s.unsqueeze(-1)).squeeze(-1)
        weights = [sign / (vector * s).sum(1) for sign, vector in ((1.0, y), (-1.0, hs))]
        learns = self._there(self._active) & (s.abs().amax(1) > STAYED)
        for weight, vector in zip(weights, (y, hs), strict=True):
            largest = weight * vector.abs().amax(1).clamp(min=1.0).square()
            learns = learns & largest.isfinite()
        for weight, vector in zip(weights, (y, hs), strict=True):
            weight, vector = weight.where(learns, 0.0), vector.where(learns[:, None], 0.0)
            self._hessian.baddbmm_((weight[:, None] * vector)[:, :, None], vector[:, None, :])

    def _there(self, host: NDArray[Any]) -> Tensor:
        return sent(torch.from_numpy(host), self._pos.device)

    def _lessen(self) -> None:
        """Let half of the structures wait again, from where they are, and take no more from now."""
        half = len(self._starts) // 2
        again = []
        for row in range(half, len(self._starts)):
            key, structure, _ = self._starts[row]
            pos = self._pos[row, : len(structure.z)].cpu().numpy()
            again.append(Start(key, structure._replace(pos=pos), int(self._n_steps[row])))
        back = [each for each, goes_on in zip(again, self._active[half:], strict=True) if goes_on]
        if self._next is not None:
            back.append(self._next)
        self._waiting, self._next = chain(back, self._waiting), None
        self._active[half:] = False
        self._most, self._is_due = half, True

    def _taken(self, kept: list[Start]) -> Iterator[Start]:
        """Those that wait, as many as there is room for beside others; one in any case."""
        n, n_pairs = len(kept), sum(len(each.structure.z) ** 2 for each in kept)
        while True:
            if self._next is None:
                self._next = next(self._waiting, None)
            if self._next is None:
                return
            n, n_pairs = n + 1, n_pairs + len(self._next.structure.z) ** 2
            if n > 1 and (n > self._most or n_pairs > self._most_pairs):
                return
            yield self._next
            self._next = None

    def _lay_out(self, rows: NDArray[np.int64], new: list[Start]) -> None:
        """Make room for the present structures, the first of which are from ``rows`` of before."""
        structures = [each.structure for each in self._starts]
        sizes = [len(each.z) for each in structures]
        most, k = max(sizes), len(rows)
        m = min(most, self._pos.shape[1])
        host = np.zeros((len(structures), most, 3))
        for row, each in enumerate(structures[k:], k):
            host[row, : len(each.z)] = each.pos
        device = self._pos.device
        kept, pos = torch.from_numpy(rows).to(device), torch.from_numpy(host).to(device)
        pos[:k, :m] = self._pos[kept, :m]
        before, forces_before = pos.clone(), torch.zeros_like(pos)
        before[:k, :m] = self._before[kept, :m]
        forces_before[:k, :m] = self._forces_before[kept, :m]
        eye = torch.eye(3 * most, dtype=pos.dtype, device=device)
        hessian = (STIFFNESS * eye).repeat(len(structures), 1, 1)
        hessian[:k, : 3 * m, : 3 * m] = self._hessian[kept, : 3 * m, : 3 * m]
        for row, each in enumerate(structures[k:] if self._springs else [], k):
            n = 3 * len(each.z)
            hessian[row, :n, :n] = torch.from_numpy(spring_hessian(each.z, each.pos))
        self._pos, self._before, self._forces_before = pos, before, forces_before
        self._hessian = hessian
        place = [row * most + np.arange(size) for row, size in enumerate(sizes)]
        self._place = torch.from_numpy(np.concatenate(place)).to(device)
        free = [np.ones((len(s.z), 3), bool) if s.free is None else s.free for s in structures]
        all_free = all(each.free is None for each in structures)
        self._free = None if all_free else torch.from_numpy(np.concatenate(free)).to(device)
        self._together.take(structures)


def _newton(hessian: Tensor, f: Tensor, factor: Tensor, bent: Tensor) -> Tensor:
    """``|H|⁻¹ f`` of each structure, with the absolute values of H's eigenvalues.

    Args:
        hessian: (structures, coordinates, coordinates) eV/Å², finite.
        f: (structures, coordinates) eV/Å.
        factor: Cholesky factors of H.
        bent: numbers of structures without one: of these H has eigenvalues of zero or less.
    """
    step = torch.cholesky_solve(f.unsqueeze(-1), factor).squeeze(-1)
    if bent.numel():
        values, vectors = torch.linalg.eigh(hessian[bent])
        sizes = values.abs().clamp(min=SOFTEST)
        along = (vectors.mT @ f[bent].unsqueeze(-1)) / sizes.unsqueeze(-1)
        step[bent] = (vectors @ along).squeeze(-1)
    return step
