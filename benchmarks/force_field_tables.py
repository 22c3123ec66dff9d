"""What ``force_field.py`` found, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Report = dict[str, Any]

N_WORST = 8
"""Molecules that are named."""


def of_relaxations(report: Report) -> list[str]:
    """Quantiles of the distances, and the molecules with the largest."""
    rows = report["rows"]
    groups = {"all": rows}
    if rows and "known" in rows[0]:
        groups["in the force field's data"] = [row for row in rows if row["known"]]
        groups["not in its data"] = [row for row in rows if not row["known"]]
    lines = [
        f"### Minima: {len(rows)} molecules, {len(report['failed'])} failed, "
        f"{report['minutes']:.1f} min",
        "",
        *_head("molecules|n|RMSD median|mean|quartiles|90%|largest|≤ 0.08 Å|from QM9 to GFN2"),
    ]
    for name, group in groups.items():
        if not group:
            continue
        x, moved = (np.array([row[key] for row in group]) for key in ("rmsd", "moved"))
        q1, median, q3, tenth = np.quantile(x, [0.25, 0.5, 0.75, 0.9])
        lines.append(
            f"| {name} | {len(x)} | **{median:.3f}** | {x.mean():.3f} | {q1:.3f}–{q3:.3f} "
            f"| {tenth:.3f} | {x.max():.3f} | {np.mean(x <= 0.08):.0%} | {np.median(moved):.3f} |"
        )
    worst = sorted(rows, key=lambda row: -row["rmsd"])[:N_WORST]
    lines += ["", *_head("largest|SMILES|RMSD|GFN2 from QM9|steps|bonds broken")]
    for row in worst:
        broken = " / ".join(", ".join(names) or "–" for names in row["broken"])
        lines.append(
            f"| {row['name']} | `{row['smiles']}` | {row['rmsd']:.3f} | {row['moved']:.3f} "
            f"| {' / '.join(map(str, row['steps']))} | {broken} |"
        )
    n_left = [sum(not row["converged"][k] for row in rows) for k in (0, 1)]
    n_broken = [sum(bool(row["broken"][k]) for row in rows) for k in (0, 1)]
    lines += ["", f"Not converged (ours / GFN2): {n_left}; bonds broken: {n_broken}."]
    lines += [f"Failed: {row['name']}: {row['reason']}" for row in report["failed"]]
    return lines


def of_frequencies(report: Report) -> list[str]:
    """Errors by molecule, and over all modes."""
    counted = [row for row in report["rows"] if row["counted"]]
    errors = np.array([e for row in counted for e in row["errors"]])
    size = np.abs(errors)
    of_each = np.mean([np.abs(row["errors"]).mean() for row in counted])
    lines = [
        f"### Frequencies: mean error **{size.mean():.1f}** 1/cm over {len(errors)} modes "
        f"(mean of {len(counted)} molecules' means {of_each:.1f}, median mode "
        f"{np.median(size):.1f}, mean signed {errors.mean():+.1f}), "
        f"{report['minutes']:.1f} min",
        "",
        *_head("molecule|modes|mean error|signed|worst mode (GFN2 → ours)|imaginary"),
    ]
    for row in report["rows"]:
        errors = np.array(row["errors"])
        n, k = len(errors), int(np.abs(errors).argmax())
        imaginary = [sum(f < 0 for f in row[side]) for side in ("ours", "theirs")]
        note = "" if row["counted"] else " (not counted)"
        lines.append(
            f"| {row['name']}{note} | {n} | {np.abs(errors).mean():.1f} | {errors.mean():+.1f} "
            f"| {row['theirs'][k]:.0f} → {row['ours'][k]:.0f} "
            f"| {imaginary[0]} / {imaginary[1]} |"
        )
    pairs = [pair for row in counted for pair in zip(row["theirs"], row["errors"], strict=True)]
    theirs, errors = np.array(pairs).T
    lines += ["", *_head("GFN2's frequency|modes|mean error|signed")]
    for low, high in ((-np.inf, 500), (500, 1000), (1000, 2000), (2000, np.inf)):
        part = errors[(theirs >= low) & (theirs < high)]
        if len(part):
            name = f"{max(low, 0):.0f}–{high:.0f}" if high < np.inf else f"above {low:.0f}"
            lines.append(
                f"| {name} | {len(part)} | {np.abs(part).mean():.1f} | {part.mean():+.1f} |"
            )
    return lines


def of_constant_energy(report: Report) -> list[str]:
    """Drift of each run."""
    rows, settings = report["rows"], report["settings"]
    lines = [
        f"### nve: {settings['steps']} steps of {settings['timestep']} fs from "
        f"{settings['temperature']:g} K, float32, {report['minutes']:.1f} min",
        "",
        *_head("molecule|atoms|mean K|drift, meV/atom/ps|noise, meV/atom|steps|stopped"),
    ]
    lines += [
        f"| {_named(row)} | {row['atoms']} | {row['temperature']:.0f} | {row['drift']:+.4f} "
        f"| {row['noise']:.3f} | {row['steps']} | {row['stopped'] or '–'} |"
        for row in rows
    ]
    worst = max(abs(row["drift"]) for row in rows)
    n_stopped = sum(row["stopped"] is not None for row in rows)
    return [*lines, "", f"Largest drift **{worst:.4f}** meV/atom/ps; stopped: {n_stopped}."]


def of_constant_temperature(report: Report) -> list[str]:
    """Mean temperature and its standard error."""
    settings, mean, error = report["settings"], report["temperature"], report["error"]
    wanted = settings["temperature"]
    return [
        f"### nvt: {settings['thermostat']}, {settings['thermostat_time']:g} fs, "
        f"{settings['steps']} steps of {settings['timestep']} fs, {report['minutes']:.1f} min",
        "",
        *_head("atoms|degrees of freedom|rows counted|mean K|standard error|off by|stopped"),
        f"| {report['atoms']} | {report['degrees']} | {report['counted']} | **{mean:.2f}** "
        f"| {error:.2f} | {mean / wanted - 1:+.2%} ± {error / wanted:.2%} "
        f"| {report['stopped'] or '–'} |",
    ]


def _named(row: dict[str, Any]) -> str:
    return f"{row['name']}, {row['kind']}, `{row['smiles']}`" if "kind" in row else row["name"]


def _head(columns: str) -> Sequence[str]:
    names = columns.split("|")
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


TABLES: dict[str, Callable[[Report], list[str]]] = {
    "relax": of_relaxations,
    "vib": of_frequencies,
    "nve": of_constant_energy,
    "nvt": of_constant_temperature,
}
"""Part of the benchmark → its text."""
