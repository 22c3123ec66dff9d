"""On a CUDA GPU, in under eight minutes: kernels are right, models agree with PyG, then times.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --quick      # that it runs, where there is no GPU

Writes gpu.md and gpu.json. It needs torch, PyG and sympy; pytest for the kernels' tests, and QM9
where it is prepared; what is missing is named in the output.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import models_vs_pyg
import torch
from sides import FIELDS, LEARNING_RATE, MODELS, molecules
from tables import HEADER, line

from molgeo import models
from molgeo.data.molecules import MoleculeSet

ROOT = Path(__file__).resolve().parents[1]
KERNEL_TESTS = ("test_directional_kernels.py", "test_filter_triton.py")
EPOCH = 110_000
"""Molecules that QM9 is trained on."""
BUDGET_S = 480.0


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run everything and return what it writes."""
    options = _parse(arguments)
    begin = time.perf_counter()
    report: dict[str, Any] = {"kernels": [] if options.quick else check_kernels()}
    print("\n".join(report["kernels"]), flush=True)
    report["models"] = []
    for number, model in enumerate(options.models):
        # What is left, less a tenth for the epochs, is shared by the models still to come.
        left = 0.9 * BUDGET_S - (time.perf_counter() - begin)
        share = max(left / (len(options.models) - number), 10.0)
        report["models"].append(models_vs_pyg.main(_arguments(model, share, options)))
    device = torch.device(options.device)
    name, source = molecules()
    report["data"] = name
    steps = 2 if options.quick else 40
    batches = (4,) if options.quick else (32, 64, 128)
    report["epochs"] = [epoch_seconds(source, n, device, steps) for n in batches]
    report["seconds"] = time.perf_counter() - begin
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(report, indent=1) + "\n")
    (options.out / "gpu.md").write_text(as_markdown(report))
    print(as_markdown(report))
    if any("FAILED" in text for text in report["kernels"]):
        sys.exit("the kernels' tests failed")
    return report


def check_kernels() -> list[str]:
    """Run the tests of the GPU kernels; what came of each file, in words."""
    if importlib.util.find_spec("pytest") is None:
        return ["kernels: not tested, pytest is missing"]
    found = []
    for name in KERNEL_TESTS:
        path = ROOT / "tests" / "ops" / name
        if not path.exists():
            found.append(f"{name}: there is no such test")
            continue
        run = subprocess.run(
            # Tests need not be collected with the whole suite's configuration and its plugins.
            [sys.executable, "-m", "pytest", "-q", "--noconftest", "-W", "default", str(path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        last = (run.stdout.strip().splitlines() or ["no output"])[-1]
        if "No module named" in run.stdout + run.stderr and run.returncode == 2:
            found.append(f"{name}: not run, it imports what is not installed ({last})")
        else:
            found.append(f"{name}: {'passed' if run.returncode in (0, 5) else 'FAILED'} ({last})")
    return found


def epoch_seconds(
    source: MoleculeSet, batch_size: int, device: torch.device, steps: int
) -> dict[str, float]:
    """Seconds of a QM9 epoch of DimeNet++, from some steps on new batches, loader included."""
    torch.manual_seed(0)
    model = models.build("dimenet_pp", FIELDS["dimenet_pp"]).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    source = source.to(device)
    begin = 0.0
    warm_up = 3
    for number in range(steps + warm_up):
        if number == warm_up:
            _synchronise(device)
            begin = time.perf_counter()
        batch = source.batch(torch.randint(len(source), (batch_size,), device=device))
        optimizer.zero_grad()
        label = torch.zeros(batch_size, 1, device=device)
        (model(batch.z, batch.pos, batch.batch) - label).abs().mean().backward()
        optimizer.step()
    _synchronise(device)
    seconds = (time.perf_counter() - begin) / steps
    return {
        "batch": batch_size,
        "step_ms": 1e3 * seconds,
        "epoch_s": math.ceil(EPOCH / batch_size) * seconds,
    }


def as_markdown(report: dict[str, Any]) -> str:
    """The report as it stands in gpu.md."""
    environment = report["models"][0]["environment"]
    lines = [
        "# On a GPU\n",
        f"{environment['device']}, torch {environment['torch']}, PyG "
        f"{environment['torch_geometric']}, molecules: {environment['data']}, copy bandwidth "
        f"{environment['bandwidth_gb_s']:.0f} GB/s, {report['seconds']:.0f} s in all.\n",
        *(f"* {text}" for text in report["kernels"]),
        *(
            f"* PyG's edges of {model}: {found}"
            for part in report["models"]
            for model, found in part["environment"]["pyg_edges"].items()
        ),
        "\n" + HEADER,
        *(line(row) for part in report["models"] for row in part["rows"]),
        f"\nA QM9 epoch ({EPOCH:,} molecules) of DimeNet++ training:\n",
        "| batch | step ms | epoch s |\n|--:|--:|--:|",
        *(f"| {e['batch']} | {e['step_ms']:.2f} | {e['epoch_s']:.1f} |" for e in report["epochs"]),
    ]
    return "\n".join(lines) + "\n"


def _arguments(model: str, seconds: float, options: argparse.Namespace) -> list[str]:
    batches, repeats = (["2"], "1") if options.quick else (["32", "128"], "20")
    rows = len(batches) * 4 + 1
    # Two thirds: checks, memory and traffic are measured beside the timed rounds.
    fixed = ["--traffic", "--repeats", repeats, "--limit-s", str(0.66 * seconds / rows)]
    gb = "8" if options.device == "cpu" else "60"
    where = ["--device", options.device, "--pyg-gb", gb]
    threads = ["--threads", str(torch.get_num_threads())]
    return ["--models", model, "--batches", *batches, *fixed, *where, *threads]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="correctness, then times, on a GPU")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
