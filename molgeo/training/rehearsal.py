"""Rehearsal: a run that starts from a force field goes on computing what that one knew.

Weights that are fitted to new data alone lose the molecules that these do not hold. So a part of
each batch are structures of molecules in general, with the energies and forces that the checkpoint
itself gives them. No labels of the data it was trained on are needed.

Energies of two levels of theory differ by thousands of eV, nearly all of which belongs to the
atoms. So labels are what the checkpoint's network gives, upon the references of the run.

Source:
    Robins, Connection Science 7, 123 (1995), for the rehearsal of what a network itself has said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Final

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from molgeo.data.datamodule import Rehearsed
from molgeo.data.forces.dataset import Units, to_ev
from molgeo.data.forces.readers import read_frames, read_structures
from molgeo.data.frames import Frames, concatenate
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import TRAIN, VALIDATION
from molgeo.predictor import Predictor
from molgeo.predictor.domain import Domain
from molgeo.predictor.potential import standardised_forces
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import progress
from molgeo.runtime.whole_file import replacing

FILE: Final = "rehearsal.npz"
"""In the folder of a run: its structures, with their labels. A resumed run reads them."""

FEWEST: Final = 20
"""Structures that a checkpoint has to know."""

HELD_OUT: Final = 0.1
"""Part of the structures that no batch has: on them it is measured what was lost."""

MOST_HELD_OUT: Final = 300
"""Structures on which that is measured at most."""


def shipped_structures() -> Path:
    """Structures of molecules in general that come with molgeo."""
    return Path(str(resources.files("molgeo.training") / "structures.npz"))


def rehearsed(
    files: Sequence[str], share: float, before: Predictor, predictor: Predictor, run_dir: Path
) -> Rehearsed:
    """The structures that a run rehearses; they are written into the run's folder.

    Args:
        files: of structures; none for those that come with molgeo.
        share: part of each batch.
        before: the checkpoint, which labels them.
        predictor: of the run, whose references the labels are upon.
        run_dir: folder of the run.

    Raises:
        FileNotFoundError: a file does not exist.
        SettingError: the checkpoint is no force field or knows too few of the structures, or these
            are periodic.
    """
    try:
        before.check_forces()
    except SettingError as error:
        raise SettingError(f"rehearsal: {error}") from None
    paths = [Path(file) for file in files] or [shipped_structures()]
    found = concatenate([read_structures(path) for path in paths])
    if found.pbc.any():
        raise SettingError(
            f"rehearsal_file: expected open structures, got a lattice: {found.source}"
        )
    known = found.select(_known(found, before.domain))
    if len(known) < FEWEST:
        raise SettingError(
            f"rehearsal: {before.name} knows {len(known)} of {len(found)} structures, and {FEWEST} "
            "or more are needed; name files of such molecules as it was trained on with "
            "rehearsal_file"
        )
    held_out = min(MOST_HELD_OUT, max(1, round(HELD_OUT * len(known))))
    order = np.random.RandomState(0).permutation(len(known))  # whose stream is frozen
    part = np.where(order < held_out, VALIDATION, TRAIN)
    _write(run_dir, _labelled(replace(known, part=part), before, predictor))
    return read_rehearsed(share, run_dir)


def read_rehearsed(share: float, run_dir: Path) -> Rehearsed:
    """The structures that a run has rehearsed from its start.

    Args:
        share: part of each batch.
        run_dir: folder of the run.

    Raises:
        FileNotFoundError: they are not there.
    """
    frames = read_frames(run_dir / FILE)
    train, held_out = (
        torch.from_numpy(np.flatnonzero(frames.part == k)) for k in (TRAIN, VALIDATION)
    )
    return Rehearsed(to_ev(frames, Units()), train, held_out, share)


def _known(frames: Frames, domain: Domain | None) -> NDArray[np.bool_]:
    """Whether a model knows each of some structures; single atoms have no forces to keep."""
    ptr, found = frames.ptr, frames.n_atoms > 1
    if domain is None:
        return found
    for m in np.flatnonzero(found).tolist():
        z = torch.from_numpy(frames.z[ptr[m] : ptr[m + 1]].astype(np.int64))
        is_outside = domain.check(z, charge=int(frames.charge[m]))
        found[m] = not (is_outside or domain.unfamiliar(z, frames.pos[ptr[m] : ptr[m + 1]]))
    return found


def _labelled(frames: Frames, before: Predictor, predictor: Predictor) -> Frames:
    """Frames with what a checkpoint says of them, upon the references of another predictor."""
    molecules: MoleculeSet = to_ev(frames, Units())
    k, n = before.energy_index, len(molecules)
    energies, forces = [], []
    before.eval()
    with progress("computing what is rehearsed") as report:
        for rows in torch.arange(n).split(64):
            batch = molecules.batch(rows)
            graph = batch.graph(before.cutoff)
            energy, force = standardised_forces(before, batch.z, batch.pos, graph)
            baseline = predictor.baseline_of(batch.z, batch.pos, graph)[:, predictor.energy_index]
            energies.append(baseline + before.scale[k] * energy.detach().double())
            forces.append(before.scale[k] * force.detach().double())
            report(int(rows[-1]) + 1, n)
    return replace(frames, energy=torch.cat(energies).numpy(), force=torch.cat(forces).numpy())


@rank_zero_only
def _write(run_dir: Path, frames: Frames) -> None:
    with replacing(run_dir / FILE, run_dir / f"{FILE}.part.npz") as path:
        np.savez(
            path,
            z=frames.z.astype(np.uint8),
            r=frames.pos.astype(np.float32),
            n=frames.n_atoms,
            e=frames.energy,
            f=frames.force.astype(np.float32),
            charge=frames.charge,
            part=frames.part,
        )
