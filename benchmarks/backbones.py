"""What backbones learn from the same data in equal steps or in equal time, and what they cost.

    python benchmarks/backbones.py configs/schnet_qm9.yaml configs/spherenet_qm9.yaml --steps 400
    python benchmarks/backbones.py configs/*_rmd17.yaml --minutes 5 --data-file rmd17/ethanol.npz

Of each config the data, the model and its sizes are taken; the recipe is one for all: Muon, one
learning rate, warm-up, then linear to zero, averaged weights, the same batches. Time is that of the
processor, on one thread, so that what else a machine does counts little. With ``--json`` rows that
the file has already are not made again. Prepare QM9 first (`molgeo data prepare qm9`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from molgeo.data.datamodule import FlatDataModule
from molgeo.predictor import Predictor
from molgeo.runtime.whole_file import replacing
from molgeo.training.config import RunConfig, read_config
from molgeo.training.module import Training
from molgeo.training.optimisation import exponential_average, learning_rate_factor, optimiser_of
from molgeo.training.references import domain_of, fit_references
from molgeo.training.task import Task, task_of

SHOWN = ("gap_eV", "homo_eV", "mu_debye", "alpha_bohr3", "u0_eV", "cv_cal_mol_K")
"""Errors of properties in the table, as far as they are learned."""

COUNTED = 1000
"""Steps of the schedule of a run that ends by time."""


class Budget(NamedTuple):
    """How long a backbone is trained.

    Attributes:
        steps: of the optimiser; 0 to count seconds.
        seconds: of the processor.
    """

    steps: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """In the rows."""
        return f"{self.steps} steps" if self.steps else f"{self.seconds / 60:g} minutes"

    def done(self, steps: int, seconds: float) -> float:
        """The part that is over, from 0 to 1."""
        return steps / self.steps if self.steps else min(1.0, seconds / self.seconds)


class Recipe(NamedTuple):
    """What all backbones have in common.

    Attributes:
        batch_size: of a step; 0 for that of the config.
        learning_rate: peak.
        limit: molecules to train on; 0 for all.
        assignments: further keys of all configs, as ``molgeo train`` takes them.
    """

    batch_size: int = 0
    learning_rate: float = 2e-3
    limit: int = 0
    assignments: tuple[str, ...] = ()

    def config(self, path: Path) -> RunConfig:
        """A config's data and model under the common recipe."""
        own = [f"learning_rate={self.learning_rate}", f"limit_train={self.limit}"]
        own += [f"batch_size={self.batch_size}"] if self.batch_size else []
        own += ["optimizer=muon", "weight_decay=0.0", "schedule=stable", "decay_fraction=0.7"]
        own += ["warmup_steps=50", "ema_decay=0.99", "replay=false"]
        return read_config(path, [*own, *self.assignments])


def main() -> None:
    """Train, measure, and print a table."""
    parser = argparse.ArgumentParser(description="what backbones learn, and what they cost")
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--steps", type=int, default=0, help="of each")
    parser.add_argument("--minutes", type=float, default=0.0, help="of each, on the processor")
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--limit", type=int, default=0, help="molecules to train on; 0 for all")
    parser.add_argument("--data-file", default="", help="of configs that train on files")
    parser.add_argument("--json", type=Path, help="rows, to which new ones are added")
    options = parser.parse_args()
    if bool(options.steps) == bool(options.minutes):
        parser.error("expected one of --steps and --minutes")
    torch.set_num_threads(1)
    budget = Budget(options.steps, 60 * options.minutes)
    files = (f"data_file=[{options.data_file}]",) if options.data_file else ()
    recipe = Recipe(options.batch_size, options.learning_rate, options.limit, files)
    kept = options.json and options.json.exists() and json.loads(options.json.read_text())
    rows: dict[str, Any] = kept or {}
    wanted = {f"{path.stem}, {budget.name}": path for path in options.configs}
    for name, path in wanted.items():
        if name not in rows:
            rows[name] = row(recipe.config(path), budget)
            print(name, json.dumps(rows[name]), flush=True)
            if options.json:
                with replacing(options.json) as file:
                    file.write_text(json.dumps(rows, indent=1) + "\n")
    print(table({name: rows[name] for name in wanted}))


def row(config: RunConfig, budget: Budget) -> dict[str, Any]:
    """Train one backbone, and measure it.

    Args:
        config: of its run.
        budget: how long it is trained.

    Returns:
        ``parameters``; ``steps`` and ``seconds`` of the training; ``ms``, of a prediction per
        molecule, with forces if these are learned; ``peak_MB``, what the training took beyond the
        data; and ``errors`` on the validation part.
    """
    task = task_of(config)
    task.data.setup()
    torch.manual_seed(config.seed)
    module = start(config, task)
    before = _peak_memory(anew=True)
    steps, seconds = train(module, task.data, config, budget)
    peak = _peak_memory() - before
    errors, ms = validated(module, task.data)
    return {
        "parameters": sum(p.numel() for p in module.parameters()),
        "steps": steps,
        "seconds": seconds,
        "ms": ms,
        "peak_MB": peak / 1e6,
        "errors": errors,
    }


def start(config: RunConfig, task: Task) -> Training:
    """A backbone with fresh weights."""
    fields = config.head_features, config.repulsion
    predictor = Predictor(config.model, config.backbone, config.learned, *fields)
    train_part = task.data.parts.train
    predictor.domain = domain_of(task.data.molecules, train_part)
    fit_references(predictor, task.data.molecules, train_part, task.free_atoms())
    return task.module(predictor.train())


def train(
    module: Training, data: FlatDataModule, config: RunConfig, budget: Budget
) -> tuple[int, float]:
    """Train until the budget is used up, and put the averaged weights in place.

    Returns:
        Steps and seconds of the processor.
    """
    weights = list(module.parameters())
    averages = [p.detach().clone() for p in weights]
    average = exponential_average(config.ema_decay)
    optimiser = optimiser_of(module.predictor, config)
    total = budget.steps or COUNTED
    factor = learning_rate_factor(config, total)
    steps, seconds, place = 0, 0.0, 0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: factor(place))
    for batch in forever(data):
        begun = time.process_time()
        module.losses(batch)["train_loss"].backward()
        torch.nn.utils.clip_grad_norm_(weights, config.clip_norm or 5.0)
        optimiser.step()
        optimiser.zero_grad()
        steps, seconds = steps + 1, seconds + time.process_time() - begun
        average(averages, [p.detach() for p in weights], torch.tensor(steps))
        place = int(total * budget.done(steps, seconds))
        if place >= total:
            break
        schedule.step()
    with torch.no_grad():
        for weight, mean in zip(weights, averages, strict=True):
            weight.copy_(mean)
    return steps, seconds


def forever(data: FlatDataModule) -> Iterator[Any]:
    """Batches of one epoch after the other."""
    while True:
        yield from data.train_dataloader()


def validated(
    module: Training, data: FlatDataModule, batches: int = 32
) -> tuple[dict[str, float], float]:
    """Errors on the first batches of the validation part, and milliseconds per molecule."""
    module.eval()
    loaders = data.val_dataloader()
    loader = loaders[0] if isinstance(loaders, list) else loaders
    measure = _values if data.molecules.force is None else _forces
    found, molecules, seconds = [], 0, 0.0
    for batch in islice(loader, batches):
        begun = time.process_time()
        found.append(measure(module, batch))
        seconds += time.process_time() - begun
        molecules += batch.n_molecules
    names = found[0].keys()
    errors = {name: torch.cat([one[name] for one in found]) for name in names}
    return {name: float(each.nanmean()) for name, each in errors.items()}, 1e3 * seconds / molecules


@torch.no_grad()
def _values(module: Training, batch: Any) -> dict[str, Tensor]:
    """Absolute errors of the properties."""
    found = module.predictor(batch.z, batch.pos, graph=batch.graph(module.predictor.cutoff))
    labels = zip(module.predictor.properties, batch.y.unbind(-1), strict=True)
    return {one.column: (found[one.name] - label).abs() for one, label in labels}


def _forces(module: Training, batch: Any) -> dict[str, Tensor]:
    """Absolute errors of the energy per atom and of the components of forces."""
    graph = batch.graph(module.predictor.cutoff)
    energy, force = module.predictor.energy_and_forces(batch.z, batch.pos, None, True, graph)
    per_atom = (energy - batch.y[:, 0]).abs() / graph.atoms_per_molecule
    return {
        "meV_per_atom": 1e3 * per_atom.detach(),
        "meV_per_A": 1e3 * (force - batch.force).abs().mean(-1).detach(),
    }


def _peak_memory(anew: bool = False) -> float:
    """Bytes that the process held at most, ``anew`` from now on; 0 if no system tells."""
    own, told = Path("/proc/self"), "VmHWM:"
    try:
        if anew:
            (own / "clear_refs").write_text("5")
        lines = (own / "status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(told)), 0.0)


def table(rows: dict[str, Any]) -> str:
    """Rows as Markdown."""
    errors = next(iter(rows.values()))["errors"]
    columns = [name for name in SHOWN if name in errors] or list(errors)
    shape: dict[str, Callable[[Any], str]] = {
        "parameters": "{:,}".format,
        "steps": "{}".format,
        "seconds": "{:.0f}".format,
        "ms": "{:.2g}".format,
        "peak_MB": "{:.0f}".format,
    }
    lines = [
        f"| backbone | {' | '.join([*shape, *columns])} |",
        f"|---|{'--:|' * (len(shape) + len(columns))}",
    ]
    for name, one in rows.items():
        told = [show(one[key]) for key, show in shape.items()]
        told += [f"{one['errors'][column]:.3g}" for column in columns]
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
