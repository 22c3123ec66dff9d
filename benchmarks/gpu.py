"""On a CUDA GPU, in under five minutes: tests that run there, then what each step costs.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --quick      # that it runs, where there is no GPU

Writes gpu.md and gpu.json. It needs torch, PyG, sympy, Lightning and pytest; QM9 and ASE are used
if they are there. What is missing, what does not fit into the time and what failed is named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from card import with_limit
from card_rows import Row, beside_pyg, dynamics, of_run, relaxed
from card_targets import verdicts
from sides import molecules
from traffic import bandwidth

from molgeo.data.molecules import MoleculeSet

ROOT = Path(__file__).resolve().parents[1]
BUDGET_S = 280.0
TESTS_S = 110.0
"""Of the budget, for the tests at most."""
LEAST_S = 3.0
"""A part with less time than this is left out."""
TESTS = (
    "tests/ops/test_filter_triton.py",
    "tests/ops/test_directional_kernels.py",
    "tests/conformance/test_steps_without_waiting.py",
    "tests/training/test_whole_step.py",
    "tests/simulation/test_calculator.py",
    "tests/conformance/test_conformance.py",
)
"""Kernels, waits, whole steps and dynamics; last, what takes longest."""
QUICK_TESTS = ("tests/graph/test_padding.py",)
HEADER = (
    "| what | mode | batch | side | edges | step ms | busy ms | launches | waits | "
    "memory limit ms | peak MB |\n|---|---|--:|---|---|--:|--:|--:|--:|--:|--:|"
)


class Part(NamedTuple):
    """Rows that are measured together.

    Attributes:
        name: for what is said of it.
        rows: makes them, from the seconds it may take.
        weight: of its share of the time.
    """

    name: str
    rows: Callable[[float], Iterator[Row]]
    weight: float


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run everything and return what it writes."""
    options = _parse(arguments)
    begin = time.perf_counter()
    device = torch.device(options.device)
    torch.set_float32_matmul_precision("highest")
    tests = run_tests(options)
    print(*tests, "", sep="\n", flush=True)
    name, source = molecules()
    rate = bandwidth(device)
    report: dict[str, Any] = {"environment": _environment(device, name, rate), "tests": tests}
    report["rows"], report["left_out"] = rows, left_out = [], []
    print(HEADER, flush=True)
    parts = _quick(source, device) if options.quick else _all(source, device)
    parts = [one for one in parts if not options.only or one.name in options.only]
    for number, part in enumerate(parts):
        left = BUDGET_S - (time.perf_counter() - begin)
        share = left * part.weight / sum(one.weight for one in parts[number:])
        if share < LEAST_S:
            left_out.append(f"{part.name}: not run, the {BUDGET_S:.0f} s are over")
            continue
        try:
            for row in part.rows(share):
                rows.append(with_limit(row, rate))
                print(_line(rows[-1]), flush=True)
            print(f"# {part.name}: {time.perf_counter() - begin:.0f} s", file=sys.stderr)
        except Exception as error:  # the other parts are measured all the same
            words = " ".join(str(error).split())[:300]
            left_out.append(f"{part.name}: FAILED, {type(error).__name__}: {words}")
        if device.type == "cuda":
            torch.cuda.empty_cache()
    if not importlib.util.find_spec("ase"):
        left_out.append("ethanol by ASE: not run, ase is not installed")
    report["targets"] = verdicts(rows, tests, on_card=device.type == "cuda")
    report["seconds"] = time.perf_counter() - begin
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "gpu.md").write_text(as_markdown(report))
    print("", *(f"* {text}" for text in (*left_out, *report["targets"])), sep="\n")
    print(f"\n{report['seconds']:.0f} s; written to {options.out / 'gpu.md'}")
    if any("FAILED" in text for text in (*tests, *left_out)):
        sys.exit("something failed: see above")
    return report


def run_tests(options: argparse.Namespace) -> list[str]:
    """Run the tests that take a device, there; what came of them, in words."""
    files = QUICK_TESTS if options.quick else TESTS
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line"]
    if importlib.util.find_spec("xdist") and not options.quick:
        command += ["-n", str(min(4, os.cpu_count() or 1)), "--dist", "worksteal"]
    try:
        run = subprocess.run(
            [*command, f"--device={options.device}", *files],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            capture_output=True,
            text=True,
            check=False,
            timeout=TESTS_S,
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        lines = (said if isinstance(said, str) else said.decode(errors="replace")).splitlines()
        failed = " FAILED" if any("F" in line.partition(" ")[0] for line in lines) else ""
        return [f"tests: not finished in {TESTS_S:.0f} s{failed}", *lines[-2:]]
    failures = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    came = "passed" if run.returncode == 0 else "FAILED"
    last = (run.stdout + run.stderr).strip().splitlines()[-2:]
    return [f"tests: {came}", *failures[:20], *last]


def _all(source: MoleculeSet, device: torch.device) -> list[Part]:
    """What is measured on a card, what has a target first."""

    def run(config: str, batch: int, weight: float, **others: Any) -> Part:
        name = f"{config}{''.join(f', {other}' for other in others)}, batch {batch}"
        return Part(
            name, lambda seconds: of_run(config, batch, source, device, seconds, **others), weight
        )

    def models(model: str, batch: int, weight: float) -> Part:
        return Part(
            f"{model}, batch {batch}",
            lambda seconds: beside_pyg(model, source, batch, device, seconds),
            weight,
        )

    return [
        run("spectrum_net_qm9", 128, 1.0),
        run("dimenet_pp_qm9", 128, 1.0),
        run("dimenet_pp_qm9", 128, 1.0, published=True),
        models("schnet", 128, 2.0),
        models("dimenet_pp", 128, 3.0),
        Part("dynamics", lambda seconds: dynamics(source, device, seconds), 1.0),
        Part("many molecules", lambda seconds: relaxed(source, 1024, 20, device, seconds), 2.0),
        models("schnet", 32, 1.0),
        models("dimenet_pp", 32, 2.0),
        models("spectrum_net", 128, 1.0),
        models("spectrum_net", 32, 1.0),
        run("spectrum_net_qm9", 512, 1.0),
        run("dimenet_pp_qm9", 512, 1.0),
        models("dimenet", 32, 2.0),
        models("dimenet", 128, 2.0),
    ]


def _quick(source: MoleculeSet, device: torch.device) -> list[Part]:
    """A little of each kind."""

    def models(model: str, *modes: str) -> Part:
        return Part(model, lambda _: beside_pyg(model, source, 2, device, 0.1, modes), 1.0)

    return [
        Part("a run", lambda _: of_run("spectrum_net_qm9", 2, source, device, 0.1), 1.0),
        models("schnet", "infer", "train", "forces", "force_train"),
        models("dimenet_pp", "forces"),
        models("spectrum_net", "train"),
        Part("dynamics", lambda _: dynamics(source, device, 0.1, n_waters=8), 1.0),
        Part("many molecules", lambda _: relaxed(source, 3, 1, device, 0.1), 1.0),
    ]


def as_markdown(report: dict[str, Any]) -> str:
    """The report as it stands in gpu.md."""
    environment = ", ".join(f"{name} {value}" for name, value in report["environment"].items())
    epochs = [row for row in report["rows"] if "epoch_s" in row]
    lines = [
        "# On a GPU\n",
        f"{environment}; {report['seconds']:.0f} s in all.\n",
        *(f"* {text}" for text in report["tests"]),
        "\n" + HEADER,
        *map(_line, report["rows"]),
        "\nQM9 epochs by these steps, without validation:\n",
        *(f"* {row['what']}, batch {row['batch']}: {row['epoch_s']:.1f} s" for row in epochs),
        "\nTargets:\n",
        *(f"* {text}" for text in report["targets"]),
        "\nLeft out:\n",
        *(f"* {text}" for text in report["left_out"] or ["nothing"]),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    def number(value: float | None, digits: int = 2) -> str:
        return "–" if value is None else f"{value:.{digits}f}"

    cells = [row["what"], row["mode"], str(row["batch"]), row["side"], row["edges"]]
    cells += [number(row["step_ms"]), number(row["busy_ms"]), number(row["launches"], 0)]
    cells += [number(row["waits"], 1), number(row["memory_limit_ms"]), number(row["peak_mb"], 0)]
    return f"| {' | '.join(cells)} |"


def _environment(device: torch.device, data: str, rate: float) -> dict[str, Any]:
    import torch_geometric

    on_card = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_card else device.type,
        "molecules": data,
        "copy bandwidth": f"{rate / 1e9:.0f} GB/s",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "PyG": torch_geometric.__version__,
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="tests, then what steps cost, on a GPU")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--only", nargs="+", default=[], help="parts by their names")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here")
    return options


if __name__ == "__main__":
    main()
