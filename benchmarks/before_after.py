"""Two checkouts of molgeo beside each other: the same steps in turn, each in a process of its own.

    git worktree add ../before COMMIT --detach
    python benchmarks/before_after.py ../before
    python benchmarks/before_after.py ../before --models schnet --modes infer --clock cpu
    python benchmarks/before_after.py ../before --models spectrum_net --modes run --batches 128

Each checkout builds the models from one seed. Its results must agree with the other's to
float32's rounding. Then A steps, B steps, A steps …, so that what else the machine does slows both
alike. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

MODELS = ("schnet", "spectrum_net", "dimenet_pp", "dimenet")
MODES = ("infer", "train", "forces", "force_train", "md", "run")
TOLERANCE = 1e-3
"""Relative, of the norm of a force training's gradients: second derivatives lose digits."""


def main(arguments: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Run the comparison and return its rows."""
    options = _parse(arguments)
    here = Path(__file__).resolve().parents[1]
    sides = [Checkout(path, options) for path in (options.before.resolve(), here)]
    print("| model | mode | batch | before ms | after ms | after/before | MB before | MB after |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    rows = []
    try:
        for model in options.models:
            for batch in options.batches:
                for mode in options.modes:
                    if (mode == "md") == (batch == 1):
                        rows.append(_row(sides, model, mode, batch, options.repeats))
                        print(_line(rows[-1]), flush=True)
    finally:
        for side in sides:
            side.close()
    return rows


def _row(sides: list[Checkout], model: str, mode: str, batch: int, repeats: int) -> dict[str, Any]:
    """Times, their ratio and the peak memory of one step."""
    found = [side.ask(do="build", model=model, mode=mode, batch=batch) for side in sides]
    for a, b in zip(*(one["values"] for one in found), strict=True):
        if not abs(a - b) <= TOLERANCE * abs(b):  # true for NaN
            sys.exit(f"{model}, {mode}, batch {batch}: results differ, {a} and {b}")
    times: list[list[float]] = [[], []]
    for number in range(repeats):
        for n in (0, 1) if number % 2 else (1, 0):
            times[n].append(sides[n].ask(do="step")["seconds"])
    # Of the fastest third: what the machine does besides can only add.
    before, after = (statistics.mean(sorted(t)[: max(1, repeats // 3)]) for t in times)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    return {
        "model": model, "mode": mode, "batch": batch, "ms": [1e3 * before, 1e3 * after],
        "ratio": after / before, "median_ratio": statistics.median(ratios),
        "peak_mb": [one["peak"] / 1e6 for one in found],
    }  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    (before, after), (old, new) = row["ms"], row["peak_mb"]
    return (
        f"| {row['model']} | {row['mode']} | {row['batch']} | {before:.2f} | {after:.2f} "
        f"| {row['ratio']:.3f} ({row['median_ratio']:.3f}) | {old:.1f} | {new:.1f} |"
    )


BATCHES = 8
"""That a training run's steps take in turn."""


class Checkout:
    """A process that steps the models of one checkout when it is asked to.

    Args:
        path: of the checkout.
        options: of the command line.
    """

    def __init__(self, path: Path, options: argparse.Namespace) -> None:
        folders = [path, path / "benchmarks", path / "tests"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, folders)),
            "OMP_NUM_THREADS": str(options.threads),
        }
        command = [sys.executable, "-P", __file__, "--step", str(path), "--clock", options.clock]
        command += ["--matmul-precision", options.matmul_precision]
        self._process = subprocess.Popen(
            command, cwd=path, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, **question: Any) -> dict[str, Any]:
        """Send a question and wait for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(clock: str, precision: str) -> None:
    """Answer questions on standard input, with the checkout that PYTHONPATH names."""
    import gc

    import torch
    from measure import _elapsed, peak_memory

    device = torch.device("cpu")
    torch.set_float32_matmul_precision(precision)
    gc.disable()
    step: Callable[[], Any] = lambda: None  # noqa: E731
    for line in sys.stdin:
        question = json.loads(line)
        if question["do"] == "build":
            gc.collect()
            kind = Run if question["mode"] == "run" else Case
            case = kind(question["model"], question["batch"])
            values = case.values(question["mode"])
            step = getattr(case, question["mode"])
            answer = {"values": values, "peak": peak_memory(step, device)}
            step()
        else:
            answer = {"seconds": _elapsed(step, device, clock)}
        print(json.dumps(answer), flush=True)


class Case:
    """One model with fresh weights and one batch of molecules.

    Args:
        name: of the model.
        batch_size: molecules.
    """

    def __init__(self, name: str, batch_size: int) -> None:
        import torch
        from sides import molecules

        from molgeo import models
        from molgeo.graph import radius_graph

        torch.manual_seed(42)
        fields = {"output_init": "glorot_orthogonal"} if "dimenet" in name else {}
        self.model = models.build(name, fields)
        source = molecules()[1]
        batch = source.batch(torch.randperm(len(source))[:batch_size])
        self.z, self.pos, self.batch = batch.z, batch.pos, batch.batch
        self.energies = torch.randn(batch_size, 1)
        self.labels = torch.randn(len(batch.z), 3)
        self.graph = radius_graph(self.pos, self.model.cutoff, self.batch)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, fused=True)

    def infer(self) -> Any:
        """A forward pass without gradients."""
        import torch

        with torch.no_grad():
            return (self.model(self.z, self.pos, self.batch),)

    def train(self) -> Any:
        """A training step on energies."""
        self.optimizer.zero_grad()
        loss = (self.model(self.z, self.pos, self.batch) - self.energies).square().mean()
        loss.backward()
        self.optimizer.step()

    def forces(self, graph: Any = None, create_graph: bool = False) -> Any:
        """Energies and forces, while the weights require gradients as a user's do."""
        import torch

        pos = self.pos.detach().requires_grad_()
        energy = self.model(self.z, pos, self.batch, graph)
        (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=create_graph)
        return energy, gradient

    def force_train(self) -> Any:
        """A training step on energies and forces."""
        self.optimizer.zero_grad()
        energy, gradient = self.forces(create_graph=True)
        loss = (energy - self.energies).square().mean()
        (loss + 100.0 * (gradient + self.labels).square().mean()).backward()
        self.optimizer.step()

    def md(self) -> Any:
        """Energy and forces with a graph that is kept."""
        return self.forces(self.graph)

    def values(self, mode: str) -> list[float]:
        """Norms of what a mode computes, for a comparison."""
        import torch

        found = getattr(self, mode)()
        if found is None:
            found = [p.grad for p in self.model.parameters() if p.grad is not None]
            found = [torch.nn.utils.get_total_norm(found)]
        return [float(x.detach().norm()) for x in found]


class Run:
    """A training run's steps on QM9's twelve properties, from a batch's making to the average.

    Edges are found before the first step if the checkout keeps them. Muon takes the matrices.

    Args:
        name: of the model.
        batch_size: molecules.
    """

    def __init__(self, name: str, batch_size: int) -> None:
        import torch
        from sides import molecules
        from torch.optim.swa_utils import AveragedModel

        from molgeo.data.qm9 import properties
        from molgeo.predictor import Predictor
        from molgeo.training.module import PropertyTraining
        from molgeo.training.optimisation import exponential_average, optimiser_of
        from molgeo.training.qm9 import QM9Config

        torch.manual_seed(42)
        config = QM9Config(model=name, optimizer="muon", learning_rate=1e-4)
        predictor = Predictor(name, {}, properties.named(properties.NAMES), 64)
        self.module = PropertyTraining(predictor, config)
        self.optimizer = optimiser_of(predictor, config)
        self.averages = AveragedModel(predictor, multi_avg_fn=exponential_average(0.999))
        source = molecules()[1]
        rows = torch.randperm(len(source))[: BATCHES * batch_size]
        self.batches = rows.split(batch_size)
        labels = torch.randn(len(source), len(properties.NAMES), dtype=torch.float64)
        source = dataclasses.replace(source, y=labels, properties=properties.NAMES)
        keeps = hasattr(source, "with_neighbours")
        self.source = source.with_neighbours(predictor.cutoff, rows) if keeps else source
        self.n_steps = 0

    def run(self) -> float:
        """One step on the next batch; its loss."""
        import torch

        batch = self.source.batch(self.batches[self.n_steps % len(self.batches)])
        self.n_steps += 1
        self.optimizer.zero_grad()
        loss = self.module.losses(batch)["train_loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 5.0)
        self.optimizer.step()
        self.averages.update_parameters(self.module.predictor)
        return float(loss.detach())

    def values(self, mode: str) -> list[float]:
        """The first losses, for a comparison."""
        return [self.run() for _ in range(3)]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="two checkouts of molgeo, the same steps in turn")
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--repeats", type=int, default=20, help="steps of each side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock", choices=("wall", "cpu"), default="wall",
        help="cpu: seconds that the process was given, for a busy machine; with --threads 1",
    )  # fmt: skip
    parser.add_argument("--matmul-precision", default="highest")
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    if "--step" in sys.argv:
        asked = _parse(None)
        serve(asked.clock, asked.matmul_precision)
    else:
        main()
