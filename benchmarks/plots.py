"""The plots of scaling.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = {"schnet": "SchNet", "dimenet_pp": "DimeNet++"}


def plot_atoms(rows: list[dict[str, Any]], path: Path) -> None:
    """Time and peak memory against atoms: both sides, molecules and periodic boxes."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for axis, key, label in (
        (axes[0], "ms", "energy and forces, ms"),
        (axes[1], "peak_mb", "peak memory, MB"),
    ):
        for number, model in enumerate(NAMES):
            for periodic in (False, True):
                for side in ("molgeo", "pyg"):
                    kept = [
                        r
                        for r in rows
                        if (r["model"], r["periodic"]) == (model, periodic) and side in r[key]
                    ]
                    values = [r[key][side] for r in kept]
                    if key == "ms":
                        values = [v["median"] for v in values]
                    axis.plot(
                        [r["atoms"] for r in kept],
                        values,
                        color=f"C{number}",
                        marker="s" if periodic else "o",
                        fillstyle="full" if side == "molgeo" else "none",
                        linestyle="-" if side == "molgeo" else "--",
                        label=f"{NAMES[model]}, {'water' if periodic else 'molecule'}, "
                        f"{'molgeo' if side == 'molgeo' else 'PyG'}",
                    )
        _finish(axis, "atoms", label)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def plot_neighbours(rows: list[dict[str, Any]], path: Path) -> None:
    """Time against the mean number of neighbours, for each form of the directional sum."""
    plt = _pyplot()
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for axis, key, title in (
        (axes[0], "step_ms", "DimeNet++, energy and forces"),
        (axes[1], "sum_ms", "four directional sums and their derivatives"),
    ):
        for form in dict.fromkeys(row["form"] for row in rows):
            kept = [row for row in rows if row["form"] == form]
            axis.plot(
                [row["neighbours"] for row in kept],
                [row[key]["median"] for row in kept],
                marker="o",
                label=form,
            )
        axis.set_title(title, fontsize=10)
        _finish(axis, "mean number of neighbours", "time, ms")
    if rows:
        axes[0].legend(title="form")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _finish(axis: Any, x: str, y: str) -> None:
    axis.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    axis.grid(which="both", alpha=0.25)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt
