"""Runs of ``molgeo md``: whether energy and temperature are kept, and what water does."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from force_field_molecules import ten, ten_drugs
from force_field_teacher import Sides
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from systems import WATER_VOLUME

from molgeo.simulation.admission import refusal
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.compiled import missing
from molgeo.simulation.molecular_dynamics import simulate, state_path
from molgeo.simulation.motion import degrees_of_freedom
from molgeo.simulation.relaxation import relax
from molgeo.simulation.replay import Replay
from molgeo.simulation.report.summary import mean_of_blocks
from molgeo.simulation.settings import MDSettings

FMAX = 0.01
"""eV/Å, to which molecules are relaxed before they move."""
LOOSE = 0.1
"""The same of a droplet."""
TEMPERATURE = 300.0
TIMESTEP_FS = 0.5
INTERVAL = 10
"""Steps from row to row, at which the guard looks too."""
APART = 30.0
"""Å between molecules of one system, several times the models' cutoffs."""
THERMOSTAT_FS = 20.0
"""A fifth of the default: temperatures forget each other sooner, and their mean is known better."""
EQUILIBRATION = 0.1
"""Part of nvt that is not counted."""
BLOCK_PS = 0.2
"""Ten times the thermostat's time, so that means of blocks are independent."""
WATERS = 4
"""Of a box along each edge."""


def constant_energy(sides: Sides, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Whether the total energy of each of the ten drifts, and molecules stay whole.

    Smallest first. Those that the report has already are not run again, and a run that was killed
    goes on from its files. Minutes are those of the processor.

    Yields:
        All rows so far, after each of them.
    """
    settings = _settings("nve", options.nve_temperature, options.nve_ps, options)
    about = {"settings": asdict(settings)}
    before = options.before.get("nve", {})
    done = before["rows"] if before.get("settings") == about["settings"] else []
    done = {row["name"]: row for row in done}
    folder = options.kept / "nve" / f"{sides.ours.models[0].sha256[:12]}-{options.nve_ps:g}ps"
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for k, start in enumerate(sorted(_ten(sides), key=len)[: options.runs]):
        row = done.get(start.info["name"])
        if row is None:
            begin = time.process_time()
            path = folder / f"{options.seed}-{'drugs' if sides.library else 'ten'}-{k}.traj"
            table, ended, _ = _simulated(_relaxed(start, sides), settings, sides, path)
            total = 1e3 * table["total_eV"] / len(start)
            ended["temperature"] = float(table["temperature_K"].mean())
            ended["minutes"] = (time.process_time() - begin) / 60
            row = start.info | ended | line(table["time_fs"] / 1e3, total)
            print(json.dumps(row, ensure_ascii=False), file=sys.stderr, flush=True)
        rows.append(row)
        yield about | {"rows": [*rows], "minutes": sum(row["minutes"] for row in rows)}


def constant_temperature(sides: Sides, options: argparse.Namespace) -> dict[str, Any]:
    """Whether the mean temperature of the ten, in one system, is the one that was asked for.

    They are too far apart to know of each other: so many degrees of freedom make a mean exact.
    """
    settings = _settings("nvt", TEMPERATURE, options.nvt_ps, options)
    system = Atoms()
    for place, start in enumerate(ten(options.seed)[: options.runs]):
        atoms = _relaxed(start, sides)
        atoms.positions += [place * APART, 0.0, 0.0] - atoms.get_center_of_mass()
        system += atoms
    table, about, _ = _simulated(system, settings, sides)
    counted = table["step"] > EQUILIBRATION * settings.steps
    block = round(1e3 * min(BLOCK_PS, 0.1 * options.nvt_ps) / TIMESTEP_FS / INTERVAL)
    about["temperature"], about["error"] = mean_of_blocks(table["temperature_K"][counted], block)
    about["degrees"] = degrees_of_freedom(system, "nvt", settings.thermostat)
    return about | {"counted": int(counted.sum()), "settings": asdict(settings)}


def liquid(sides: Sides, options: argparse.Namespace) -> dict[str, Any]:
    """What ``molgeo md --ensemble npt`` says to 64 waters, and a droplet beside the teacher.

    The teacher's networks know no periodic boundary, so that the density has nothing beside it.
    """
    rng = np.random.default_rng(options.seed)
    side = (WATERS**3 * WATER_VOLUME) ** (1 / 3)
    box = Atoms(cell=[side] * 3, pbc=True)
    for corner in np.ndindex(WATERS, WATERS, WATERS):
        water = molecule("H2O")
        water.positions = Rotation.random(random_state=rng).apply(water.positions)
        water.positions += (np.array(corner) + 0.5) * side / WATERS
        box += water
    box.calc = MolgeoCalculator(sides.ours.models[0], "cpu")
    refused = refusal(box, allowed=False, by_stress=True)
    droplet = Atoms(box.numbers, box.positions)
    droplet = _relaxed(droplet, sides, LOOSE)
    settings = replace(
        _settings("nvt", TEMPERATURE, options.droplet_ps, options), thermostat_time=100.0
    )
    _, about, frames = _simulated(droplet, settings, sides, frames=5)
    kept = sides.teacher.labelled(frames)
    rows = []
    for frame, theirs in zip(frames, kept, strict=True):
        own = frame.copy()
        own.calc = sides.ours
        error = own.get_forces() - theirs.get_forces()
        rows.append(
            {
                "forces": float(np.abs(error).mean()),
                "ours": own.get_potential_energy() / WATERS**3,
                "theirs": theirs.get_potential_energy() / WATERS**3,
            }
        )
    return about | {
        "refused": refused,
        "rows": rows,
        "molecules": WATERS**3,
        "settings": asdict(settings),
    }


def line(time_ps: NDArray[np.float64], energy: NDArray[np.float64]) -> dict[str, float]:
    """Slope of the least-squares line, and what is left of it (root mean square)."""
    slope, start = np.polyfit(time_ps - time_ps.mean(), energy - energy.mean(), 1)
    left = energy - energy.mean() - start - slope * (time_ps - time_ps.mean())
    return {"drift": float(slope), "noise": float(np.sqrt((left**2).mean()))}


def _settings(
    ensemble: Any, temperature: float, length_ps: float, options: argparse.Namespace
) -> MDSettings:
    return MDSettings(
        ensemble=ensemble,
        temperature=temperature,
        timestep=TIMESTEP_FS,
        steps=round(1e3 * length_ps / TIMESTEP_FS),
        thermostat=options.thermostat,
        thermostat_time=THERMOSTAT_FS,
        interval=INTERVAL,
        seed=options.seed,
    )


def _ten(sides: Sides) -> list[Atoms]:
    return ten(sides.seed) if sides.library is None else ten_drugs(sides.library)


def _simulated(
    atoms: Atoms,
    settings: MDSettings,
    sides: Sides,
    output: Path | None = None,
    frames: int = 0,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Any], list[Atoms]]:
    """The table of a run in float32, how it ended, and some of its frames.

    The run's files are deleted when it has ended. Until then it can go on from ``output``.
    """
    replay: Replay = "auto" if missing(torch.device("cpu")) else "compiled"
    atoms.calc = MolgeoCalculator(sides.ours.models[0], "cpu", replay=replay)
    with tempfile.TemporaryDirectory() as folder:
        output = output or Path(folder) / "md.traj"
        log, state = output.with_suffix(".csv"), state_path(output)
        outcome = simulate(atoms, settings, output, log, state.exists(), overwrite=True)
        about = {"atoms": len(atoms), "stopped": outcome.reason, "steps": outcome.step}
        every = max(1, settings.steps // settings.interval // max(frames, 1))
        shown = ase.io.read(output, f"{every}::{every}") if frames else []
        table = _read(log)
        for path in (output, log, state):
            path.unlink(missing_ok=True)
        return table, about, shown


def _read(log: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a table, those that are full."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {k: np.array([float(row[k]) for row in rows]) for k, first in rows[0].items() if first}


def _relaxed(atoms: Atoms, sides: Sides, fmax: float = FMAX) -> Atoms:
    own = atoms.copy()
    own.calc = sides.ours
    return relax(own, fmax).atoms
