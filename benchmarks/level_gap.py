"""Four ways from a force-field geometry to the labels of the relaxed molecule, at equal steps.

A model of relaxed (B3LYP) geometries is given MMFF94 ones of the same conformers. Each way starts
from that model and takes the same number of steps on the training part:

* ``pairs``: the whole model goes on, at MMFF94 geometries with the relaxed molecules' labels;
* ``heads``: only its heads do, on frozen atom features: a correction that knows the source;
* ``noise``: the whole model goes on at relaxed geometries with Gaussian noise as large as the
  difference between the two levels; no pairs are needed;
* ``refiner``: a second network carries the atoms to where B3LYP has them, and the model stays as
  it is:  r_i ← r_i + Σ_j w_ij (r_i − r_j) / d_ij,  w_ij = w_ji of the features of i and j and d_ij
  (equivariant, without net force). Its loss is the error of the distances within the cutoff.

    python benchmarks/level_gap.py --steps 1700 --limit 2000
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molgeo.data.loader import FlatLoader
from molgeo.data.location import data_dir
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.graph import Graph, radius_graph
from molgeo.models.schnet import SchNet
from molgeo.ops.basis.envelope import cosine_cutoff
from molgeo.ops.dense import ActivatedDense, Dense
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load
from molgeo.runtime.precision import matmul_precision
from molgeo.training.optimisation import exponential_average, learning_rate_factor, optimiser_of
from molgeo.training.qm9 import QM9Config

WAYS = ("plain", "heads", "noise", "pairs", "refiner")
Loss = Callable[[Any], Tensor]


class Refiner(nn.Module):
    """Moves atoms along the lines to their neighbours, by at most some tenths of an Å.

    Args:
        features: of the backbone's atoms.
        cutoff: Å.
    """

    def __init__(self, features: int = 128, cutoff: float = 5.0) -> None:
        super().__init__()
        self.backbone = SchNet(
            n_features=features,
            n_filters=features,
            n_blocks=4,
            n_gaussians=48,
            cutoff=cutoff,
            activation="silu",
            n_out=None,
        )
        self.of_atoms = Dense(features, features)
        self.of_pairs = ActivatedDense(48, features)
        self.out = Dense(features, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Refined positions, (atoms, 3) Å."""
        h = self.of_atoms(self.backbone.atom_features(z, pos, graph))
        i, j = graph.target[graph.forward], graph.source[graph.forward]
        between = pos[i] - pos[j]
        d = between.norm(dim=-1)
        both = (h[i] + h[j]) * self.of_pairs(self.backbone.basis(d))
        w: Tensor = self.out(nn.functional.silu(both))
        fade = cosine_cutoff(d, self.backbone.cutoff).unsqueeze(-1)
        step = 0.1 * w * fade * between / d.unsqueeze(-1)
        return pos + torch.zeros_like(pos).index_add(0, i, step).index_add(0, j, -step)


class Paired:
    """MMFF94 and relaxed geometries of the same molecules, atom by atom."""

    def __init__(self) -> None:
        data = QM9(data_dir() / "qm9")
        cheap = data.geometry("mmff")
        self.exists = cheap.exists
        self.relaxed, self._cheap = data.molecules, cheap.molecules
        self._first = cheap.first
        self.parts = data.split()

    def rows(self, part: Tensor, limit: int = 0) -> Tensor:
        """Rows of a part that have both geometries."""
        kept = part[self.exists[part]]
        return kept[: limit or None]

    def cheap(self, rows: Tensor) -> Any:
        """A batch at MMFF94 geometries."""
        return self._cheap.batch(self._first[rows])

    def noise(self) -> float:
        """Å a coordinate: what explains the median change of distances below 3 Å."""
        rows = self.parts.validation[:500]
        rows = rows[self.exists[rows]]
        a, b = self.cheap(rows), self.relaxed.batch(rows)
        graph = radius_graph(b.pos, 3.0, b.batch)
        change = (graph.distances(a.pos) - graph.distances(b.pos)).abs()
        return float(change.median()) / 0.6745 / 2**0.5


def property_loss(predictor: Predictor, batch: Any, pos: Tensor) -> Tensor:
    """(molecules, properties) absolute errors of the standardised properties."""
    graph = radius_graph(pos, predictor.cutoff, batch.batch)
    labels = predictor.to_standardised(batch.y, batch.z, pos, graph)
    return (predictor.standardised(batch.z, pos, graph) - labels).abs()


def train(model: nn.Module, loss: Loss, loader: FlatLoader, steps: int, rate: float) -> None:
    """Muon, cosine to zero; the model ends with its averaged weights."""
    warm_up = max(1, min(100, steps // 5))
    config = QM9Config(
        optimizer="muon",
        learning_rate=rate,
        weight_decay=0.0,
        warmup_steps=warm_up,
        schedule="cosine",
    )
    optimiser, factor = optimiser_of(model, config), learning_rate_factor(config, steps)
    weights = [p for p in model.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in weights]
    average, done = exponential_average(0.999), 0
    while done < steps:
        for batch in loader:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor(done)
            optimiser.zero_grad()
            loss(batch).backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            optimiser.step()
            average(averages, [p.detach() for p in weights], torch.tensor(done))
            done += 1
            if done == steps:
                break
    with torch.no_grad():
        for p, a in zip(weights, averages, strict=True):
            p.copy_(a)


def run(way: str, data: Paired, steps: int, limit: int, batch_size: int) -> dict[str, Any]:
    """Train one way and measure it on test molecules."""
    torch.manual_seed(0)
    before = load("schnet-qm9")
    properties = before.property_names
    relaxed = data.relaxed.select(properties)
    loader = FlatLoader(relaxed, data.rows(data.parts.train), batch_size, seed=7)
    predictor, refiner = copy.deepcopy(before).train(), Refiner()
    row_of = torch.full((int(relaxed.idx.max()) + 1,), -1)
    row_of[relaxed.idx] = torch.arange(len(relaxed))
    sigma = data.noise()

    def cheap_pos(batch: Any) -> Tensor:
        pos: Tensor = data.cheap(row_of[batch.idx]).pos
        return pos

    def loss(batch: Any) -> Tensor:
        if way == "refiner":
            pos = cheap_pos(batch)
            graph = radius_graph(pos, refiner.backbone.cutoff, batch.batch)
            moved = refiner(batch.z, pos, graph)
            error = (graph.distances(moved) - graph.distances(batch.pos)).abs()
            return error.mean() * 10.0
        noisy = batch.pos + sigma * torch.randn_like(batch.pos)
        pos = noisy if way == "noise" else cheap_pos(batch)
        return property_loss(predictor, batch, pos).mean()

    if way == "heads":
        predictor.backbone.requires_grad_(False)
    started = time.perf_counter()
    if way != "plain":
        model = refiner if way == "refiner" else predictor
        with matmul_precision("medium"):
            train(model, loss, loader, steps, 1e-3)
    minutes = (time.perf_counter() - started) / 60
    predictor.eval()
    mae = {}
    for kind in ("mmff", "dft"):
        errors, moved_by = [], []
        for batch in FlatLoader(relaxed, data.rows(data.parts.test, limit), 256):
            pos = cheap_pos(batch) if kind == "mmff" else batch.pos
            with torch.no_grad():
                if way == "refiner" and kind == "mmff":
                    graph = radius_graph(pos, refiner.backbone.cutoff, batch.batch)
                    pos = refiner(batch.z, pos, graph)
                errors.append(property_loss(predictor, batch, pos).double())
                graph = radius_graph(batch.pos, 5.0, batch.batch)
                moved_by.append((graph.distances(pos) - graph.distances(batch.pos)).abs())
        mean = torch.cat(errors).mean(0) * predictor.scale
        mae[kind] = {p: float(e) for p, e in zip(properties, mean, strict=True)}
        mae[kind]["distances"] = float(torch.cat(moved_by).mean())
    return {"way": way, "minutes": minutes, "noise": sigma, "mae": mae}


def table(results: list[dict[str, Any]], plain: dict[str, float]) -> str:
    """Errors at MMFF94 geometries, and the share of the plain model's excess that is left."""
    names = ["gap", "homo", "lumo", "alpha", "cv", "zpve", "u0", "mu", "r2"]
    lines = [
        "| way | minutes | " + " | ".join(f"{n} ({PROPERTIES[n].unit})" for n in names) + " |",
        "|---|---" + "|---" * len(names) + "|",
    ]
    base = next(r for r in results if r["way"] == "plain")["mae"]["mmff"]
    for result in results:
        mae = result["mae"]["mmff"]
        cells = [f"{mae[n]:.3g} ({(mae[n] - plain[n]) / (base[n] - plain[n]):.0%})" for n in names]
        lines.append(f"| {result['way']} | {result['minutes']:.1f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--steps", type=int, default=1700)
    parser.add_argument("--limit", type=int, default=2000, help="test molecules")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Paired()
    results = []
    for way in dict.fromkeys(["plain", *options.ways]):
        results.append(run(way, data, options.steps, options.limit, options.batch_size))
        print(json.dumps(results[-1]), flush=True)
        if options.json:
            options.json.write_text(json.dumps(results, indent=2))
    print(table(results, results[0]["mae"]["dft"]))


if __name__ == "__main__":
    main()
