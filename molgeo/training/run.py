"""A training run from its config to an exported model, resumable at any moment."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
)
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from molgeo.predictor import Predictor
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import say
from molgeo.runtime.precision import matmul_precision
from molgeo.training.config import KINDS, RunConfig, task_class
from molgeo.training.csv_log import LOG, logged
from molgeo.training.export import export, measure
from molgeo.training.finite import Finite, NotFiniteError
from molgeo.training.module import Training
from molgeo.training.naming import check_free
from molgeo.training.progress_bar import progress_of_steps
from molgeo.training.quiet import quiet_lightning
from molgeo.training.start import first_predictor, with_model_of_checkpoint
from molgeo.training.states import KeptState, LastStep, TimeIsUp, TimeLimit, last_state
from molgeo.training.task import Task, task_of
from molgeo.training.whole_step import averages_of
from molgeo.training.yaml_text import read_yaml, write_yaml


@quiet_lightning()
def train(
    config: RunConfig,
    resume: bool = False,
    task_of: Callable[[RunConfig, int], Task] = task_of,
    watch: Callback | None = None,
) -> Path:
    """Train, and export the best averaged weights at the end, when interrupted or out of time.

    Args:
        config: of the run.
        resume: go on from the run folder's last state; the run ends with the weights it would have
            had without the interruption.
        task_of: makes the task of the config and of the steps that a resumed run has behind it.
        watch: sees the run in place of a bar of its steps.

    Returns:
        Path of the exported checkpoint. Its header says whether the run was ``interrupted``; if
        it was not, the errors on the test part are in it, and its card lies beside.

    Raises:
        FileNotFoundError: the data are not prepared, or there is nothing to resume.
        FileExistsError: the run folder holds another run, and ``resume`` is not set.
        ValueError: a resumed run differs in what makes it the run it was, or the run has no name
            and would take that of a shipped model.
        NotFiniteError: a loss, gradient or weight became NaN or infinite; the last and the best
            state are those before, and the best weights are exported.
    """
    config = with_model_of_checkpoint(config)
    check_free(config.model_name, chosen=bool(config.name) or resume)
    run_dir = Path(config.run_dir)
    last = run_dir / "last.ckpt"
    limit = TimeLimit(last, config.max_minutes)  # before the data are loaded
    _check_folder(config, run_dir, last, resume)
    if config.threads:
        torch.set_num_threads(config.threads)
    seed_everything(config.seed, verbose=False)

    first_step = _step_of(last) if resume else 0
    task = task_of(config, first_step)
    task.data.setup()
    predictor = first_predictor(config, task, resume)
    module = _module(task, predictor)
    run_dir.mkdir(parents=True, exist_ok=True)
    task.rehearse(predictor, run_dir, resume)
    write_yaml(run_dir / "config.yaml", config.model_dump())
    task.remarks(run_dir)
    trainer = _trainer(config, run_dir, first_step, limit, watch)
    exported = run_dir / f"{config.model_name}.safetensors"
    failure: NotFiniteError | None = None
    try:
        if not 0 <= config.max_steps <= first_step:  # there is a step to make
            last_step = config.max_steps if config.devices == 1 else -1
            task.data.find_edges(predictor.cutoff, last_step, module.is_padded)
            with matmul_precision(config.matmul_precision):
                state = last if resume else None
                trainer.fit(module, task.data, ckpt_path=state, weights_only=True)
    except TimeIsUp as stop:
        if trainer.is_global_zero:
            say(stop)
    except NotFiniteError as error:
        failure = error
    finally:
        # A run too short for a validation has no best weights, but it has its last.
        states = [s for s in (run_dir / "best.ckpt", last) if s.exists()]
        if trainer.is_global_zero and states:
            try:
                export(predictor, config, task.about(), states[0], exported, trainer.interrupted)
            except ValueError:
                if failure is None:
                    raise
                states = []  # weights about to explode, which give no numbers any more
    if failure is not None and not trainer.is_global_zero:
        raise SystemExit(1)  # the first process tells
    if failure is not None:
        kept = f"{exported} holds the best weights before" if states else "no weights were kept"
        raise NotFiniteError(f"{failure}; {kept}")
    is_trial = config.limit_train or config.limit_validation  # not worth the minutes
    if trainer.is_global_zero and not (trainer.interrupted or is_trial):
        measure(exported, task.final_errors, trainer.strategy.root_device, task.kept)
    return exported


def _module(task: Task, predictor: Predictor) -> Training:
    """How a predictor is fitted, in the run's precision.

    Lightning changes the type only after it has copied the weights for their averages and loaded a
    state, which would be rounded. What is exported keeps the types of a checkpoint: it is a copy
    that is trained.
    """
    if task.config.precision != "64-true":
        return task.module(predictor)
    return task.module(copy.deepcopy(predictor)).double()


def _trainer(
    config: RunConfig, run_dir: Path, first_step: int, limit: TimeLimit, watch: Callback | None
) -> Trainer:
    """Lightning's trainer with what watches, keeps and logs a run."""
    best = KeptState(
        run_dir, "best", monitor="val_loss", save_top_k=1, enable_version_counter=False
    )
    return Trainer(
        max_epochs=config.max_epochs,
        accelerator=config.accelerator,
        devices=config.devices,
        strategy=config.strategy,
        precision=config.precision,
        gradient_clip_val=config.clip_norm or None,
        callbacks=[Finite(config), best, limit, *_callbacks(config, run_dir, watch)],
        logger=_logger(config, run_dir, first_step),
        enable_progress_bar=sys.stderr.isatty() and watch is None,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        inference_mode=False,  # validation may differentiate an energy
        log_every_n_steps=config.log_every_steps,
    )


def _check_folder(config: RunConfig, run_dir: Path, last: Path, resume: bool) -> None:
    """Refuse a folder that holds a run already, or none to resume, or another one."""
    if resume and not last.exists():
        raise FileNotFoundError(f"nothing to resume: {last} does not exist")
    # best.ckpt alone, or parts of last.ckpt, are a run as well: of a folder that was carried here.
    if not resume and any(run_dir.glob("*.ckpt*")):
        raise FileExistsError(
            f"{run_dir} holds a run already: pass --resume to go on, or choose another run_dir"
        )
    if resume:
        _check_resumable(config, run_dir)


def _check_resumable(config: RunConfig, run_dir: Path) -> None:
    """Raise SettingError if a run is resumed as another one."""
    path = run_dir / "config.yaml"
    before = read_yaml(path) if path.exists() else {}
    kind = str(before.get("data"))
    if before.get("data_file") and kind not in KINDS and "." not in kind:
        before["data"] = "forces"  # of a run when files had no kind
    now = config.model_dump()
    for name in task_class(config.data).fixed:
        if name in before and before[name] != now[name]:
            raise SettingError(
                f"--resume: {name} was {before[name]!r} in {run_dir} and is {now[name]!r} now; "
                "it cannot change within a run"
            )


def _callbacks(config: RunConfig, run_dir: Path, watch: Callback | None) -> list[Callback]:
    callbacks: list[Callback] = [
        averages_of(config),
        LearningRateMonitor("step"),
        LastStep(config.max_steps),
        *last_state(run_dir, config.save_every_steps),
    ]
    if watch is not None:
        callbacks.append(watch)
    elif sys.stderr.isatty():
        callbacks.append(progress_of_steps())
    if config.patience:
        callbacks.append(EarlyStopping("val_loss", patience=config.patience))
    return callbacks


def _logger(config: RunConfig, run_dir: Path, resumed_step: int) -> Logger:
    if config.logger == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        return TensorBoardLogger(run_dir, name="log", version="")
    if config.logger == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(name=run_dir.name, save_dir=run_dir)
    return _csv_logger(run_dir, resumed_step)


def _csv_logger(run_dir: Path, resumed_step: int) -> CSVLogger:
    """One metrics.csv for the whole run: rows up to the resumed step are kept.

    Lightning's logger starts with an empty file, so the old rows are handed to it.
    """
    path = run_dir / LOG
    aside = run_dir / "metrics.before_resume.csv"
    writes = rank_zero_only.rank == 0  # type: ignore[attr-defined]
    if writes and path.exists():
        os.replace(path, aside)
    logger = CSVLogger(run_dir, name="log", version="", flush_logs_every_n_steps=1)
    if writes and aside.exists():
        for row in logged(aside):
            if int(row["step"]) >= resumed_step:
                continue
            metrics = {k: float(v) for k, v in row.items() if v and k != "step"}
            logger.experiment.log_metrics(metrics, step=int(row["step"]))
        logger.save()
        aside.unlink()
    return logger


def _step_of(state: Path) -> int:
    return int(torch.load(state, map_location="cpu", weights_only=True)["global_step"])
