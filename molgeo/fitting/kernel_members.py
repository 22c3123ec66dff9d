"""Members whose values come from a Gaussian process, and the one of all rows that answers.

The backbone stands still, so that the moments of all molecules are computed once. Each member is
the process of all folds but one: what it says of that fold is what the error bars come from. The
answer is that of a process of all rows, which has seen more than each member. So bars are rather
too wide than too narrow.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from molgeo.chem.descriptors import CHARGED, COUNTED
from molgeo.fitting.charges import conformer_means, fitted_charges, may_be_dipoles, mean_lengths
from molgeo.fitting.folds import Ints
from molgeo.fitting.gaussian_process import KEPT, fitted, main_components
from molgeo.fitting.members import COMPARED, DONE, MOST_COMPARED, Data, FoldModule, FoldTask
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.heads import moment
from molgeo.predictor.kernel import Kernel, KernelShape
from molgeo.runtime.progress import progress
from molgeo.training.references import domain_of, fit_references, without_edges
from molgeo.training.start import first_predictor, with_model_of_checkpoint
from molgeo.training.table import TableConfig

NO_FOLD: Final = -2
"""Is none, so that all rows are learned from."""

WHOLE: Final = "all"
"""Folder of the process of all rows, beside those of the members."""

SHORTER: Final = (8, 4, 2)
"""A learning curve's first points are of the rows divided by these."""

AT_ONCE: Final = 64
"""Conformers whose features are computed together."""


class Processes:
    """Gaussian processes of some rows of a fit, on one backbone.

    Args:
        base: config of the runs, all of whose targets have heads of the kind ``kernel``.
        data: of the fit. If its molecules have descriptors, these are taken.
        names: of the descriptors.
    """

    def __init__(self, base: TableConfig, data: Data, names: tuple[str, ...]) -> None:
        config = with_model_of_checkpoint(base.model_copy(update={"heads_first": 0}))
        assert isinstance(config, TableConfig)
        seed_everything(config.seed, verbose=False)
        task = FoldTask(config, FoldModule(config, 0, data, NO_FOLD))
        task.data.setup()
        self.data, self.names = data, names
        self.start = first_predictor(config, task).eval()
        self.rows = np.flatnonzero(data.folds.fold >= 0)
        self.place = np.full(len(data.folds.fold), -1)
        self.place[self.rows] = np.arange(len(self.rows))
        labels = data.table.values[self.rows].T
        self.polar = [
            k for k, one in enumerate(config.targets) if may_be_dipoles(one.unit, labels[k])
        ]
        with progress("looking at molecules") as report:
            self.raw = self._moments(report)

    @torch.no_grad()
    def _moments(self, report: Any) -> Tensor:
        """Of each row, the mean over its conformers: (rows, 4, features).

        The features' dipoles of all conformers are kept, if a target may be a dipole.
        """
        own, start = self.data.geometries, self.start
        conformers = own.all_of(torch.from_numpy(self.rows))
        counts = (own.first.diff())[self.rows]
        found, dipoles = [], []
        for done, chunk in enumerate(conformers.split(AT_ONCE)):
            batch = own.molecules.batch(chunk)
            graph = batch.graph(start.cutoff)
            features = start.backbone.atom_features(batch.z, batch.pos, graph)
            found.append(start.heads.moments.raw(features, graph))
            if self.polar:
                dipoles.append(moment(features, batch.pos.to(features.dtype), graph))
            report(min(len(conformers), AT_ONCE * (done + 1)), len(conformers))
        row = torch.repeat_interleave(torch.arange(len(counts)), counts)
        if self.polar:
            self.dipoles, self.row = torch.cat(dipoles), row
        return conformer_means(torch.cat(found), row, len(counts))

    def of_rows(self, rows: Ints) -> Predictor:
        """The process that has seen some rows.

        Args:
            rows: among those of the folds.
        """
        molecules = self.data.geometries.molecules
        first = self.data.geometries.first[rows]
        start = self.start
        start.heads.moments.fit(self.raw[self.place[rows]])
        moments = start.heads.moments(self.raw[self.place[rows]])
        projection = main_components(moments)
        shape = KernelShape(
            rows=len(rows),
            components=projection.shape[1],
            rank=min(len(rows), KEPT),
            descriptors=self.names,
            n_counts=sum(name.startswith(COUNTED) for name in self.names),
            n_groups=sum(name.startswith(CHARGED) for name in self.names),
            dipoles=bool(self.polar),
        )
        own = Predictor(**{**dict(start.config), "kernel": shape}).eval()
        weights = start.state_dict()
        kept = {k: x for k, x in weights.items() if not k.startswith("heads.kernel.")}
        own.load_state_dict(kept, strict=False)
        fit_references(own, molecules, first, {}, labels_may_be_missing=True)
        own.domain = domain_of(molecules, first)
        kernel = own.heads.kernel
        kernel.projection.copy_(projection)
        kernel.take(moments, self._descriptors(first))
        if self.polar:
            self._take_dipoles(kernel, rows)
        labels = self._labels(own, first)
        for k, y in enumerate(labels.T):
            there = y.isfinite().nonzero()[:, 0]
            process = fitted(kernel.rows_of(k).of(there), y[there])
            kernel.amplitudes[k], kernel.lengths[k] = process.amplitudes, process.lengths
            kernel.noise[k] = process.noise
            kernel.alpha[k, there] = process.alpha
            kernel.root[k, there, : process.root.shape[1]] = process.root
        return own

    @torch.no_grad()
    def _take_dipoles(self, kernel: Kernel, rows: Ints) -> None:
        """Fit charges to labels that may be dipoles, and tell a kernel the lengths of all rows'."""
        for k in self.polar:
            labels = self.data.table.values[rows, k]
            there = np.isfinite(labels)
            if not there.any():  # some rows may have no label of a target
                continue
            conformer, molecule = self._conformers(rows[there])
            known = torch.from_numpy(labels[there])
            kernel.charges[k] = fitted_charges(self.dipoles[conformer], molecule, known)
        kernel.take_dipoles(self._lengths(kernel, rows))

    def _conformers(self, rows: Ints) -> tuple[Tensor, Tensor]:
        """Places of the conformers of some rows among all, and the number of the row of each."""
        number = torch.full((len(self.rows),), -1)
        number[self.place[rows]] = torch.arange(len(rows))
        conformer = (number[self.row] >= 0).nonzero()[:, 0]
        return conformer, number[self.row[conformer]]

    def _lengths(self, kernel: Kernel, rows: Ints) -> Tensor:
        """Mean lengths of the dipoles of some rows, (rows, properties)."""
        conformer, molecule = self._conformers(rows)
        return mean_lengths(self.dipoles[conformer], kernel.charges, molecule, len(rows))

    @torch.no_grad()
    def errors(self, own: Predictor, rows: Ints) -> list[float]:
        """Mean absolute errors of a process on some rows, one per property in its unit.

        Args:
            own: of `of_rows`.
            rows: among those of the folds.
        """
        first = self.data.geometries.first[rows]
        moments = own.heads.moments(self.raw[self.place[rows]])
        dipoles = self._lengths(own.heads.kernel, rows) if self.polar else None
        values, _ = own.heads.kernel(moments, self._descriptors(first), dipoles)
        wrong = (values - self._labels(own, first)).abs() * own.scale
        found: list[float] = wrong.nanmean(0).tolist()
        return found

    def _descriptors(self, first: Tensor) -> Tensor | None:
        """Descriptors of molecules, of which any conformer is given; None if there are none."""
        known = self.data.geometries.molecules.descriptors
        return None if known is None else known[first]

    def _labels(self, own: Predictor, first: Tensor) -> Tensor:
        """Standardised labels of molecules, of which any conformer is given."""
        molecules = self.data.geometries.molecules
        atoms, batch, _ = molecules.atoms(first)
        z, pos = molecules.z[atoms].long(), molecules.pos[atoms]
        graph = without_edges(batch, len(first))
        return (molecules.y[first] - own.baseline_of(z, pos, graph)) / own.scale


def kernel_errors(base: TableConfig, data: Data, names: tuple[str, ...]) -> list[float]:
    """What held-out rows say of kernels, as `molgeo.fitting.members.pooling_of` of networks.

    Args:
        base: config of the runs.
        data: of the fit.
        names: of the descriptors that are taken.

    Returns:
        Mean absolute errors of the targets, in their units.
    """
    processes, found = Processes(base, data, names), []
    for fold in range(COMPARED):
        train, held, _ = (part.numpy() for part in data.split(fold))
        own = processes.of_rows(np.sort(train[:MOST_COMPARED]))
        found.append(processes.errors(own, held))
    each = np.array(found)
    there = np.isfinite(each)  # a fold may have no label of a target
    return [float(e) for e in np.where(there, each, 0.0).sum(0) / np.maximum(there.sum(0), 1)]


def kernel_members(
    base: TableConfig,
    data: Data,
    names: tuple[str, ...],
    without: Sequence[int],
    folder: Path,
    logs: bool = True,
) -> list[Predictor]:
    """Fit processes to all folds but one; what an earlier call has done is not done again.

    Args:
        base: config of the runs.
        data: of the fit.
        names: of the descriptors that are taken.
        without: of each process the fold that it lacks; `NO_FOLD` for one of all rows.
        folder: of the processes.
        logs: write how errors fall with the number of rows.

    Returns:
        The processes in their order.
    """
    fold, processes, paths = data.folds.fold, None, []
    for lacking in without:
        own = folder / (WHOLE if lacking == NO_FOLD else str(lacking + 1))
        paths.append(own / "member.safetensors")
        if (own / DONE).exists():
            continue
        processes = processes or Processes(base, data, names)
        rows = np.flatnonzero((fold >= 0) & (fold != lacking))
        member = processes.of_rows(rows)
        if logs and lacking != NO_FOLD:
            _log(processes, member, rows, lacking, own / "log")
        save_checkpoint(member, paths[-1], {"name": "member"})
        (own / DONE).touch()
    return [load(path) for path in paths]


def _log(processes: Processes, member: Predictor, rows: Ints, fold: int, folder: Path) -> None:
    """Write how the error on the fold falls with the number of rows, as a run logs its steps.

    Args:
        processes: of the fit.
        member: the process of all its rows.
        rows: that it has seen.
        fold: that it has not. Those without one of the first `COMPARED` tell of fewer rows too.
        folder: of the log.
    """
    mixed = np.random.RandomState(0).permutation(rows)
    points = [np.sort(mixed[: len(rows) // part]) for part in SHORTER if fold < COMPARED]
    held = np.flatnonzero(processes.data.folds.fold == fold)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        columns = [f"val_mae_{one.column}" for one in member.properties]
        writer.writerow(["step", "train_loss", "val_loss", *columns])
        for some in (*points, rows):
            own = member if some is rows else processes.of_rows(some)
            errors = processes.errors(own, held)
            known = np.isfinite(errors)  # the fold may have no label of a target
            loss = float(np.mean((np.array(errors) / own.scale.numpy())[known]))
            cells = [error if math.isfinite(error) else "" for error in errors]
            writer.writerow([len(some) - 1, "", loss, *cells])
