"""Cost of energy and forces of one system, against its atoms and against its neighbours.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --atoms 9 100 --waters 64 --forms gram reference

Writes scaling.json, scaling_atoms.png and scaling_neighbours.png. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import torch
from measure import Quartiles, Step, alternate, peak_memory
from plots import plot_atoms, plot_neighbours
from pyg_graphs import estimated_bytes, given_by_us, given_triplets, n_triplets, periodic
from sides import FIELDS, built, molecules
from systems import System, chain, energy_and_forces, molecule, water_box
from torch import Tensor, nn

from molgeo import models
from molgeo.graph import Graph
from molgeo.ops.directional import Form, directional_sum

MODELS = ("schnet", "dimenet_pp")
CUTOFF = 5.0
"""Å, of both models, so that both see the same edges."""
TOLERANCE = 1e-4
HEADER = (
    "| system | model | atoms | neighbours | molgeo ms | PyG ms | ratio | peak MB molgeo / PyG |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|"
)
HEADER_NEIGHBOURS = (
    "| form | cutoff Å | neighbours | step ms | directional sum ms |\n|---|--:|--:|--:|--:|"
)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark, write its files and return what it writes."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    _, source = molecules()
    systems = [molecule(source, n) if n < 30 else chain(n) for n in options.atoms]
    systems += [water_box(n) for n in options.waters]
    report: dict[str, Any] = {"environment": vars(options) | {"torch": torch.__version__}}
    report["environment"]["out"] = str(options.out)
    report["atoms"], report["neighbours"] = [], []
    print(HEADER)
    for system in systems:
        for model in options.models:
            row = measure(model, system.to(device), options)
            report["atoms"].append(row)
            print(_line(row), flush=True)
    print("\n" + HEADER_NEIGHBOURS)
    box = water_box(options.neighbour_waters).to(device)
    for cutoff in options.cutoffs:
        for row in compare_forms(box, cutoff, options):
            report["neighbours"].append(row)
            print(_neighbour_line(row), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scaling.json").write_text(json.dumps(report, indent=1) + "\n")
    plot_atoms(report["atoms"], options.out / "scaling_atoms.png")
    plot_neighbours(report["neighbours"], options.out / "scaling_neighbours.png")
    return report


def measure(model: str, system: System, options: argparse.Namespace) -> dict[str, Any]:
    """Energy and forces of one system on both sides: molgeo finds its edges, PyG is given them."""
    fields = {**FIELDS[model], "cutoff": CUTOFF}
    ours, _, theirs = (side.to(system.pos.device) for side in built(model, tuple(fields.items())))
    graph = system.graph(CUTOFF)
    gb = estimated_bytes(model, "forces", graph) / 1e9
    row: dict[str, Any] = {
        "system": system.name,
        "periodic": system.cell is not None,
        "model": model,
        "atoms": graph.n_atoms,
        "edges": graph.n_edges,
        "triplets": n_triplets(graph),
    }
    steps: dict[str, Step] = {"molgeo": lambda: energy_and_forces(ours, system)}
    fits = gb < options.pyg_gb
    with given_by_us(model, theirs, graph) if fits else nullcontext():
        if fits:
            found = given_triplets(graph) if model != "schnet" else ()
            steps["pyg"] = lambda: pyg_energy_and_forces(theirs, system, graph, found)
            row["difference"] = _difference(steps, system.name)
        else:
            row["pyg_skipped"] = f"would take about {gb:.0f} GB"
        times = alternate(steps, options.repeats, system.pos.device, limit_s=options.limit_s)
        row["peak_mb"] = {s: peak_memory(x, system.pos.device) / 1e6 for s, x in steps.items()}
    row["ms"] = {s: _ms(x) for s, x in times.items()}
    if "pyg" in times:
        ratios = [b / a for a, b in zip(times["molgeo"], times["pyg"], strict=True)]
        row["ratio"] = Quartiles.of(ratios)._asdict()
    return row


def pyg_energy_and_forces(
    theirs: nn.Module, system: System, graph: Graph, found: tuple[Tensor, ...]
) -> tuple[Tensor, Tensor]:
    """The same by PyG on given edges, and for DimeNet++ triplets."""
    pos = system.pos.detach().requires_grad_()
    if system.cell is not None and found:
        energy = periodic(theirs, system.z, pos, graph, found)
    else:
        energy = theirs(system.z, pos, torch.zeros_like(system.z))
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    return energy.detach(), -gradient


def compare_forms(box: System, cutoff: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each form of the directional sum in one box: an MD step, and the sums alone."""
    graph = box.graph(cutoff)
    steps: dict[str, Step] = {}
    for form in options.forms:
        gb = 4 * n_triplets(graph) * 3000 / 1e9  # filters of each triplet, four blocks
        if form == "reference" and gb > options.pyg_gb:
            print(f"reference, {cutoff} Å: skipped, it would take about {gb:.0f} GB")
            continue
        torch.manual_seed(0)
        fields = {**FIELDS["dimenet_pp"], "cutoff": cutoff, "form": form}
        steps[form] = _step(models.build("dimenet_pp", fields).to(box.pos.device), box)
        steps[f"{form} sum"] = _sums(form, graph, box)
    times = alternate(steps, options.repeats, box.pos.device, limit_s=options.limit_s)
    return [
        {
            "form": form,
            "cutoff": cutoff,
            "neighbours": graph.n_edges / graph.n_atoms,
            "atoms": graph.n_atoms,
            "step_ms": _ms(times[form]),
            "sum_ms": _ms(times[f"{form} sum"]),
        }
        for form in options.forms
        if form in times
    ]


def _step(model: nn.Module, box: System) -> Step:
    return lambda: energy_and_forces(model, box)


def _sums(form: Form, graph: Graph, box: System) -> Step:
    """Four sums of the published sizes and their derivatives by features, filters and geometry."""
    torch.manual_seed(0)
    device = box.pos.device
    delta = graph.displacements(box.pos)
    unit = (delta / delta.norm(dim=1, keepdim=True)).requires_grad_()
    x = torch.randn(graph.n_edges, 64, device=device, requires_grad=True)
    radial = torch.randn(len(unit), 7, 8, device=device, requires_grad=True)
    weight = torch.randn(64, 8, device=device)

    def step() -> None:
        triplet_sum = directional_sum(unit, graph, 7, form)
        total = sum(triplet_sum(x, radial, weight).sum() for _ in range(4))
        torch.autograd.grad(total, (x, radial, unit))

    return step


def _difference(steps: dict[str, Step], name: str) -> float:
    (e, f), (energy, forces) = (steps[side]() for side in ("molgeo", "pyg"))  # type: ignore[misc]
    found = [(e.flatten() - energy.flatten()) / energy.abs().max()]
    found += [(f - forces).flatten() / forces.abs().max()]
    worst = float(torch.cat(found).abs().max())
    if not worst <= TOLERANCE:
        sys.exit(f"{name}: results differ by {worst}")
    return worst


def _ms(seconds: list[float]) -> dict[str, float]:
    return {name: 1e3 * value for name, value in Quartiles.of(seconds)._asdict().items()}


def _line(row: dict[str, Any]) -> str:
    """A row as Markdown."""
    pyg = f"{row['ms']['pyg']['median']:.1f}" if "pyg" in row["ms"] else "–"
    ratio = f"**{row['ratio']['median']:.2f}**" if "ratio" in row else row["pyg_skipped"]
    peak = [f"{row['peak_mb'][s]:.0f}" if s in row["peak_mb"] else "–" for s in ("molgeo", "pyg")]
    return (
        f"| {row['system']} | {row['model']} | {row['atoms']} "
        f"| {row['edges'] / row['atoms']:.1f} | {row['ms']['molgeo']['median']:.1f} "
        f"| {pyg} | {ratio} | {' / '.join(peak)} |"
    )


def _neighbour_line(row: dict[str, Any]) -> str:
    return (
        f"| {row['form']} | {row['cutoff']:g} | {row['neighbours']:.1f} "
        f"| {row['step_ms']['median']:.1f} | {row['sum_ms']['median']:.1f} |"
    )


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="cost against atoms and against neighbours")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--atoms", nargs="*", type=int, default=[9, 21, 100, 1000])
    parser.add_argument("--waters", nargs="*", type=int, default=[64, 216, 1000])
    parser.add_argument("--cutoffs", nargs="*", type=float, default=[3.0, 4.0, 5.0, 6.0, 7.0])
    parser.add_argument("--neighbour-waters", type=int, default=64, help="of the second part's box")
    parser.add_argument("--forms", nargs="+", default=list(get_args(Form)))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--limit-s", type=float, default=60.0, help="seconds a row; 3 rounds")
    parser.add_argument("--pyg-gb", type=float, default=8.0, help="memory that PyG may take")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
