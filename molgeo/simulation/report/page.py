"""The page of a molecular dynamics run: numbers, plots and the moving structure in one file.

`molgeo.pages` makes it, with the viewer inside, so that it works without a network.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import ase.io
import numpy as np
from ase import Atoms

from molgeo.pages.page import render, write
from molgeo.runtime.errors import InputError
from molgeo.simulation.report.plots import plots
from molgeo.simulation.report.summary import Summary

MOST_FRAMES: Final = 200
"""Frames of the animation."""


def write_page(
    path: Path,
    title: str,
    about: Sequence[tuple[str, str]],
    summary: Summary,
    trajectory: Path,
    target_K: float | None = None,
    reason: str | None = None,
) -> None:
    """Write the page of a run.

    Args:
        path: ``.html``, overwritten.
        title: what was simulated.
        about: names and values that say how.
        summary: of the run's table.
        trajectory: its frames, of which some are shown.
        target_K: the thermostat's temperature; None without one.
        reason: why the run stopped before its end.

    Raises:
        InputError: the trajectory cannot be read, or the page not be written.
    """
    frames = some_frames(trajectory, len(summary.table))
    n = len(summary.table)
    motion = {
        "times": summary.time_ps[:: stride(n)].round(4).tolist(),
        "edges": cell_edges(frames[0]),
    }
    text = render(
        "molgeo.simulation.report",
        "md.html",
        ["3Dmol-min.js", "motion.js"],
        title=title,
        about=about,
        results=summary.lines(),
        reason=reason,
        plots=plots(summary, target_K),
        frames=xyz(frames),
        motion=motion,
    )
    write(path, text)


def stride(n: int) -> int:
    """From one of the frames that are shown to the next, of n."""
    return max(-(-n // MOST_FRAMES), 1)


def some_frames(trajectory: Path, n: int) -> list[Atoms]:
    """At most `MOST_FRAMES` of a trajectory's n frames, evenly spread, centred or wrapped."""
    try:
        frames = ase.io.read(trajectory, f"::{stride(n)}")
    except Exception as error:  # ASE's readers raise many kinds
        raise InputError(f"{trajectory}: cannot be read as a trajectory: {error}") from error
    if not frames:
        raise InputError(f"{trajectory}: expected frames, got an empty trajectory")
    for frame in frames:
        if frame.pbc.any():
            frame.wrap()
        else:
            frame.positions -= frame.get_center_of_mass()
    return list(frames)


def xyz(frames: Sequence[Atoms]) -> str:
    """Frames as plain xyz, to a thousandth of an Å."""
    lines = []
    for frame in frames:
        places = zip(frame.symbols, frame.positions, strict=True)
        lines += [str(len(frame)), "", *(f"{s} {x:.3f} {y:.3f} {z:.3f}" for s, (x, y, z) in places)]
    return "\n".join(lines) + "\n"


def cell_edges(atoms: Atoms) -> list[list[list[float]]]:
    """The twelve edges of a cell that is periodic in three directions, as pairs of points in Å."""
    if not (atoms.pbc.all() and atoms.cell.rank == 3):
        return []
    edges = []
    for k in range(3):
        for a, b in itertools.product((0, 1), repeat=2):
            start = np.insert([a, b], k, 0) @ atoms.cell.array
            edges.append([start.tolist(), (start + atoms.cell.array[k]).tolist()])
    return edges
