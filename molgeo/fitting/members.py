"""Members of a fit: each is a training run, on all folds but one, by which it is stopped."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from molgeo.data.geometries import GeometrySet
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import Split
from molgeo.fitting.folds import Folds
from molgeo.generate.table import Table
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load
from molgeo.runtime.progress import Report
from molgeo.runtime.progress import progress as progress_bar
from molgeo.training.config import RunConfig
from molgeo.training.heads_first import fit_heads
from molgeo.training.run import train
from molgeo.training.start import first_predictor, with_model_of_checkpoint
from molgeo.training.table import TableConfig, TableDataModule, TableTask, Target

DONE = "done"
"""File in a member's folder that says that it is trained to its end."""

PARTS = 1000
"""Of the bar, per member."""


@dataclass(frozen=True)
class Data:
    """What a fit learns from.

    Attributes:
        table: rows with values.
        geometries: their conformers.
        folds: of the rows.
    """

    table: Table
    geometries: GeometrySet
    folds: Folds

    def split(self, fold: int) -> Split:
        """Rows of a member: those of the other folds, of its own one, and the test part's."""
        own = self.folds.fold
        train = np.flatnonzero((own >= 0) & (own != fold))
        parts = (train, np.flatnonzero(own == fold), self.folds.test)
        return Split(*map(torch.from_numpy, parts))


class FoldModule(TableDataModule):
    """The rows of one member.

    Args:
        config: of its run.
        first_step: steps that a resumed run has behind it.
        data: of the fit.
        fold: that the member is stopped by.
    """

    def __init__(self, config: TableConfig, first_step: int, data: Data, fold: int) -> None:
        super().__init__(config, first_step)
        self.table, self.geometries, self.aside = data.table, data.geometries, []
        self.rows, self.one_by_one = data.split(fold), False

    def load(self) -> tuple[MoleculeSet, Split]:
        """All conformers of the rows."""
        parts = Split(*(self.geometries.all_of(rows) for rows in self.rows))
        return self.geometries.molecules, parts


class FoldTask(TableTask):
    """The run of one member, which says nothing of its own: its fit does."""

    speaks = False

    def final_errors(self, predictor: Predictor) -> dict[str, Any]:
        """None: what the test part says is said of all members together."""
        return {}


class _Watch(Callback):
    """Tells a bar how far a member has come."""

    def __init__(self, report: Report, member: int, n: int, epochs: int) -> None:
        self.report, self.member, self.n, self.epochs = report, member, n, epochs

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step."""
        epoch = trainer.current_epoch + (batch_idx + 1) / max(1, trainer.num_training_batches)
        done = PARTS * (self.member + min(1.0, epoch / self.epochs))
        self.report(int(done), PARTS * self.n, f"model {self.member + 1} of {self.n}")


def train_members(
    base: TableConfig, data: Data, n: int, n_folds: int, folder: Path
) -> list[Predictor]:
    """Train all members; what an earlier call has done is not done again.

    Args:
        base: config of the runs, without their folders and seeds.
        data: of the fit.
        n: members.
        n_folds: of the data.
        folder: of the members.

    Returns:
        The members in their order.
    """
    paths = []
    with progress_bar("fitting") as report:
        for k in range(n):
            own = {"run_dir": str(folder / str(k + 1)), "name": "member", "seed": base.seed + k}
            config = TableConfig(**{**base.model_dump(), **own})
            watch = _Watch(report, k, n, config.max_epochs)
            paths.append(_trained(config, data, k % n_folds, watch))
    return [load(path) for path in paths]


def _trained(config: TableConfig, data: Data, fold: int, watch: Callback) -> Path:
    """One member's checkpoint."""
    folder = Path(config.run_dir)
    if (folder / DONE).exists():
        return folder / f"{config.name}.safetensors"
    resume = (folder / "last.ckpt").exists()
    if not resume and folder.exists():  # killed before its first state
        shutil.rmtree(folder)

    def task_of(own: RunConfig, first_step: int) -> FoldTask:
        assert isinstance(own, TableConfig)
        return FoldTask(own, FoldModule(own, first_step, data, fold))

    path = train(config, resume, task_of, watch)
    (folder / DONE).touch()
    return path


def pooling_of(base: TableConfig, data: Data, n_folds: int) -> dict[str, tuple[float, float]]:
    """What each target's held-out rows say of pooling its atoms by a mean and by a sum.

    Heads of both kinds are fitted to the fixed features of the backbone, on each of the folds.

    Args:
        base: config of the runs.
        data: of the fit.
        n_folds: of the data.

    Returns:
        Name of a target → mean absolute errors with ``mean`` and with ``sum``, in its unit.
    """
    kinds = ("mean", "sum")
    targets = [
        Target(**{**one.model_dump(), "head": kind, "name": f"{one.property.name}_{kind}"})
        for one in base.targets
        for kind in kinds
    ]
    config = with_model_of_checkpoint(
        base.model_copy(update={"targets": targets, "heads_first": 0})
    )
    assert isinstance(config, TableConfig)
    twice = Data(data.table, _twice(data.geometries, config), data.folds)
    total = torch.zeros(len(targets), dtype=torch.float64)
    with progress_bar("comparing mean and sum") as report:
        for fold in range(n_folds):
            torch.manual_seed(config.seed)
            task = FoldTask(config, FoldModule(config, 0, twice, fold))
            task.data.setup()
            predictor = first_predictor(config, task)
            errors = fit_heads(predictor, task.data, config, base.heads_first or 30)
            total += errors * predictor.scale / n_folds
            report(fold + 1, n_folds)
    pairs = total.view(-1, 2).tolist()
    names = [one.property.name for one in base.targets]
    return {name: (mean, extensive) for name, (mean, extensive) in zip(names, pairs, strict=True)}


def _twice(geometries: GeometrySet, config: TableConfig) -> GeometrySet:
    """The same with each label twice in a row, under the names of a config."""
    from dataclasses import replace

    from molgeo.properties import names_of

    molecules = geometries.molecules
    y = molecules.y.repeat_interleave(2, dim=1)
    molecules = replace(molecules, y=y, properties=names_of(config.learned))
    return replace(geometries, molecules=molecules)


def history(folder: Path, n: int, column: str) -> list[dict[str, Any]]:
    """What the logs of all members say.

    Args:
        folder: of the members.
        n: members.
        column: of the first target.

    Returns:
        Rows with ``member`` from 1, ``step``, ``train_loss`` and ``validation_error``, the latter
        in the unit of the first target.
    """
    rows: list[dict[str, Any]] = []
    for k in range(1, n + 1):
        path = folder / str(k) / "log" / "metrics.csv"
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                loss, error = row.get("train_loss"), row.get(f"val_mae_{column}")
                if loss or error:
                    own = {"train_loss": loss, "validation_error": error}
                    told = {name: float(text) if text else None for name, text in own.items()}
                    rows.append({"member": k, "step": int(row["step"]) + 1, **told})
    return rows


def forget_states(folder: Path, n: int) -> None:
    """Remove what members would be resumed from, once the fit is done."""
    for k in range(1, n + 1):
        for state in (folder / str(k)).glob("*.ckpt"):
            state.unlink()
