"""molgeo's models beside PyG's: same weights, same molecules, one run.

    python benchmarks/models_vs_pyg.py
    python benchmarks/models_vs_pyg.py --models schnet --batches 32 --repeats 50 --json out.json

First the results are compared; then inference and training steps are timed in turn. See README.md
beside this file.
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
from sides import MODELS, MODES, Case, has_extensions, molecules

from molgeo.datasets.molecules import MoleculeSet

TOLERANCE = 1e-4
"""Relative, float32."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision(options.matmul_precision)
    name, source = molecules()
    report: dict[str, Any] = {"environment": _environment(options, name), "rows": [], "loader": []}
    print(_describe(report["environment"]), HEADER, sep="\n", flush=True)
    for model in options.models:
        for batch_size in options.batches:
            measured = _measure(model, source, batch_size, options)
            report["rows"] += measured["rows"]
            report["loader"] += measured["loader"]
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
    model: str, source: MoleculeSet, batch_size: int, options: argparse.Namespace
) -> dict[str, Any]:
    """All that is measured of one model at one batch size."""
    case = Case(model, source, batch_size, torch.device(options.device))
    rows, loader = [], []
    with case.given_edges():
        differences = case.differences()
        # Reduced precision is meant to differ; float32 is not.
        if options.matmul_precision == "highest" and max(differences.values()) > TOLERANCE:
            sys.exit(f"{model}, batch {batch_size}: results differ by {differences}")
        for mode in MODES:
            times, gemm, memory = _time(case, mode, options)
            rows.append(_row(case, mode, times, gemm, memory, differences))
            print(_line(rows[-1]), flush=True)
            if "loader" in times:
                batching, step = (Quartiles.of(times[x]) for x in ("loader", "molgeo"))
                share = batching.median / step.median
                row = {"batch": batch_size, "ms": _ms(batching), "share_of_train": share}
                loader.append(row)
    return {"rows": rows, "loader": loader}


def _time(
    case: Case, mode: str, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, int]]:
    """Seconds of each side, of its dense products alone, and its peak memory in bytes."""

    def step(side: str) -> Step:
        return lambda: getattr(case, mode)(side)

    steps = {side: step(side) for side in case.sides}
    products = {f"{side} gemm": matrix_products(steps[side], case.device) for side in steps}
    loader = {"loader": case.load} if (case.model, mode) == ("schnet", "train") else {}
    times = alternate({**steps, **products, **loader}, options.repeats, case.device, options.clock)
    gemm = {side: times.pop(f"{side} gemm") for side in steps}
    memory = {side: peak_memory(steps[side], case.device) for side in steps}
    return times, gemm, memory


def _row(
    case: Case,
    mode: str,
    times: dict[str, list[float]],
    gemm: dict[str, list[float]],
    memory: dict[str, int],
    differences: dict[str, float],
) -> dict[str, Any]:
    """One row of the table."""
    # Neighbours in time share the machine's mood: the ratio is taken round by round.
    ratios = [theirs / ours for ours, theirs in zip(times["molgeo"], times["pyg"], strict=True)]
    seconds = {side: Quartiles.of(times[side]) for side in case.sides}
    alone = {side: Quartiles.of(gemm[side]) for side in case.sides}
    return {
        "model": case.model,
        "mode": mode,
        "batch": len(case.rows),
        "atoms": case.graph.n_atoms,
        "edges": case.graph.n_edges,
        "pyg_edges": "own" if case.finds_edges else "given",
        "difference": differences,
        "ms": {side: _ms(value) for side, value in seconds.items()},
        "ratio": Quartiles.of(ratios)._asdict(),
        "peak_mb": {side: value / 1e6 for side, value in memory.items()},
        "gemm_ms": {side: _ms(value) for side, value in alone.items()},
        "gemm_share": {side: alone[side].median / seconds[side].median for side in alone},
    }


HEADER = (
    "| model | mode | batch | molgeo ms | PyG ms | ratio (quartiles) | peak MB molgeo / PyG "
    "| GEMM share molgeo / PyG | difference |\n|---|---|--:|--:|--:|--:|--:|--:|--:|"
)


def _line(row: dict[str, Any]) -> str:
    """A row as Markdown."""
    ms, ratio, peak, share = row["ms"], row["ratio"], row["peak_mb"], row["gemm_share"]
    return (
        f"| {row['model']} | {row['mode']} | {row['batch']} "
        f"| {ms['molgeo']['median']:.2f} | {ms['pyg']['median']:.2f} "
        f"| **{ratio['median']:.2f}** ({ratio['q1']:.2f}–{ratio['q3']:.2f}) "
        f"| {peak['molgeo']:.1f} / {peak['pyg']:.1f} "
        f"| {share['molgeo']:.0%} / {share['pyg']:.0%} "
        f"| {max(row['difference'].values()):.0e} |"
    )


def _ms(seconds: Quartiles) -> dict[str, float]:
    return {name: 1e3 * value for name, value in seconds._asdict().items()}


def _environment(options: argparse.Namespace, data: str) -> dict[str, Any]:
    """What the figures depend on."""
    import torch_geometric

    device = torch.device(options.device)
    return {
        "data": data,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": options.threads,
        "clock": options.clock,
        "repeats": options.repeats,
        "matmul_precision": options.matmul_precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "pyg_edges": {m: "own" if has_extensions(m) else "given" for m in options.models},
    }


def _describe(environment: dict[str, Any]) -> str:
    """The environment in words."""
    lines = [f"{name}: {value}" for name, value in environment.items() if name != "pyg_edges"]
    for model, edges in environment["pyg_edges"].items():
        graph = "edges" if model == "schnet" else "edges and triplets"
        if edges == "own":
            lines.append(f"PyG's {model} finds its {graph} itself, with its compiled extensions")
        else:
            lines.append(
                f"PyG's {model} is GIVEN its {graph}, made outside the timed region (no compiled "
                "extensions here); molgeo finds its own inside it, so PyG is favoured"
            )
    return "\n".join(lines) + "\n"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="molgeo's models beside PyG's, in one run")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["schnet", "dimenet_pp"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32, 128])
    parser.add_argument("--repeats", type=int, default=20, help="timed rounds of each step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: this process's CPU seconds, for a busy machine; only with --threads 1",
    )
    parser.add_argument(
        "--matmul-precision", choices=("highest", "high", "medium"), default="highest"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args(arguments)
    if options.clock == "cpu" and (options.threads != 1 or options.device != "cpu"):
        parser.error("--clock cpu needs --threads 1 and --device cpu")
    return options


if __name__ == "__main__":
    main()
