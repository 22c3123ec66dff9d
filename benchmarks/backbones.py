"""What backbones learn of QM9 in equal steps, and what a step costs.

    python benchmarks/backbones.py --steps 800
    python benchmarks/backbones.py --steps 800 --models schnet spectrum_net dimenet_pp

All of them see the same batches, in turn, so that they share whatever load the machine has. The
recipe is the configs': all twelve properties, Muon, warm-up, then linear to zero, averaged weights.
Prepare QM9 first (`molgeo data prepare qm9`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molgeo.data.datamodule import FlatDataModule
from molgeo.data.qm9.properties import NAMES, PROPERTIES
from molgeo.predictor import Predictor
from molgeo.runtime.precision import matmul_precision
from molgeo.training.module import PropertyTraining
from molgeo.training.optimisation import (
    Average,
    exponential_average,
    learning_rate_factor,
    optimiser_of,
)
from molgeo.training.qm9 import QM9Config
from molgeo.training.references import fit_references
from molgeo.training.task import Task, task_of

BACKBONES: dict[str, dict[str, Any]] = {
    "schnet": {"n_blocks": 4, "cutoff": 5.0, "n_gaussians": 48, "activation": "silu"},
    "spectrum_net": {},
    "dimenet_pp": {
        "n_blocks": 3, "int_emb": 32, "n_output_layers": 1, "n_spherical": 4, "n_before_skip": 0,
        "n_after_skip": 1,
    },
}  # fmt: skip
"""As in ``configs/``, what differs from the defaults."""

SHOWN = ("gap", "homo", "mu", "alpha", "u0", "cv")


@dataclass
class Run:
    """One backbone in training."""

    name: str
    module: PropertyTraining
    average: Average
    averages: list[Tensor]
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    seconds: list[float] = field(default_factory=list)

    def step(self, batch: Any) -> None:
        """One step, timed: forward, backward, clipping, optimiser."""
        start = time.perf_counter()
        loss = self.module._loss(batch)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.module.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        self.seconds.append(time.perf_counter() - start)
        weights = [p.detach() for p in self.module.parameters()]
        self.average(self.averages, weights, torch.tensor(len(self.seconds)))


def main() -> None:
    """Train, validate, and print a table."""
    parser = argparse.ArgumentParser(description="what backbones learn in equal steps")
    parser.add_argument("--models", nargs="+", default=["schnet", "spectrum_net"])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--matmul-precision", default="highest", choices=["highest", "medium"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with matmul_precision(options.matmul_precision):
        rows = compare(options.models, options.steps, options.batch_size, options.learning_rate)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))


def compare(
    models: list[str], steps: int, batch_size: int, learning_rate: float, data_dir: str = ""
) -> list[dict[str, Any]]:
    """Train the models side by side.

    Args:
        models: names, keys of `BACKBONES`.
        steps: of each.
        batch_size: molecules a step.
        learning_rate: peak.
        data_dir: where data lie; empty for the usual place.

    Returns:
        One row a model: parameters, milliseconds a step (median), validation loss and errors.
    """
    config = QM9Config(
        data_dir=data_dir,
        batch_size=batch_size,
        optimizer="muon",
        learning_rate=learning_rate,
        weight_decay=0.0,
        warmup_steps=min(200, steps // 4),
        schedule="stable",
        decay_fraction=0.7,
    )
    task = task_of(config)
    data = task.data
    data.setup()
    runs = [start(name, config, task, data, steps) for name in models]
    for batch in islice(forever(data), steps):
        for run in runs:
            run.step(batch)
    return [validated(run, data) for run in runs]


def forever(data: FlatDataModule) -> Any:
    """Batches of one epoch after the other."""
    loader = data.train_dataloader()
    while True:
        yield from loader


def start(name: str, config: QM9Config, task: Task, data: FlatDataModule, steps: int) -> Run:
    """A backbone with fresh weights."""
    torch.manual_seed(config.seed)
    predictor = Predictor(name, BACKBONES[name], list(PROPERTIES.values()), config.head_features)
    fit_references(predictor, data.molecules, data.parts.train, task.free_atoms())
    module = PropertyTraining(predictor.train(), config)
    optimizer = optimiser_of(predictor, config)
    factor = learning_rate_factor(config, steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    averages = [p.detach().clone() for p in module.parameters()]
    average = exponential_average(config.ema_decay)
    return Run(name, module, average, averages, optimizer, schedule)


@torch.no_grad()
def validated(run: Run, data: FlatDataModule, batches: int = 32) -> dict[str, Any]:
    """What the averaged weights are worth on the first molecules of the validation part."""
    for weight, average in zip(run.module.parameters(), run.averages, strict=True):
        weight.copy_(average)
    errors = [run.module._loss(b)[1][0].double() for b in islice(data.val_dataloader(), batches)]
    mae = torch.cat(errors).mean(0)
    scaled = dict(zip(NAMES, (mae * run.module.predictor.scale).tolist(), strict=True))
    return {
        "model": run.name,
        "parameters": sum(p.numel() for p in run.module.parameters()),
        "ms_a_step": 1e3 * statistics.median(run.seconds),
        "loss": float(mae.mean()),
        "mae": {PROPERTIES[name].column: value for name, value in scaled.items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as Markdown."""
    columns = [PROPERTIES[name].column for name in SHOWN]
    lines = [
        f"| model | parameters | ms a step | loss | {' | '.join(columns)} |",
        f"|---|--:|--:|--:|{'--:|' * len(columns)}",
    ]
    for row in rows:
        errors = " | ".join(f"{row['mae'][name]:.3g}" for name in columns)
        lines.append(
            f"| {row['model']} | {row['parameters']:,} | {row['ms_a_step']:.0f} "
            f"| {row['loss']:.4f} | {errors} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
