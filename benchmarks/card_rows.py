"""The rows of `gpu.py`: models beside PyG's, steps of training runs, dynamics, many molecules."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib.util
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from card import measured
from measure import Step
from models_vs_pyg import agree
from pyg_graphs import found_in_pytorch, given_by_us
from sides import LEARNING_RATE, MODELS, Case, energy_and_forces, energy_loss, force_loss
from systems import System, molecule, water_box
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from molgeo.data.capacity import ladder_of
from molgeo.data.loader import FlatLoader
from molgeo.data.molecules import Batch, MoleculeSet
from molgeo.data.qm9.properties import named
from molgeo.graph import Graph
from molgeo.graph.padding import Capacity, load_of
from molgeo.graph.slots import ranked_slots
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load
from molgeo.runtime.cuda_graphs import Capture, capture_on
from molgeo.simulation.minimisation import Start, descend
from molgeo.simulation.replay import Replayed
from molgeo.simulation.together import Structure, Together
from molgeo.training.config import read_config
from molgeo.training.module import PropertyTraining
from molgeo.training.optimisation import optimiser_of, schedule_of
from molgeo.training.references import fit_references
from molgeo.training.whole_step import WholeStep

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
MODES = ("infer", "train", "forces", "force_train")
FORCE_FIELD = "spectrum_net-gfn2"
EPOCH = 110_000
"""Molecules that QM9 is trained on."""
LOOKED_AT = 8192
"""Molecules whose edges are kept for the steps of runs."""
TOLERANCE = 1e-4
"""Relative, float32, of a replay beside the evaluation."""

Row = dict[str, Any]


class GivenGraph(nn.Module):
    """A model whose graph is known, so that no call searches.

    Args:
        model: of molgeo.
        graph: of the molecules it will be called with.
    """

    def __init__(self, model: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.model, self.graph = model, graph

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """(molecules, 1); what follows from the graph is computed in every call."""
        out: Tensor = self.model(z, pos, batch, self.graph.map(lambda x: x))
        return out


def beside_pyg(
    model: str,
    source: MoleculeSet,
    batch_size: int,
    device: torch.device,
    seconds: float,
    modes: Sequence[str] = MODES,
) -> Iterator[Row]:
    """One model and batch size in some modes: molgeo and, if it has the model, PyG.

    Both sides with edges found in the timed region and with given ones, after the results were
    compared; molgeo also replayed, if the device records, as training runs and dynamics are.
    """
    case = Case(model, source, batch_size, device)
    ours, theirs = case.sides["molgeo"], case.sides["pyg"]
    graph = known_slots(case.graph)
    has_pyg = model in MODELS
    share = seconds / len(modes) / (5 if has_pyg else 3) / 2
    ways = {
        ("molgeo", "found"): nullcontext,
        ("molgeo", "given"): nullcontext,
        ("PyG", "found"): lambda: found_in_pytorch(model, theirs),
        ("PyG", "given"): lambda: given_by_us(model, theirs, case.graph),
    }
    differences = {}
    for side, edges in ways:
        if side == "PyG" and has_pyg:
            with ways[side, edges]():  # before any step of training, after which weights differ
                for mode in modes:
                    differences[edges, mode] = compared(case, mode)
    for mode in modes:
        title = {"what": model, "mode": mode, "batch": batch_size}
        for (side, edges), edges_of in ways.items():
            if side == "PyG" and not has_pyg:
                continue
            if (side, edges) == ("molgeo", "given"):
                case.sides["molgeo"] = GivenGraph(ours, graph)
            with edges_of():
                row = measured(partial(getattr(case, mode), side.lower()), device, share)
            case.sides["molgeo"] = ours
            difference = differences.get((edges, mode)) if side == "PyG" else None
            yield title | {"side": side, "edges": edges, "difference": difference} | row
        if capture := capture_on(device):
            step, eager, _ = recorded(case, mode, GivenGraph(copy.deepcopy(ours), graph), capture)
            row = measured(step, device, share, eager)
            yield title | {"side": "molgeo", "edges": "given, replayed", "difference": None} | row


def compared(case: Case, mode: str) -> float:
    """The largest relative difference between both sides, which must be that of rounding."""
    found = case.differences(mode)
    if not agree(case, mode, found):
        raise AssertionError(f"{case.model}, {mode}: molgeo and PyG differ by {found}")
    return max(found.values())


def known_slots(graph: Graph) -> Graph:
    """A graph that knows its neighbourhoods in blocks, as the gathered ones of a run do."""
    degree = graph.degree.cpu().numpy()
    blocks = Capacity(tuple(load_of(degree).tolist())).blocks
    return dataclasses.replace(graph, slots=ranked_slots(graph.ptr, graph.n_edges, blocks))


def recorded(
    case: Case, mode: str, model: nn.Module, capture: Capture
) -> tuple[Step, Step, list[Tensor]]:
    """The replay of a mode's step, the step itself, and the results of whichever was last called.

    The results of a replay are compared with those of the case.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, fused=True, capturable=case.device.type == "cuda"
    )
    results: list[Tensor] = []

    def step() -> None:
        results.clear()
        if mode == "infer":
            with torch.no_grad():
                results.append(model(case.z, case.pos, case.batch))
        elif mode == "forces":
            results.extend(energy_and_forces(model, case))
        else:
            optimizer.zero_grad()
            loss = energy_loss(model, case) if mode == "train" else force_loss(model, case)
            loss.backward()
            optimizer.step()
            results.append(loss.detach())

    is_compared = mode in ("infer", "forces")  # of the same weights, which stay as they are
    expected = getattr(case, mode)("molgeo") if is_compared else None
    replay = capture(step)
    replay()
    if is_compared:
        pairs = zip(results, [expected] if mode == "infer" else expected, strict=True)
        for found, wanted in pairs:
            difference = float((found - wanted).abs().max() / wanted.abs().max())
            if not difference <= TOLERANCE:
                raise AssertionError(f"{case.model}, {mode}: the replay differs by {difference}")
    elif not all(x.isfinite().all() for x in results):
        raise AssertionError(f"{case.model}, {mode}: the replay's loss is not finite")
    return replay, step, results


def of_run(
    config_name: str,
    batch_size: int,
    source: MoleculeSet,
    device: torch.device,
    seconds: float,
    published: bool = False,
) -> Iterator[Row]:
    """A training run's whole step with its loader, optimiser, schedule and averages.

    As `molgeo train` makes it, but without Lightning around it.

    Args:
        config_name: of a file in ``configs/``, without its ending.
        batch_size: molecules per step.
        source: the data set.
        device: where to compute.
        seconds: for the timing.
        published: with the backbone of the paper, instead of the config's.
    """
    changed = [f"batch_size={batch_size}", "replay=true", *(["backbone={}"] if published else [])]
    config = read_config(CONFIGS / f"{config_name}.yaml", changed)
    torch.manual_seed(0)
    predictor = Predictor(
        config.model, config.backbone, named(source.properties), config.head_features
    )
    rows = _looked_at(source)
    fit_references(predictor, source, rows, {})
    module = PropertyTraining(predictor, config).to(device).train()
    optimizer = optimiser_of(predictor, config, replayed=True)
    schedule = schedule_of(optimizer, config, 10_000)
    known = _with_neighbours(source, predictor.cutoff)
    ladder = ladder_of(known.neighbours.loads[rows.numpy()], batch_size)
    loader = FlatLoader(known.to(device), rows, batch_size, seed=0, ladder=ladder)
    batches = _endless(loader)
    whole, plain = (
        WholeStep(module, optimizer, AveragedModel(module, device=device), config, capture)
        for capture in (capture_on(device), None)
    )
    for _ in range(4 * len(ladder.capacities)):  # each capacity is captured once
        whole(next(batches))

    def step() -> None:
        whole(next(batches))
        schedule.step()

    row = measured(step, device, seconds / 2, lambda: plain(next(batches)))
    what = f"{config_name}{', published' if published else ''}"
    title = {"what": what, "mode": "run", "batch": batch_size, "side": "molgeo"}
    epoch_s = math.ceil(EPOCH / batch_size) * row["step_ms"] / 1e3
    yield title | {"edges": "gathered", "waste": ladder.waste, "epoch_s": epoch_s} | row


def _looked_at(source: MoleculeSet) -> Tensor:
    return torch.arange(min(len(source), LOOKED_AT))


@functools.cache
def _with_neighbours(source: MoleculeSet, cutoff: float) -> MoleculeSet:
    """A set that keeps the edges of the first molecules, found once for all rows of one cutoff."""
    return source.with_neighbours(cutoff, _looked_at(source))


def _endless(loader: FlatLoader) -> Iterator[Batch]:
    while True:
        yield from loader


def dynamics(
    source: MoleculeSet, device: torch.device, seconds: float, n_waters: int = 216
) -> Iterator[Row]:
    """A step of the shipped force field: ethanol's size and a box of 648 atoms, ethanol by ASE."""
    model, on_card = load(FORCE_FIELD).to(device), device.type == "cuda"
    for system in (molecule(source, 9), water_box(n_waters)):
        step = potential_step(model, system.to(device), on_card)
        title = {"what": system.name, "mode": "md", "batch": 1, "side": "molgeo"}
        row = measured(step, device, seconds / 6, potential_step(model, system.to(device), False))
        yield title | {"edges": "kept, replayed" if on_card else "kept"} | row
    if importlib.util.find_spec("ase"):
        step = ase_step(device)
        title = {"what": "ethanol", "mode": "md by ASE", "batch": 1, "side": "molgeo"}
        yield title | {"edges": "kept, replayed"} | measured(step, device, seconds / 6)


def potential_step(model: Predictor, system: System, replay: bool) -> Step:
    """Energy and forces, read by the host as an integrator does."""
    graph = system.graph(model.cutoff)
    replayed = Replayed(model, replay)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # that nothing is replayed
        replayed.potential(system.z, system.pos, graph)

    def step() -> None:
        found = replayed.potential(system.z, system.pos, graph)
        assert found.forces is not None
        found.forces.cpu()

    return step


def ase_step(device: torch.device) -> Step:
    """One step of ethanol by ASE's VelocityVerlet."""
    from ase import units
    from ase.build import molecule as g2
    from ase.md.verlet import VelocityVerlet

    from molgeo.simulation.calculator import MolgeoCalculator

    atoms = g2("CH3CH2OH")
    atoms.calc = MolgeoCalculator(FORCE_FIELD, device.type, replay=True)
    integrator = VelocityVerlet(atoms, 0.5 * units.fs)
    return lambda: integrator.run(1)


def relaxed(
    source: MoleculeSet, n: int, n_steps: int, device: torch.device, seconds: float
) -> Iterator[Row]:
    """Steps of relaxations per second, of many molecules together and of one alone."""
    model = load(FORCE_FIELD).to(device)
    structures = []
    for m in range(n):
        first, last = source.ptr[m % len(source) : m % len(source) + 2].tolist()
        pos = source.pos[first:last].double().numpy()
        structures.append(Structure(source.z[first:last].long().numpy(), pos))
    for size in (n, 1):
        starts = [Start(k, one) for k, one in enumerate(structures[:size])]

        taken: list[int] = []

        def step(starts: list[Start] = starts, size: int = size, taken: list[int] = taken) -> None:
            # No force is as small as that: all take all steps, if their geometry is one.
            ends = descend(starts, Together([model]), 1e-12, n_steps, size)
            taken[:] = [end.n_steps for end in ends]

        row = measured(step, device, seconds / 6, per=n_steps)
        title = {"what": "relaxation", "mode": "relax", "batch": size, "side": "molgeo"}
        rate = 1e3 * sum(taken) / (row["step_ms"] * n_steps)
        yield title | {"edges": "kept", "steps_per_s": rate} | row
