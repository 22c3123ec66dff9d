"""A step of molecular dynamics through ASE: molgeo's calculator, its model alone, and PyG's model.

    python benchmarks/calculator.py
    python benchmarks/calculator.py --threads 1 --clock cpu --repeats 200    # on a busy machine

Ethanol under VelocityVerlet, DimeNet++ of the published size, the same weights on both sides. First
the forces are compared; then the steps are timed in turn. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet
from measure import Quartiles, Step, alternate
from pyg_graphs import finder, found_by_pyg, given_by_us
from sides import FIELDS, built
from torch import Tensor, nn

from molgeo.data.forces.properties import ENERGY
from molgeo.graph import Graph, radius_graph
from molgeo.predictor import Predictor
from molgeo.predictor.header import Facts
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.replay import REPLAY_AFTER

TOLERANCE = 1e-4
"""Relative, of forces in float32."""
TIMESTEP_FS = 1e-3
"""Atoms move, and stay where they are: random weights hold no molecule together."""


class Published(nn.Module):
    """The published readout in the place of molgeo's heads, so that both sides are one function."""

    properties, kinds, twofold = (ENERGY,), ("sum",), ()

    def per_atom(self, features: Tensor) -> tuple[Tensor, None]:
        """The atoms' summands, (atoms, 1)."""
        return features, None


class PyGCalculator(Calculator):
    """PyG's model as its users wrap it."""

    implemented_properties = ("energy", "free_energy", "forces")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill ``results``."""
        super().calculate(atoms, properties, system_changes)
        z = torch.from_numpy(self.atoms.numbers).long()
        pos = torch.from_numpy(self.atoms.positions).float().requires_grad_()
        energy = self.model(z, pos, torch.zeros_like(z))
        (gradient,) = torch.autograd.grad(energy.sum(), pos)
        value = energy.item()
        forces = -gradient.double().numpy()
        self.results = {"energy": value, "free_energy": value, "forces": forces}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.02, seed=0)
    ours, _, theirs = built("dimenet_pp", tuple(FIELDS["dimenet_pp"].items()))
    calc = MolgeoCalculator(_predictor(ours), "cpu", skin=options.skin)
    pos = torch.from_numpy(atoms.positions).float()
    with _pyg_edges(theirs, radius_graph(pos, ours.cutoff)):
        both = {"molgeo": calc, "pyg": PyGCalculator(theirs)}
        difference = _difference(atoms, both)
        if not difference <= TOLERANCE:
            sys.exit(f"forces differ by {difference}")
        steps = {name: _step(atoms, each) for name, each in both.items()}
        young = MolgeoCalculator(_predictor(ours), "cpu", skin=options.skin)
        steps["evaluated"] = _step(atoms, young, REPLAY_AFTER // 4)
        for _ in range(REPLAY_AFTER + 1):
            steps["molgeo"]()  # as in any run of some length, the steps are replayed
        steps["model alone"] = _alone(atoms, calc)
        steps["graph"] = _graph(atoms, calc)
        device = torch.device("cpu")
        times = alternate(steps, options.repeats, device, options.clock, options.limit_s)
    report = _report(times, difference, options)
    print(_describe(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _predictor(ours: nn.Module) -> Predictor:
    """The published model as a force field."""
    fields = {k: v for k, v in vars(ours.config).items() if k != "n_out"}
    predictor = Predictor("dimenet_pp", fields, (ENERGY,))
    predictor.backbone, predictor.heads = ours, Published()  # type: ignore[assignment]
    predictor.header = Facts(trained_on_forces=True)
    return predictor


def _pyg_edges(theirs: nn.Module, graph: Graph) -> Any:
    """Let PyG find its edges where it can, else give it those of the start."""
    if finder("dimenet_pp") == "given":
        return given_by_us("dimenet_pp", theirs, graph)
    return found_by_pyg("dimenet_pp", theirs, len(graph.batch))


def _difference(atoms: Atoms, both: dict[str, Calculator]) -> float:
    ours, theirs = (each.get_forces(atoms) for each in both.values())
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def _step(atoms: Atoms, calc: Calculator, forget_after: int = 0) -> Step:
    """One step of an integrator, with all that ASE does about it.

    Args:
        atoms: copied.
        calc: computes the forces.
        forget_after: steps after which molgeo's calculator begins anew, before it makes a
            recording; 0 for never.
    """
    own = atoms.copy()
    own.calc = calc
    own.set_momenta(np.full((len(own), 3), 0.1))
    dynamics = VelocityVerlet(own, TIMESTEP_FS * units.fs)

    def step() -> None:
        dynamics.run(1)
        if forget_after and dynamics.nsteps % forget_after == 0:
            for each in calc._replayed:
                each.forget()

    return step


def _alone(atoms: Atoms, calc: MolgeoCalculator) -> Step:
    """The same evaluation without ASE: tensors in, tensors out."""
    pos, graph = calc.neighbours(atoms.positions, atoms.cell.array, atoms.pbc)
    (model,), z = calc.models, calc._z
    return lambda: model.potential(z, pos, graph)


def _graph(atoms: Atoms, calc: MolgeoCalculator) -> Step:
    """What the calculator does when an atom has moved by half the skin."""
    skinned = type(calc.neighbours)(
        calc.neighbours.cutoff, calc.neighbours.skin, torch.float32, torch.device("cpu")
    )
    return lambda: skinned.build(atoms.positions, atoms.cell.array, atoms.pbc)


def _report(
    times: dict[str, list[float]], difference: float, options: argparse.Namespace
) -> dict[str, Any]:
    def ratio(a: str, b: str) -> dict[str, float]:
        pairs = zip(times[a], times[b], strict=True)
        return Quartiles.of([x / y for x, y in pairs])._asdict()

    return {
        "threads": options.threads,
        "clock": options.clock,
        "torch": torch.__version__,
        "pyg_edges": finder("dimenet_pp"),
        "difference": difference,
        "ms": {k: 1e3 * Quartiles.of(v).median for k, v in times.items()},
        "evaluated / model alone": ratio("evaluated", "model alone"),
        "pyg / evaluated": ratio("pyg", "evaluated"),
        "pyg / molgeo": ratio("pyg", "molgeo"),
    }


def _describe(report: dict[str, Any]) -> str:
    lines = [
        f"torch {report['torch']}, {report['threads']} threads, {report['clock']} clock, "
        f"PyG's edges and triplets: {report['pyg_edges']}; forces differ by "
        f"{report['difference']:.0e}",
    ]
    lines += [f"{name:12} {ms:8.2f} ms" for name, ms in report["ms"].items()]
    for name in ("evaluated / model alone", "pyg / evaluated", "pyg / molgeo"):
        r = report[name]
        lines.append(f"{name}: {r['median']:.2f} ({r['q1']:.2f}–{r['q3']:.2f})")
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--limit-s", type=float, default=300.0)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--skin", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
