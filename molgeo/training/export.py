"""From a training state to a checkpoint that says what it is and how good."""

from __future__ import annotations

import dataclasses
import datetime
import math
import platform
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

from molgeo.evaluation.cards import markdown
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.predictor.checkpoint import load, read_header, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.training.config import RunConfig
from molgeo.training.csv_log import LOG, validation_curve


def export(
    predictor: Predictor,
    config: RunConfig,
    about: dict[str, Any],
    state: Path,
    path: Path,
    interrupted: bool = False,
) -> None:
    """Write the averaged weights of a training state as a molgeo checkpoint.

    Args:
        predictor: of the run, with its domain; it takes the state's weights and references.
        config: of the run.
        about: what the header says of the data.
        state: Lightning's file; its ``state_dict`` holds the averaged weights.
        path: of the checkpoint.
        interrupted: the run has not come to its end, which the header says.
    """
    content = torch.load(state, map_location="cpu", weights_only=True)
    prefix = "predictor."
    weights = content["state_dict"]
    predictor.load_state_dict(
        {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
    )
    states = content["callbacks"].values()
    score = next((c["best_model_score"] for c in states if c.get("monitor") == "val_loss"), None)
    save_checkpoint(
        predictor,
        path,
        {
            "name": config.model_name,
            **about,
            "epochs": content["epoch"] + 1,
            "steps": content["global_step"],
            "interrupted": interrupted,
            "validation_loss": None if score is None else float(score),
            "training": published(config),
            "command": command(config),
            "curve": validation_curve(path.parent / LOG),
            "hardware": hardware(config),
            "commit": commit(),
            "date": datetime.date.today().isoformat(),
            "metrics": {},
        },
    )


def measure(
    path: Path,
    errors: Callable[[Predictor], dict[str, Any]],
    device: torch.device | str = "cpu",
    kept: Callable[[Predictor], dict[str, Any]] = lambda _: {},
) -> dict[str, Any]:
    """Evaluate a checkpoint, write the errors into its header and its card beside.

    Args:
        path: of the checkpoint, rewritten with the same weights.
        errors: evaluates a predictor on the test part.
        device: where to evaluate it.
        kept: measures how far it is from the checkpoint that it started from.

    Returns:
        What ``errors`` gives.
    """
    predictor = load(path).to(device)
    facts = {"metrics": errors(predictor), "kept": kept(predictor)}
    _write(predictor.to("cpu"), path, {name: found for name, found in facts.items() if found})
    return facts["metrics"]


def add_calibration(
    path: Path,
    calibrations: Callable[[Predictor], list[Calibration]],
    errors: Callable[[Predictor], dict[str, Any]],
) -> dict[str, Any]:
    """Write how wrong values of molecules are into a checkpoint's header and card.

    Args:
        path: of the checkpoint, rewritten with the same weights.
        calibrations: measures a predictor's errors on validation molecules.
        errors: evaluates the calibrated predictor on test molecules.

    Returns:
        What ``errors`` gives.
    """
    predictor = load(path)
    known = calibrations(predictor)
    # All numbers of conformers are measured at once. What an older molgeo measured of others may
    # be of other weights.
    measured = set(map(_kind, known))
    kept = [one for one in predictor.header.calibration if _kind(one) not in measured]
    known = sorted([*kept, *known], key=lambda one: (_kind(one), one.conformers))
    predictor.header = predictor.header.model_copy(update={"calibration": known})
    found = errors(predictor)
    old = predictor.header.metrics.model_dump(mode="json", exclude_unset=True)
    if (geometry := found.get("geometry")) is None:  # of forces, as the model tells them
        facts = {"metrics": {**old, **found}}
    else:
        facts = {"metrics" if geometry == "given" else "from_smiles": found}
    if geometry == "dft":
        # Errors are known of the whole test part, and the shares within bars of some of it.
        shares = {name: found[name] for name in ("coverage", "flagged", "classes")}
        facts = {"metrics": {**old, **shares}}
    _write(predictor, path, facts)
    return found


def _kind(one: Calibration) -> tuple[str, str, bool]:
    """Of which values it is: of which models, and whether of a SMILES."""
    return one.engine, one.partner, one.conformers > 0


def add_domain_record(path: Path, domain: Domain) -> None:
    """Write which atoms and bonds training held into a checkpoint that was written without.

    Args:
        path: of the checkpoint, rewritten with the same weights.
        domain: of its training data; elements, sizes and distances stay those of the file.
    """
    predictor = load(path)
    assert predictor.domain is not None
    predictor.domain = dataclasses.replace(
        predictor.domain, environments=domain.environments, bond_kinds=domain.bond_kinds
    )
    _write(predictor, path, {})


def tell(path: Path, facts: dict[str, Any]) -> None:
    """Write facts into a checkpoint's header and its card beside.

    Args:
        path: of the checkpoint, rewritten with the same weights.
        facts: as in `molgeo.predictor.header.Facts`.
    """
    _write(load(path), path, facts)


def _write(predictor: Predictor, path: Path, facts: dict[str, Any]) -> None:
    """Write a checkpoint with new facts, and its card beside."""
    save_checkpoint(predictor, path, {"name": predictor.name, **predictor.header.told(), **facts})
    path.with_suffix(".md").write_text(markdown(read_header(path)))


def command(config: RunConfig) -> str:
    """``molgeo train`` with all that differs from the defaults and makes the run what it is."""
    words = [f"molgeo train --data {config.data}"]
    for key, value in published(config, exclude_defaults=True).items():
        if key not in ("data", "max_minutes"):  # the latter is of one call, not of the run
            text = yaml.safe_dump([value], default_flow_style=True, width=math.inf).strip()[1:-1]
            words.append(f"--{key} {shlex.quote(text)}")
    return " ".join(words)


def published(config: RunConfig, exclude_defaults: bool = False) -> dict[str, Any]:
    """The config as the header holds it: with names of files, without the folders of a machine.

    Args:
        config: of a run.
        exclude_defaults: leave out what differs from no default.
    """
    fields = config.model_dump(exclude={"run_dir", "data_dir"}, exclude_defaults=exclude_defaults)
    for name in ("data_file", "test_file", "rehearsal_file"):
        if name in fields:
            fields[name] = [Path(file).name for file in fields[name]]
    if config.start_from:
        fields["start_from"] = Path(config.start_from).name
    return fields


def hardware(config: RunConfig) -> str:
    """What a run computes on, in words."""
    if torch.cuda.is_available() and config.accelerator != "cpu":
        return f"{config.devices} × {torch.cuda.get_device_name()}"
    n = config.threads or torch.get_num_threads()
    return f"{n} CPU thread{'s' if n > 1 else ''}, {platform.machine()}"


def commit() -> str:
    """Commit of the code, empty outside a checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    command: list[Any] = ["git", "-C", folder, "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
