"""Heat and entropy of molecules as QM9 has them: ideal gas, rigid rotor, harmonic oscillators.

python benchmarks/other_elements/thermal.py ppe1694.json.gz     # check against QM9's labels
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import ase
import numpy as np
from ase import units
from ase.thermochemistry import IdealGasThermo
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds

from molgeo.chem.bonds import conformer, from_coordinates
from molgeo.data.location import data_dir
from molgeo.data.qm9.dataset import QM9
from molgeo.units import BOLTZMANN

T = 298.15
PASCAL = 101325.0
SAME = 0.03
"""Å, root mean square, up to which a rotation brings a molecule onto itself."""
MOST_MATCHES = 50_000
SCALED = 0.98637
"""By which PPE1694 has multiplied its frequencies."""
CAL_MOL_K = units.kcal / units.mol / 1000.0


def symmetry_number(atoms: ase.Atoms) -> int:
    """Rotations that bring a molecule onto itself: those symmetries of its bonds that are rigid."""
    mol = Chem.RWMol()
    for number in atoms.numbers.tolist():
        mol.AddAtom(Chem.Atom(number))
    mol.AddConformer(conformer(atoms.positions))
    rdDetermineBonds.DetermineConnectivity(mol)
    found = mol.GetSubstructMatches(mol, uniquify=False, maxMatches=MOST_MATCHES)
    x = atoms.positions - atoms.positions.mean(0)
    y = x[np.array(found)]  # (matches, atoms, 3)
    u, _, v = np.linalg.svd(np.einsum("mai,aj->mij", y, x))
    u[:, :, 2] *= np.linalg.det(u @ v)[:, None]  # proper rotations alone
    apart = np.sqrt(np.square(y @ (u @ v) - x).sum(2).mean(1))
    return max(1, int((apart < SAME).sum()))


def thermal(atoms: ase.Atoms, frequencies_cm: list[float]) -> dict[str, float] | None:
    """What vibrations and rotations add, in QM9's units; None if a frequency is missing.

    Args:
        atoms: at a minimum.
        frequencies_cm: harmonic, 1/cm.

    Returns:
        ``zpve``; what ``u298``, ``h298`` and ``g298`` are above the electronic energy, in eV; and
        ``cv`` in cal/mol/K.
    """
    e = np.array(frequencies_cm) * units.invcm
    if (e <= 0).any() or len(e) not in (0, 3 * len(atoms) - 5, 3 * len(atoms) - 6):
        return None
    shape = {0: "monatomic", 3 * len(atoms) - 5: "linear"}.get(len(e), "nonlinear")
    gas = IdealGasThermo(
        e, shape, 0.0, atoms, symmetry_number(atoms), spin=0, vib_selection="exact"
    )
    x = e / (BOLTZMANN * T)
    of_modes = np.square(x) * np.exp(-x) / np.square(-np.expm1(-x))
    still = {"monatomic": 1.5, "linear": 2.5, "nonlinear": 3.0}[shape]
    return {
        "zpve": float(gas.get_ZPE_correction()),
        "u298": float(gas.get_internal_energy(T, verbose=False)),
        "h298": float(gas.get_enthalpy(T, verbose=False)),
        "g298": float(gas.get_gibbs_energy(T, PASCAL, verbose=False)),
        "cv": float((still + of_modes.sum()) * BOLTZMANN / CAL_MOL_K),
    }


def main() -> None:
    """Differences from QM9's labels on the molecules that both have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ppe", type=Path)
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    qm9 = QM9(data_dir() / "qm9")
    rows = {}
    for k, smiles in enumerate(qm9.all_smiles()):
        mol = Chem.MolFromSmiles(smiles)
        if mol is not None:
            rows.setdefault(Chem.MolToSmiles(mol, isomericSmiles=False), k)
    names = list(qm9.molecules.properties)
    found: dict[str, list[float]] = {}
    with gzip.open(args.ppe) as file:
        molecules = json.load(file)
    for one in molecules:
        if one["charge"] or one["multiplicity"] != 1 or len(one["symbols"]) > 20:
            continue
        atoms = ase.Atoms(one["symbols"], one["positions"])
        mol = from_coordinates(atoms.numbers.astype(np.int64), atoms.positions)
        if mol is None:
            continue
        k = rows.get(Chem.MolToSmiles(Chem.RemoveHs(mol), isomericSmiles=False))
        if k is None:
            continue
        made = thermal(atoms, [f / SCALED for f in one["frequencies_scaled"]])
        label = dict(zip(names, qm9.molecules.y[k].tolist(), strict=True))
        for name, value in (made or {}).items():
            is_energy = name in ("u298", "h298", "g298")
            own = label[name] - (label["u0"] - label["zpve"] if is_energy else 0.0)
            found.setdefault(name, []).append(value - own)
    for name, some in found.items():
        far = np.abs(some)
        print(f"{name}: n {len(far)}, median {np.median(far):.5f}, 90% {np.quantile(far, 0.9):.5f}")


if __name__ == "__main__":
    main()
