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
        *_head(
            "molecules|n|RMSD median|mean|quartiles|90%|largest|≤ 0.08 Å|teacher from the start"
        ),
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
    lines += ["", *_head("largest|SMILES|RMSD|teacher from the start|steps|bonds broken")]
    for row in worst:
        broken = " / ".join(", ".join(names) or "–" for names in row["broken"])
        lines.append(
            f"| {row['name']} | `{row['smiles']}` | {row['rmsd']:.3f} | {row['moved']:.3f} "
            f"| {' / '.join(map(str, row['steps']))} | {broken} |"
        )
    n_left = [sum(not row["converged"][k] for row in rows) for k in (0, 1)]
    n_broken = [sum(bool(row["broken"][k]) for row in rows) for k in (0, 1)]
    lines += ["", f"Not converged (ours / teacher): {n_left}; bonds broken: {n_broken}."]
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
        *_head("molecule|modes|mean error|signed|worst mode (teacher → ours)|imaginary"),
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
    lines += ["", *_head("teacher's frequency|modes|mean error|signed")]
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


def of_forces(report: Report) -> list[str]:
    """Errors by group and by element."""
    lines = [
        f"### Forces: {report['n']:,} configurations, part {report['part']}, "
        f"{report['minutes']:.1f} min",
        "",
        *_head("molecules|n|forces, meV/Å|energy, meV/atom"),
    ]
    for name, found in report["groups"].items():
        mae = found["mae"]
        lines.append(
            f"| {name} | {found['n']:,} | {1e3 * mae['forces_eV_A']:.1f} "
            f"| {1e3 * mae['energy_eV_atom']:.2f} |"
        )
    elements = (f"{name} {1e3 * error:.0f}" for name, error in report["elements"].items())
    return [*lines, "", f"By element, meV/Å: {', '.join(elements)}."]


def of_curves(report: Report) -> list[str]:
    """Interaction energies in meV."""
    lines = [
        f"### Two molecules apart, meV, {report['minutes']:.1f} min",
        "",
        *_head("pair|minimum, teacher|ours|worst to 8 Å|worst from 4 to 10 Å|bump, teacher|ours"),
    ]
    for row in report["rows"]:
        figures = [*row["minimum"], row["worst"], row["worst_far"], *row["bump"]]
        lines.append(_in_mev(row["name"], figures))
    lines += ["", *_head("six waters, meV a molecule|teacher|ours|ours at its own minimum")]
    for row in report["clusters"]:
        lines.append(_in_mev(row["name"], [row["theirs"], row["ours"], row["own_minimum"]]))
    return lines


def of_barriers(report: Report) -> list[str]:
    """Heights of the highest point of each, and the worst of each path, in meV."""
    lines = [
        f"### Barriers, meV, {report['minutes']:.1f} min",
        "",
        *_head(
            "path|highest, teacher|ours at the same points|ours, relaxed by itself|worst at the "
            "same points|worst, relaxed by itself"
        ),
    ]
    for row in report["rows"]:
        highest = [max(row[key]) for key in ("theirs", "single_points", "own")]
        lines.append(_in_mev(row["name"], [*highest, *row["worst"]]))
    return lines


def of_bonds(report: Report) -> list[str]:
    """Errors of pulled bonds in eV."""
    lines = [
        f"### Bonds pulled to 3 Å, eV, {report['minutes']:.1f} min",
        "",
        *_head("molecule|bond|energy at 3 Å, teacher|ours|worst|worst without a flag|flag from"),
    ]
    for row in report["rows"]:
        flagged = [x for x, flag in zip(row["length"], row["flags"], strict=True) if flag]
        last = [row["theirs"][-1], row["ours"][-1], row["worst"], row["worst_unflagged"]]
        figures = " | ".join(f"{x:.2f}" for x in last)
        since = f"{min(flagged):.2f} Å" if flagged else "–"
        lines.append(f"| {row['name']} | {row['bond']} | {figures} | {since} |")
    return lines


def of_energies(report: Report) -> list[str]:
    """Errors of relative energies of several structures of each molecule, in kcal/mol."""
    rows = report["rows"]
    if not rows:
        return ["None."]
    errors = np.array([row["error"] for row in rows])
    spread = np.mean([row["spread"] for row in rows])
    charges = np.array([row["charge"] for row in rows])
    by_charge = (f"{q:+d} {errors[charges == q].mean():.3f}" for q in np.unique(charges))
    lines = [
        f"**{errors.mean():.3f}** kcal/mol, mean over {len(rows)} molecules (median "
        f"{np.median(errors):.3f}, largest {errors.max():.3f}; the energies themselves spread by "
        f"{spread:.2f}; by charge: {', '.join(by_charge)}), {report['minutes']:.1f} min",
        "",
        *_head("largest|atoms|charge|error, kcal/mol|spread"),
    ]
    lines += [
        f"| `{row['smiles']}` | {row['atoms']} | {row['charge']:+d} | {row['error']:.3f} "
        f"| {row['spread']:.2f} |"
        for row in sorted(rows, key=lambda row: -row["error"])[:N_WORST]
    ]
    return lines


def of_liquid(report: Report) -> list[str]:
    """What became of water."""
    rows, settings = report["rows"], report["settings"]
    forces = 1e3 * np.mean([row["forces"] for row in rows])
    off = [1e3 * (row["ours"] - row["theirs"]) for row in rows]
    ps = settings["steps"] * settings["timestep"] / 1e3
    return [
        f"### Water, {report['minutes']:.1f} min",
        "",
        f"At constant pressure: {report['refused'] or 'not refused'}.",
        f"A droplet of {report['molecules']} at {settings['temperature']:g} K, {ps:g} ps: "
        f"{report['stopped'] or 'holds'}; forces {forces:.0f} meV/Å from the teacher's, energies "
        f"{np.mean(off):+.0f} ± {np.std(off):.0f} meV a molecule.",
    ]


def targets(report: Report) -> list[dict[str, Any]]:
    """What a force field should reach, and what it does; of the parts that there are."""
    found: list[dict[str, Any]] = []

    def add(what: str, at_most: float, is_: float, unit: str) -> None:
        found.append({"what": what, "at_most": at_most, "is": float(is_), "unit": unit})

    if part := report.get("forces"):
        limits = {"H, C, N, O, F": 35, "with others": 50, "ions": 50}
        for name, group in part["groups"].items():
            add(f"forces, {name}", limits[name], 1e3 * group["mae"]["forces_eV_A"], "meV/Å")
        sums = [(g["n"], g["n"] * g["mae"]["energy_eV_atom"]) for g in part["groups"].values()]
        n, total = np.sum(sums, axis=0)
        add("energy", 2.5, 1e3 * total / n, "meV/atom")
        worst = max(part["elements"], key=part["elements"].get)
        add(f"forces, worst element ({worst})", 80, 1e3 * part["elements"][worst], "meV/Å")
    if (part := report.get("conformers")) and part["rows"]:
        add("conformers", 0.15, np.mean([row["error"] for row in part["rows"]]), "kcal/mol")
    if part := report.get("curves"):
        for row in part["rows"]:
            if "dimer" in row["name"]:
                add(f"{row['name']}, 2.5 to 8 Å", 20, 1e3 * row["worst"], "meV")
        for row in part["clusters"]:
            off = abs(row["ours"] - row["theirs"])
            add(f"six waters, {row['name']}", 15, 1e3 * off, "meV a molecule")
    for row in report.get("barriers", {}).get("rows", []):
        limit = 40 if row["name"] == "malonaldehyde" else 25
        add(f"{row['name']}, along the teacher's path", limit, 1e3 * row["worst"][0], "meV")
    if part := report.get("bonds"):
        worst_bond = max(row["worst_unflagged"] for row in part["rows"])
        add("bonds pulled to 3 Å, or flagged", 0.5, worst_bond, "eV")
    if part := report.get("vib"):
        counted = [row for row in part["rows"] if row["counted"]]
        add(
            "frequencies", 25, np.abs(np.concatenate([r["errors"] for r in counted])).mean(), "1/cm"
        )
        named = ("H2O", "CO2", "HCN", "N2", "HF", "SO2")
        worst_mode = [max(map(abs, r["errors"])) for r in part["rows"] if r["formula"] in named]
        add("worst mode of water, CO2, HCN, N2, HF, SO2", 60, max(worst_mode, default=0), "1/cm")
    if (part := report.get("torsions")) and part["rows"]:
        add("torsions of fragments", 0.3, np.mean([r["error"] for r in part["rows"]]), "kcal/mol")
    if part := report.get("relax"):
        add("minima, median RMSD", 0.05, np.median([r["rmsd"] for r in part["rows"]]), "Å")
    if part := report.get("nve"):
        add("largest drift", 0.01, max(abs(r["drift"]) for r in part["rows"]), "meV/atom/ps")
        add("false stops", 0, sum(r["stopped"] is not None for r in part["rows"]), "")
    return found


def of_targets(report: Report) -> list[str]:
    """The targets as a table."""
    rows = report["targets"]
    lines = ["### What should be reached", "", *_head("what|at most|is|reached")]
    for row in rows:
        reached = "yes" if row["is"] <= row["at_most"] else "**no**"
        lines.append(
            f"| {row['what']} | {row['at_most']:g} {row['unit']} | {row['is']:.3g} | {reached} |"
        )
    return lines


def _in_mev(name: str, energies: Sequence[float]) -> str:
    """A line of energies in eV, as meV."""
    return f"| {name} | {' | '.join(f'{1e3 * x:.0f}' for x in energies)} |"


def _named(row: dict[str, Any]) -> str:
    return f"{row['name']}, {row['kind']}, `{row['smiles']}`" if "kind" in row else row["name"]


def _head(columns: str) -> Sequence[str]:
    names = columns.split("|")
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


TABLES: dict[str, Callable[[Report], list[str]]] = {
    "forces": of_forces,
    "curves": of_curves,
    "barriers": of_barriers,
    "bonds": of_bonds,
    "torsions": lambda report: ["### Torsions of fragments", "", *of_energies(report)],
    "conformers": lambda report: ["### Conformers", "", *of_energies(report)],
    "liquid": of_liquid,
    "targets": of_targets,
    "relax": of_relaxations,
    "vib": of_frequencies,
    "nve": of_constant_energy,
    "nvt": of_constant_temperature,
}
"""Part of the benchmark → its text."""
