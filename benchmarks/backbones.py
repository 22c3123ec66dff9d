"""What backbones learn from the same data in equal steps or in equal time, and what they cost.

    python benchmarks/backbones.py configs/schnet_qm9.yaml configs/spherenet_qm9.yaml --steps 400
    python benchmarks/backbones.py configs/*_rmd17.yaml --minutes 5 --data-file rmd17/ethanol.npz
    python benchmarks/backbones.py --json benchmarks/backbones.json --show

Of each config the data, the model and its sizes are taken; the recipe is one for all: Muon, one
learning rate, warm-up, then linear to zero, averaged weights, the same batches. Time is that of the
processor, on one thread. What else a machine does changes it all the same, by a half at times: so
measure what steps cost first (``--steps 20``, all backbones in one go). With ``--json`` minutes are
then turned into steps by those costs. Each row is made in a process of its own, whose memory is
then that of one backbone. Rows that the JSON has already are not made again; ``--show`` prints of
them the table of docs/models.md. Prepare QM9 first (`molgeo data prepare qm9`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from molgeo.data.datamodule import FlatDataModule
from molgeo.runtime.whole_file import replacing
from molgeo.training.config import RunConfig, read_config
from molgeo.training.module import Training
from molgeo.training.optimisation import exponential_average, learning_rate_factor, optimiser_of
from molgeo.training.start import first_predictor
from molgeo.training.task import task_of

SHOWN = ("gap_eV", "homo_eV", "mu_debye", "alpha_bohr3", "u0_eV", "cv_cal_mol_K")
"""Errors of properties in the table, as far as they are learned."""

COUNTED = 1000
"""Steps of the schedule of a run that ends by time."""

BODIES = {
    "schnet": 2,
    "spectrum_net": 3,
    "painn": 3,
    "dimenet": 3,
    "dimenet_pp": 3,
    "gemnet": 3,
    "spherenet": 4,
    "comenet": 4,
    "gemnet_q": 4,
}
"""Atoms that a term of one block of a model takes together."""

WARM_UP = 50
"""Steps in which the learning rate rises."""

WEIGHED = 5
"""Steps whose memory is measured: later ones add oneDNN's programs for each new shape."""


class Budget(NamedTuple):
    """How long a backbone is trained.

    Attributes:
        steps: of the optimiser; 0 to count seconds.
        seconds: of the processor; beside steps, what these stand for.
    """

    steps: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """In the rows."""
        return f"{self.seconds / 60:g} minutes" if self.seconds else f"{self.steps} steps"

    def at(self, cost: float | None, batch_size: int) -> Budget:
        """With minutes as steps.

        Args:
            cost: milliseconds per molecule of a step; None if it is not known.
            batch_size: of a step.
        """
        if not self.seconds or cost is None:
            return self
        return self._replace(steps=round(1e3 * self.seconds / (cost * batch_size)))

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
        own += [f"warmup_steps={WARM_UP}", "ema_decay=0.99", "clip_norm=5.0", "amsgrad=false"]
        if "force_weight" in type(read_config(path)).model_fields:
            own += ["energy_weight=1.0", "force_weight=1.0"]
        return read_config(path, [*own, "replay=false", *self.assignments])

    @property
    def name(self) -> str:
        """In the rows, with what differs from a config."""
        molecules = f"{self.limit:,} molecules" if self.limit else ""
        batches = f"batches of {self.batch_size}" if self.batch_size else ""
        return ", ".join(filter(None, (molecules, batches)))


def main() -> None:
    """Train, measure, and print a table."""
    parser = argparse.ArgumentParser(description="what backbones learn, and what they cost")
    parser.add_argument("configs", nargs="*", type=Path)
    parser.add_argument("--steps", type=int, default=0, help="of each")
    parser.add_argument("--minutes", type=float, default=0.0, help="of each, on the processor")
    parser.add_argument("--batch-size", type=int, default=0)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--limit", type=int, default=0, help="molecules to train on; 0 for all")
    parser.add_argument("--data-file", default="", help="of configs that train on files")
    parser.add_argument("--judged", type=int, default=1024, help="validation molecules, at least")
    parser.add_argument("--json", type=Path, help="rows, to which new ones are added")
    parser.add_argument("--show", action="store_true", help="what the rows of --json say in all")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    if options.json and options.json.exists():
        rows = json.loads(options.json.read_text())
    if options.show:
        print(comparison(rows))
        return
    if bool(options.steps) == bool(options.minutes):
        parser.error("expected one of --steps and --minutes")
    budget = Budget(options.steps, 60 * options.minutes)
    files = (f"data_file=[{options.data_file}]",) if options.data_file else ()
    recipe = Recipe(options.batch_size, options.learning_rate, options.limit, files)
    about = ", ".join(filter(None, (recipe.name, budget.name)))
    wanted = {f"{path.stem}, {about}": path for path in options.configs}
    for name, path in wanted.items():
        if name not in rows:
            config = recipe.config(path)
            own = budget.at(cost(rows, path.stem, recipe), config.batch_size)
            with ProcessPoolExecutor(1, get_context("spawn")) as apart:
                rows[name] = apart.submit(row, config, own, options.judged).result()
            print(name, json.dumps(rows[name]), flush=True)
            if options.json:
                with replacing(options.json) as file:
                    file.write_text(json.dumps(rows, indent=1) + "\n")
    print(table({name: rows[name] for name in wanted}))


def cost(rows: dict[str, Any], config: str, recipe: Recipe) -> float | None:
    """Milliseconds per molecule that steps of a config took when costs were measured."""
    known = [one for name, one in rows.items() if name.startswith(f"{config}, {recipe.name}, ")]
    return next((one["trained_ms"] for one in known if one["steps"] <= WARM_UP), None)


def row(config: RunConfig, budget: Budget, judged: int = 1024) -> dict[str, Any]:
    """Train one backbone, and measure it.

    Args:
        config: of its run.
        budget: how long it is trained.
        judged: molecules of the validation part on which errors are measured, if it has as many.

    Returns:
        ``model``; ``budget``; ``parameters``; ``steps`` and ``seconds`` of the training;
        ``trained_ms`` and ``ms``, of the processor per molecule of a step of the training and of a
        prediction, with forces if these are learned; ``peak_MB``, what a step of the training took
        beyond the data; and ``errors`` on the validation part.
    """
    torch.set_num_threads(1)
    task = task_of(config)
    task.data.setup()
    torch.manual_seed(config.seed)
    module = task.module(first_predictor(config, task).train())
    steps, seconds, peak = train(module, task.data, config, budget)
    errors, ms = validated(module, task.data, judged)
    return {
        "model": config.model,
        "budget": budget.name,
        "parameters": sum(p.numel() for p in module.parameters()),
        "steps": steps,
        "seconds": seconds,
        "trained_ms": 1e3 * seconds / (steps * config.batch_size),
        "ms": ms,
        "peak_MB": peak / 1e6,
        "errors": errors,
    }


def train(
    module: Training, data: FlatDataModule, config: RunConfig, budget: Budget
) -> tuple[int, float, float]:
    """Train until the budget is used up, and put the averaged weights in place.

    Returns:
        Steps, seconds of the processor, and bytes that the first `WEIGHED` steps took at most.
    """
    weights = list(module.parameters())
    averages = [p.detach().clone() for p in weights]
    average = exponential_average(config.ema_decay)
    optimiser = optimiser_of(module.predictor, config)
    total = budget.steps or COUNTED
    factor = learning_rate_factor(config, total)
    steps, seconds, place = 0, 0.0, 0
    before, peak = _peak_memory(anew=True), 0.0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: factor(place))
    for batch in forever(data):
        begun = time.process_time()
        module.losses(batch)["train_loss"].backward()
        torch.nn.utils.clip_grad_norm_(weights, config.clip_norm or 5.0)
        optimiser.step()
        optimiser.zero_grad()
        steps, seconds = steps + 1, seconds + time.process_time() - begun
        peak = _peak_memory() - before if steps <= WEIGHED else peak
        average(averages, [p.detach() for p in weights], torch.tensor(steps))
        place = int(total * budget.done(steps, seconds))
        if place >= total:
            break
        schedule.step()
    with torch.no_grad():
        for weight, mean in zip(weights, averages, strict=True):
            weight.copy_(mean)
    return steps, seconds, peak


def forever(data: FlatDataModule) -> Iterator[Any]:
    """Batches of one epoch after the other."""
    while True:
        yield from data.train_dataloader()


def validated(
    module: Training, data: FlatDataModule, judged: int
) -> tuple[dict[str, float], float]:
    """Errors on the first molecules of the validation part, and milliseconds per molecule."""
    module.eval()
    loaders = data.val_dataloader()
    loader = loaders[0] if isinstance(loaders, list) else loaders
    measure = _values if data.molecules.force is None else _forces
    found, molecules, seconds = [], 0, 0.0
    for batch in loader:
        begun = time.process_time()
        found.append(measure(module, batch))
        seconds += time.process_time() - begun
        molecules += batch.n_molecules
        if molecules >= judged:
            break
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
        "trained_ms": "{:.2g}".format,
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


def comparison(rows: dict[str, Any]) -> str:
    """What a user chooses by, as Markdown: a line for each model, of all its rows.

    Errors of runs that end before the learning rate has risen say nothing: these rows tell what a
    model costs. Columns that no model has anything in are left out.
    """
    models: dict[str, dict[str, Any]] = {}
    for one in rows.values():
        kind = "steps" if one["budget"].endswith("steps") else "minutes"
        kind = "forces" if "meV_per_A" in one["errors"] else kind
        if one["steps"] <= WARM_UP:
            kind = f"cost of {kind}"
        models.setdefault(one["model"], {})[kind] = one
    found = {model: _line(model, of) for model, of in models.items() if "cost of steps" in of}
    lines = [found[model] for model in sorted(found, key=lambda model: _work(models[model]))]
    columns = [name for name in lines[0] if any(line[name] for line in lines)]
    head = [f"| {' | '.join(columns)} |", f"|---|{'--:|' * (len(columns) - 1)}"]
    return "\n".join(
        [*head, *(f"| {' | '.join(line[name] or '–' for name in columns)} |" for line in lines)]
    )


def _work(of: dict[str, Any]) -> float:
    return float(of["cost of steps"]["trained_ms"])


def _line(model: str, of: dict[str, Any]) -> dict[str, str]:
    """What a line has in each column; nothing if there is no such row."""
    row = of["cost of steps"]
    line = {
        "model": f"`{model}`",
        "weights": f"{row['parameters']:,}",
        "bodies": str(BODIES.get(model, "")),
        "ms": f"{row['ms']:.1f}",
        "ms, training": f"{row['trained_ms']:.1f}",
        "MB": f"{row['peak_MB']:.0f}",
    }
    for kind, what in (("steps", "equal steps"), ("minutes", "equal time")):
        one = of.get(kind, {"steps": 0, "errors": {}})
        errors = one["errors"]
        if kind == "minutes":
            line[f"steps, {what}"] = str(one["steps"]) if errors else ""
        for name, unit, column in (("gap", "meV", "gap_eV"), ("U0", "meV", "u0_eV")):
            value = errors.get(column)
            line[f"{name}, {unit}, {what}"] = f"{1e3 * value:.0f}" if errors else ""
        line[f"μ, D, {what}"] = f"{errors['mu_debye']:.3f}" if errors else ""
    forces = of.get("forces")
    line["steps, forces"] = str(forces["steps"]) if forces else ""
    line["forces, meV/Å"] = f"{forces['errors']['meV_per_A']:.0f}" if forces else ""
    return line


if __name__ == "__main__":
    main()
