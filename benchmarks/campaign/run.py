"""Go on with a training run for some minutes: one command, until the run has come to its end.

    python benchmarks/campaign/run.py configs/dimenet_pp_qm9.yaml --minutes 9
    python benchmarks/campaign/run.py configs/dimenet_pp_qm9.yaml --minutes 9 \
        --run-dir runs/other accelerator=gpu backbone.n_blocks=3 learning_rate=5e-4

It needs torch, torch-geometric, lightning, numpy, safetensors and this checkout, not installed.
The README beside says what it leaves in the run folder and what of it has to be carried on.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from carry import pack, unpack
from lightning.pytorch.utilities import rank_zero_only

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor.checkpoint import read_header
from molgeo.training.config import RunConfig, read_config
from molgeo.training.csv_log import validations
from molgeo.training.export import hardware
from molgeo.training.qm9 import QM9Config
from molgeo.training.run import train

FORCE_ERRORS = ("energy_meV", "energy_meV_atom", "forces_meV_A")


def main(arguments: Sequence[str] | None = None) -> Path:
    """Run for the minutes asked for; the path of the exported model."""
    options = _parse(arguments)
    try:
        return go_on(options.config, options.minutes, options.run_dir, options.assignments)
    except (ValueError, TypeError, OSError, ArithmeticError) as error:
        sys.exit(f"campaign: {' '.join(str(error).split())}")


def go_on(config: Path, minutes: float, run_dir: str, assignments: Sequence[str]) -> Path:
    """Start a run or go on with it, then add a row to its log.

    Args:
        config: YAML.
        minutes: after which to leave, with loading but without exporting.
        run_dir: of the run; empty for the config's.
        assignments: ``key=value`` in place of the config's.

    Returns:
        Path of the exported model.
    """
    start = datetime.datetime.now(datetime.UTC)
    if minutes <= 0:
        raise ValueError(f"--minutes: expected more than 0, got {minutes:g}")
    where = [f"run_dir={run_dir}"] if run_dir else []
    run = read_config(config, [*assignments, *where])
    if run.logger != "csv":
        raise ValueError(f"logger: expected csv, which the campaign reads, got {run.logger}")
    run = run.model_copy(update={"max_minutes": minutes})
    folder = Path(run.run_dir)
    unpack(folder)
    before = state(folder)
    exported = train(run, resume=bool(before))
    if rank_zero_only.rank:  # one of several processes: the first one tells
        return exported
    after = state(folder)
    header = read_header(exported)
    row = {
        "start_utc": start.isoformat(timespec="seconds"),
        "hardware": hardware(run),
        "torch": torch.__version__,
        "first_step": before.get("global_step", 0),
        "last_step": after["global_step"],
        "epoch": after["epoch"],
        "minutes": round((datetime.datetime.now(datetime.UTC) - start).total_seconds() / 60.0, 2),
        "finished": not header.interrupted,
        **validated(folder / "log" / "metrics.csv", error_columns(run)),
    }
    append(folder / "campaign.csv", row)
    pack(folder)
    print("\n".join(f"{name}: {value}" for name, value in row.items()))
    print(exported)
    return exported


def state(folder: Path) -> dict[str, Any]:
    """The state that a run has left, empty before its first."""
    path = folder / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else {}


def error_columns(run: RunConfig) -> list[str]:
    """Columns of the run's log that hold errors of validations."""
    if isinstance(run, QM9Config):
        return [f"val_mae_{PROPERTIES[name].column}" for name in run.properties]
    return [f"val_{kind}_{name}" for kind in ("mae", "rmse") for name in FORCE_ERRORS]


def validated(log: Path, errors: Sequence[str]) -> dict[str, str]:
    """The last and the best loss so far, the best one's step, and its errors; empty without any."""
    rows = validations(log)
    best = min(rows, key=lambda row: float(row["val_loss"]), default={})
    return {
        "val_loss": rows[-1]["val_loss"] if rows else "",
        "best_val_loss": best.get("val_loss", ""),
        "best_step": str(int(best["step"]) + 1) if best else "",
        **{name: best.get(name, "") for name in errors},
    }


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a table, and never touch those before."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), lineterminator="\n")
    content = path.read_bytes() if path.exists() else b""
    if not content:
        writer.writeheader()
    elif not content.endswith(b"\n"):
        text.write("\n")  # after a row that a kill has torn
    writer.writerow(row)
    with path.open("a") as file:
        file.write(text.getvalue())
        file.flush()
        os.fsync(file.fileno())


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="go on with a training run for some minutes")
    parser.add_argument("config", type=Path, help="YAML, as of `molgeo train`")
    parser.add_argument("--minutes", type=float, required=True, help="after which to leave")
    parser.add_argument("--run-dir", default="", help="in place of the config's run_dir")
    parser.add_argument("assignments", nargs="*", metavar="key=value", help="in place of others")
    return parser.parse_intermixed_args(arguments)


if __name__ == "__main__":
    main()
