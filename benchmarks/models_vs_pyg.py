"""molgeo's models beside PyG's: same weights, same molecules, one run.

    python benchmarks/models_vs_pyg.py
    python benchmarks/models_vs_pyg.py --models schnet --batches 32 --modes infer --repeats 50

First the results are compared; then steps of inference, training, forces, force training and
dynamics are timed in turn. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measure import Quartiles, Step, alternate, matrix_products, peak_memory
from pyg_graphs import estimated_bytes, finder
from sides import MODELS, MODES, Case, molecules
from tables import HEADER, line
from traffic import bandwidth, bytes_moved

from molgeo.data.molecules import MoleculeSet

TOLERANCE = 1e-4
"""Relative, float32."""
ROUNDING = {"float32": 1e-2, "float64": 1e-8}
"""Relative, where float32 alone does not decide."""
PRECISIONS = ("highest", "high", "medium")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    name, source = molecules()
    environment = _environment(options, name)
    report: dict[str, Any] = {"environment": environment, "rows": [], "loader": []}
    print(_describe(environment), HEADER, sep="\n", flush=True)
    for model in options.models:
        for batch_size in options.batches:
            _measure(model, source, batch_size, options, report)
        if "md" in options.modes:
            _measure(model, source, 1, options, report, modes=["md"])
    for row in report["loader"]:
        print(
            f"\nloader, batch {row['batch']}: {row['ms']['median']:.3f} ms, "
            f"{row['share_of_train']:.2%} of SchNet's training step",
            end="",
        )
    print()
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _measure(
    model: str,
    source: MoleculeSet,
    batch_size: int,
    options: argparse.Namespace,
    report: dict[str, Any],
    modes: Sequence[str] = (),
) -> None:
    """Add to the report all that is measured of one model at one batch size."""
    case = Case(model, source, batch_size, torch.device(options.device))
    modes = modes or [mode for mode in options.modes if mode != "md"]
    fitting = [m for m in modes if estimated_bytes(model, m, case.graph) < options.pyg_gb * 1e9]
    with case.pyg_edges():
        torch.set_float32_matmul_precision("highest")
        differences = {mode: case.differences(mode) for mode in fitting}
        for mode, found in differences.items():
            if not agree(case, mode, found):
                sys.exit(f"{model}, batch {batch_size}, {mode}: results differ by {found}")
        for mode in modes:
            row = _row(case, mode, differences.get(mode), options, report)
            report["rows"].append(row)
            print(line(row), flush=True)


def agree(case: Case, mode: str, found: dict[str, float]) -> bool:
    """Whether both sides compute the same, and what keeps them apart is rounding.

    Second derivatives of a deep model lose digits: there the float64 results have to agree.
    """
    worst = max(found.values())
    if worst <= TOLERANCE:  # false for NaN
        return True
    exact = case.doubled().differences(mode)
    return worst <= ROUNDING["float32"] and max(exact.values()) <= ROUNDING["float64"]


def _row(
    case: Case,
    mode: str,
    differences: dict[str, float] | None,
    options: argparse.Namespace,
    report: dict[str, Any],
) -> dict[str, Any]:
    """One row of the table, with PyG's figures where it has been compared."""
    sides = ["molgeo"] if differences is None else ["molgeo", "pyg"]
    steps = {side: _step(case, mode, side, options) for side in sides}
    times, gemm = _time(case, mode, steps, options, report)
    seconds = {side: Quartiles.of(times[side]) for side in sides}
    alone = {side: Quartiles.of(gemm[side]) for side in sides}
    row: dict[str, Any] = {
        "model": case.model,
        "mode": mode,
        "batch": len(case.rows),
        "atoms": case.graph.n_atoms,
        "edges": case.graph.n_edges,
        "pyg_edges": case.found,
        "rounds": len(times["molgeo"]),
        "difference": differences,
        "ms": {side: _ms(value) for side, value in seconds.items()},
        "peak_mb": {side: peak_memory(steps[side], case.device) / 1e6 for side in sides},
        "gemm_ms": {side: _ms(value) for side, value in alone.items()},
        "gemm_share": {side: alone[side].median / seconds[side].median for side in sides},
    }
    if differences is None:
        gb = estimated_bytes(case.model, mode, case.graph) / 1e9
        row["pyg_skipped"] = f"PyG would take about {gb:.0f} GB"
    else:
        # Neighbours in time share the machine's mood: the ratio is taken round by round.
        ratios = [theirs / ours for ours, theirs in zip(times["molgeo"], times["pyg"], strict=True)]
        row["ratio"] = Quartiles.of(ratios)._asdict()
    if rate := report["environment"].get("bandwidth_gb_s"):
        moved = {side: bytes_moved(steps[side]) for side in sides}
        row["moved_mb"] = {side: value / 1e6 for side, value in moved.items()}
        row["memory_limit_ms"] = {side: value / rate / 1e6 for side, value in moved.items()}
    return row


def _step(case: Case, mode: str, side: str, options: argparse.Namespace) -> Step:
    """A step of one side in its precision."""
    mine = side == "molgeo"
    precision = options.matmul_precision if mine else options.pyg_matmul_precision

    def step() -> None:
        torch.set_float32_matmul_precision(precision)
        getattr(case, mode)(side)

    return step


def _time(
    case: Case,
    mode: str,
    steps: dict[str, Step],
    options: argparse.Namespace,
    report: dict[str, Any],
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each side, and of its dense products alone."""
    products = {f"{side} gemm": matrix_products(step, case.device) for side, step in steps.items()}
    loader = {"loader": case.load} if (case.model, mode) == ("schnet", "train") else {}
    everything = {**steps, **products, **loader}
    times = alternate(everything, options.repeats, case.device, options.clock, options.limit_s)
    if loader:
        batching, step = (Quartiles.of(times[x]) for x in ("loader", "molgeo"))
        share = batching.median / step.median
        found = {"batch": len(case.rows), "ms": _ms(batching), "share_of_train": share}
        report["loader"].append(found)
    return times, {side: times[f"{side} gemm"] for side in steps}


def _ms(seconds: Quartiles) -> dict[str, float]:
    return {name: 1e3 * value for name, value in seconds._asdict().items()}


def _environment(options: argparse.Namespace, data: str) -> dict[str, Any]:
    """What the figures depend on."""
    import torch_geometric

    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    return {
        "data": data,
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "threads": options.threads,
        "clock": options.clock,
        "repeats": options.repeats,
        "matmul_precision": options.matmul_precision,
        "pyg_matmul_precision": options.pyg_matmul_precision,
        "bandwidth_gb_s": bandwidth(device) / 1e9 if on_gpu or options.traffic else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "pyg_edges": {model: finder(model) for model in options.models},
    }


def _describe(environment: dict[str, Any]) -> str:
    """The environment in words."""
    lines = [f"{name}: {value}" for name, value in environment.items() if name != "pyg_edges"]
    for model, found in environment["pyg_edges"].items():
        graph = "edges" if model == "schnet" else "edges and triplets"
        if found == "given":
            lines.append(
                f"PyG's {model} is GIVEN its {graph}, made outside the timed region (no compiled "
                "extensions here); molgeo finds its own inside it, so PyG is favoured"
            )
        else:
            lines.append(f"PyG's {model} finds its {graph} itself, with {found}")
    if "dimenet" in environment["pyg_edges"]:
        lines.append(
            "dimenet: compared with PyG with the angle of the published code, timed with the "
            "paper's, its default"
        )
    return "\n".join(lines) + "\n"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="molgeo's models beside PyG's, in one run")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32, 128])
    parser.add_argument("--repeats", type=int, default=20, help="timed rounds of each step")
    parser.add_argument("--limit-s", type=float, default=120.0, help="seconds a row; 3 rounds")
    parser.add_argument("--pyg-gb", type=float, default=8.0, help="memory that PyG may take")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: this process's CPU seconds, for a busy machine; only with --threads 1",
    )
    parser.add_argument("--matmul-precision", choices=PRECISIONS, default="highest")
    parser.add_argument(
        "--pyg-matmul-precision", choices=PRECISIONS, help="as molgeo's, unless given"
    )
    parser.add_argument("--traffic", action="store_true", help="the memory limit on a CPU, too")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    if options.clock == "cpu" and (options.threads != 1 or options.device != "cpu"):
        parser.error("--clock cpu needs --threads 1 and --device cpu")
    options.pyg_matmul_precision = options.pyg_matmul_precision or options.matmul_precision
    return options


if __name__ == "__main__":
    main()
