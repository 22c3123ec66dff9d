"""Make the picture of README from one prediction and one trajectory."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import ase.io
import numpy as np
import pandas as pd
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from ase.neighborlist import neighbor_list
from matplotlib import pyplot
from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

import molgeo

SMILES = "CC(=O)c1ccccc1"  # acetophenone, as large as the molecules of QM9

SHOWN = {
    "mu_debye": ("dipole moment", "D"),
    "alpha_bohr3": ("polarizability", "a0³"),
    "homo_eV": ("HOMO", "eV"),
    "lumo_eV": ("LUMO", "eV"),
    "gap_eV": ("gap", "eV"),
    "zpve_eV": ("zero-point energy", "eV"),
    "h298_atomization_eV": ("atomization enthalpy", "eV"),
    "cv_cal_mol_K": ("heat capacity", "cal/mol/K"),
}


def draw_prediction(axes: pyplot.Axes) -> None:
    """The formula beside what is predicted from the SMILES."""
    drawer = rdMolDraw2D.MolDraw2DCairo(520, 400)
    drawer.drawOptions().padding = 0.04
    drawer.DrawMolecule(Chem.MolFromSmiles(SMILES))
    drawer.FinishDrawing()
    image = pyplot.imread(io.BytesIO(drawer.GetDrawingText()))
    axes.imshow(image, extent=(0, 5.2, 1.6, 5.6), interpolation="antialiased")
    row = molgeo.predict([SMILES]).iloc[0]
    for k, (column, (words, unit)) in enumerate(SHOWN.items()):
        digits = max(0, 1 - int(np.floor(np.log10(row[f"{column}_std"]))))
        y = 5.35 - 0.5 * k
        axes.text(5.3, y, words, va="center", fontsize=9)
        value = f"{row[column]:.{digits}f} ± {row[column + '_std']:.{digits}f}"
        axes.text(12.0, y, value, va="center", ha="right", fontsize=9, weight="bold")
        axes.text(12.15, y, unit, va="center", fontsize=9, color="0.4")
    axes.set(xlim=(0, 14.2), ylim=(1.2, 5.9), title=f"molgeo predict '{SMILES}'")
    axes.set_aspect("equal")
    axes.axis("off")


def draw_trajectory(axes: pyplot.Axes, frames: list[ase.Atoms]) -> None:
    """The last frame as balls and sticks on the paths of the atoms."""
    z = frames[0].numbers
    start = frames[0].positions - frames[0].positions.mean(0)
    _, _, turn = np.linalg.svd(start)
    places = np.array([best_turn(f.positions, start) @ turn.T for f in frames])
    heavy = z > 1
    for k in np.flatnonzero(heavy):
        axes.plot(*places[:, k, :2].T, color=jmol_colors[z[k]] * 0.8, lw=0.4, alpha=0.5, zorder=1)
    for k in np.flatnonzero(~heavy):
        axes.plot(*places[:, k, :2].T, color="0.7", lw=0.4, alpha=0.6, zorder=1)
    last = places[-1]
    first, second = neighbor_list("ij", frames[-1], {(a, b): 1.25 * r for a, b, r in pairs(z)})
    for i, j in zip(first, second, strict=True):
        if i < j:
            axes.plot(
                *last[[i, j], :2].T, color="0.35", lw=2.5, zorder=2 + last[[i, j], 2].mean() / 50
            )
    for k in np.argsort(last[:, 2]):
        axes.add_patch(
            pyplot.Circle(
                last[k, :2],
                0.42 * covalent_radii[z[k]],
                facecolor=jmol_colors[z[k]],
                edgecolor="0.2",
                lw=0.7,
                zorder=3 + last[k, 2] / 50,
            )
        )
    axes.set_title(f"molgeo md '{SMILES}'")
    axes.set_aspect("equal")
    axes.axis("off")


def pairs(z: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of elements with the sums of their covalent radii, Å."""
    elements = np.unique(z).tolist()
    return [(a, b, covalent_radii[a] + covalent_radii[b]) for a in elements for b in elements]


def best_turn(positions: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Positions about their centre, turned onto others (Kabsch)."""
    centred = positions - positions.mean(0)
    u, _, v = np.linalg.svd(centred.T @ onto)
    u[:, -1] *= np.sign(np.linalg.det(u @ v))
    return centred @ (u @ v)


def draw_energies(axes: pyplot.Axes, log: pd.DataFrame) -> None:
    """What is conserved, and what goes to and fro."""
    time = log["time_fs"] / 1000
    for column, label in (("total_eV", "total"), ("potential_eV", "potential")):
        axes.plot(time, log[column] - log["total_eV"].iloc[0], lw=0.8, label=label)
    axes.set(xlabel="time, ps", ylabel="energy, eV")
    axes.legend(frameon=False, fontsize=8, ncol=2, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)


def simulate(folder: Path) -> tuple[list[ase.Atoms], pd.DataFrame]:
    """One picosecond at constant energy, on the command line as anybody would."""
    words = ["md", SMILES, "--ensemble", "nve", "--temperature", "600", "--steps", "2000"]
    subprocess.run([sys.executable, "-m", "molgeo", *words], cwd=folder, check=True)
    return ase.io.read(folder / "traj.extxyz", ":"), pd.read_csv(folder / "md.csv")


def main() -> None:
    """Run both, and draw."""
    pyplot.rcParams["font.size"] = 9
    figure = pyplot.figure(figsize=(10.5, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.4, 1))
    draw_prediction(left.subplots())
    above, below = right.subplots(2, 1, height_ratios=(2.2, 1))
    with tempfile.TemporaryDirectory() as folder:
        frames, log = simulate(Path(folder))
    draw_trajectory(above, frames)
    draw_energies(below, log)
    figure.savefig(Path(__file__).parent / "molgeo.png", dpi=130)


if __name__ == "__main__":
    main()
