"""Members of a fit: each is a training run, on all folds but one, by which it is stopped."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from molgeo.data.geometries import GeometrySet
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import Split
from molgeo.fitting.folds import Folds
from molgeo.generate.table import Table
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, read_header, save_checkpoint
from molgeo.properties import HeadKind, names_of
from molgeo.runtime.progress import Report
from molgeo.runtime.progress import progress as progress_bar
from molgeo.training.config import RunConfig
from molgeo.training.heads_first import fit_heads
from molgeo.training.run import train
from molgeo.training.start import first_predictor, with_model_of_checkpoint
from molgeo.training.table import TableConfig, TableDataModule, TableTask, Target

DONE: Final = "done"
"""File in a member's folder that says that it is trained to its end."""

PARTS: Final = 1000
"""Of the bar, per member."""

COMPARED: Final = 2
"""Folds by which kinds of heads are compared."""

EPOCHS: Final = 30
"""Of such a comparison."""

MOST_COMPARED: Final = 1500
"""Molecules whose heads are compared."""


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

    def learned(self) -> Tensor:
        """The conformers that are trained on, of all members together."""
        rows = torch.from_numpy(np.flatnonzero(self.folds.fold >= 0))
        return self.geometries.all_of(rows, 1)

    def split(self, fold: int) -> Split:
        """Rows of a member: those of the other folds, of its own one, and the test part's."""
        own = self.folds.fold
        train = np.flatnonzero((own >= 0) & (own != fold))
        train = np.random.RandomState(0).permutation(train)  # so that the first are a fair sample
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
        """The first conformers of the rows, as many as are trained on."""
        n = self.config.conformers
        parts = Split(*(self.geometries.all_of(rows, n) for rows in self.rows))
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
        self.shown(trainer.current_epoch + (batch_idx + 1) / max(1, trainer.num_training_batches))

    def shown(self, epochs: float) -> None:
        """Show so many epochs."""
        done = PARTS * (self.member + min(1.0, epochs / max(1, self.epochs)))
        self.report(int(done), PARTS * self.n, f"model {self.member + 1} of {self.n}")


def train_members(
    base: TableConfig, data: Data, n: int, n_folds: int, folder: Path
) -> list[Predictor]:
    """Train all members; what an earlier call has done is not done again.

    Args:
        base: config of the runs, without their folders and seeds. Without epochs the heads alone
            are fitted, and all members have the backbone that they begin with.
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
            watch = _Watch(report, k, n, config.max_epochs or config.heads_first)
            paths.append(_trained(config, data, k % n_folds, watch))
    return [load(path) for path in paths]


def _trained(config: TableConfig, data: Data, fold: int, watch: _Watch) -> Path:
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

    if config.max_epochs:
        path = train(config, resume, task_of, watch)
        if read_header(path).interrupted:  # its weights are no member's
            raise KeyboardInterrupt
    else:
        path = _with_heads_alone(config, task_of, watch)
    (folder / DONE).touch()
    return path


def _with_heads_alone(
    config: TableConfig, task_of: Callable[[RunConfig, int], FoldTask], watch: _Watch
) -> Path:
    """A member that has the backbone of the checkpoint as it is, and a log as a run has it."""
    whole = with_model_of_checkpoint(config)
    seed_everything(config.seed, verbose=False)
    task = task_of(whole, 0)
    task.data.setup()
    predictor = first_predictor(whole.model_copy(update={"heads_first": 0}), task)
    columns = [f"val_mae_{one.column}" for one in predictor.properties]
    log = Path(config.run_dir) / "log" / "metrics.csv"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "train_loss", "val_loss", *columns])

        def told(step: int, loss: float, errors: Tensor) -> None:
            own = (errors * predictor.scale).tolist()
            writer.writerow([step - 1, loss, float(errors.mean()), *own])
            watch.shown(step / max(1, len(task.data.parts.train) // config.batch_size))

        fit_heads(predictor, task.data, whole, config.heads_first, told)
    path = Path(config.run_dir) / f"{config.name}.safetensors"
    save_checkpoint(predictor, path, {"name": config.name})
    return path


def pooling_of(base: TableConfig, data: Data, kinds: Sequence[HeadKind]) -> dict[str, list[float]]:
    """What held-out rows say of the ways to come from atoms to a molecule.

    Heads of all kinds are fitted together to the fixed features of the backbone, on some folds.

    Args:
        base: config of the runs.
        data: of the fit.
        kinds: of heads.

    Returns:
        Name of a target → mean absolute errors with each of the kinds, in its unit.
    """
    targets = [
        Target(**{**one.model_dump(), "head": kind, "name": f"{one.property.name}_{kind}"})
        for one in base.targets
        for kind in kinds
    ]
    config = with_model_of_checkpoint(
        base.model_copy(
            update={
                "targets": targets,
                "heads_first": 0,
                "limit_train": MOST_COMPARED,
                "conformers": 1,
            }
        )
    )
    assert isinstance(config, TableConfig)
    n = len(kinds)
    each = Data(data.table, _repeated(data.geometries, config, n), data.folds)
    total, counted = torch.zeros(2, len(targets), dtype=torch.float64)
    with progress_bar("comparing heads") as report:
        for fold in range(COMPARED):
            seed_everything(config.seed, verbose=False)
            task = FoldTask(config, FoldModule(config, 0, each, fold))
            task.data.setup()
            predictor = first_predictor(config, task)
            held = data.table.values[data.folds.fold == fold]
            there = torch.from_numpy(np.isfinite(held).any(0)).repeat_interleave(n)
            errors = fit_heads(predictor, task.data, config, EPOCHS) * predictor.scale
            total, counted = total + there * errors, counted + there
            report(fold + 1, COMPARED)
    total = total / counted.clamp(min=1)  # a fold may have no label of a target
    names = [one.property.name for one in base.targets]
    return dict(zip(names, total.view(-1, n).tolist(), strict=True))


def _repeated(geometries: GeometrySet, config: TableConfig, n: int) -> GeometrySet:
    """The same with each label n times in a row, under the names of a config."""
    molecules = geometries.molecules
    y = molecules.y.repeat_interleave(n, dim=1)
    molecules = replace(molecules, y=y, properties=names_of(config.learned))
    return replace(geometries, molecules=molecules)


def forget_states(folder: Path, n: int) -> None:
    """Remove what members would be resumed from, once the fit is done."""
    for k in range(1, n + 1):
        for state in (folder / str(k)).glob("*.ckpt"):
            state.unlink()
