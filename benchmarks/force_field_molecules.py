"""Molecules that a force field is judged by, all of them named before any of them was run."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms
from force_field_data.molecules import HERE, part, read, scaffold, unique, usable
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem, rdMolTransforms

from molgeo.data.forces.readers import GROUP_KEYS
from molgeo.data.qm9.dataset import QM9, split
from molgeo.simulation.structures import structures

SMALL = {
    "water": "H2O",
    "methane": "CH4",
    "ammonia": "NH3",
    "hydrogen cyanide": "HCN",
    "carbon dioxide": "CO2",
    "formaldehyde": "H2CO",
    "methanol": "CH3OH",
    "ethane": "C2H6",
    "ethylene": "C2H4",
    "acetylene": "C2H2",
    "formic acid": "HCOOH",
    "acetaldehyde": "CH3CHO",
    "methylamine": "H3CNH2",
    "acetonitrile": "CH3CN",
    "dimethyl ether": "CH3OCH3",
    "propane": "C3H8",
    "cyclopropane": "C3H6_D3h",
    "difluoromethane": "H2CF2",
    "acetamide": "CH3CONH2",
    "furan": "C4H4O",
}
"""Name → that of ``ase.build.molecule``."""

STRANGE = {
    "hydrogen": "H2",
    "hydrogen fluoride": "HF",
    "nitrogen": "N2",
    "carbon monoxide": "CO",
    "sulfur dioxide": "SO2",
}
"""As `SMALL`, but bonds that no molecule of QM9 has: shown, not counted."""

WELL_KNOWN = {
    "ethanol": "CCO",
    "benzene": "c1ccccc1",
    "glycine": "NCC(=O)O",
    "uracil": "O=c1cc[nH]c(=O)[nH]1",
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
}
"""Name → SMILES."""

KINDS = {
    "with fluorine": "F",
    "three-membered ring": "[r3]",
    "nitrile": "C#N",
    "amide": "C(=O)N",
    "aromatic nitrogen": "n",
}
"""Kind of a QM9 molecule → SMARTS."""


def drawn(seed: int) -> Iterator[Atoms]:
    """QM9's test molecules in random order, at QM9's geometries.

    Args:
        seed: of the order.

    Yields:
        Atoms, with ``name``, ``smiles`` and ``qm9`` (its index) in ``info``.
    """
    source = QM9()
    test = split(len(source)).test
    for place in np.random.RandomState(seed).permutation(len(test)):
        row = int(test[place])
        first, last = source.molecules.ptr[row : row + 2].tolist()
        z, pos = (x[first:last].numpy() for x in (source.molecules.z, source.molecules.pos))
        index = int(source.molecules.idx[row])
        info = {"name": f"QM9 {index}", "smiles": source.smiles(row), "qm9": index}
        yield Atoms(z, pos.astype(float), info=info)


def ten(seed: int) -> list[Atoms]:
    """The five of `WELL_KNOWN`, by RDKit, and of `drawn` the first of each of `KINDS`."""
    found = [next(structures(smiles)) for smiles in WELL_KNOWN.values()]
    for atoms, name in zip(found, WELL_KNOWN, strict=True):
        atoms.info["name"] = name
    for kind, smarts in KINDS.items():
        taken = {atoms.info["name"] for atoms in found}
        pattern = Chem.MolFromSmarts(smarts)
        atoms = next(
            atoms
            for atoms in drawn(seed)
            if atoms.info["name"] not in taken
            and Chem.MolFromSmiles(atoms.info["smiles"]).HasSubstructMatch(pattern)
        )
        atoms.info["kind"] = kind
        found.append(atoms)
    return found


def known_to(files: list[Path]) -> set[int]:
    """QM9's indices of the molecules that files of force data have configurations of."""
    known: set[int] = set()
    for path in files:
        with np.load(path) as arrays:
            key = next(key for key in GROUP_KEYS if key in arrays)
            known.update(np.unique(arrays[key]).tolist())
    return known


IN_ROW = {
    "S": "[#16]",
    "Cl": "[Cl]",
    "P": "[#15]",
    "anion": "[-;!$([-]~[+])]",
    "cation": "[+;!$([+]~[-])]",
}
"""Kind of a drug-like molecule → SMARTS; charges that have no neighbour of the other sign."""
FRAGMENTS = "RECAP"
"""In the name of the sets of drug fragments."""
TORSION = "[!#1;!$(*#*)]~[!$(*#*)&!D1:1]-!@[!$(*#*)&!D1:2]~[!#1;!$(*#*)]"
"""A bond that turns, and a heavy atom on either side of it."""


@dataclass(frozen=True)
class Library:
    """Molecules of a list of SMILES that a model can take and has not been trained on.

    Their scaffolds are of the test part of ``force_field_data``, as far as the model is of it.

    Attributes:
        path: ``.csv.gz`` with the columns ``smiles`` and ``set``.
        seed: of the order.
        elements: atomic numbers that the model knows.
        charges: total charges that it knows.
    """

    path: Path
    seed: int
    elements: Collection[int]
    charges: Collection[int]

    @cached_property
    def rows(self) -> list[tuple[str, str]]:
        """SMILES and set, in random order, each molecule once."""
        with gzip.open(self.path, "rt") as file:
            rows = sorted({(row["smiles"], row["set"]) for row in csv.DictReader(file)})
        return [rows[k] for k in np.random.default_rng(self.seed).permutation(len(rows))]

    @cached_property
    def trained(self) -> frozenset[str]:
        """Scaffolds of the molecules that were listed for training."""
        listed = unique([smiles for path in sorted(HERE.glob("*.smi")) for smiles in read(path)])
        return frozenset(scaffold(mol) for mol in listed.values())

    def drawn(self, least: int, most: int, within: str = "", smarts: str = "") -> Iterator[Atoms]:
        """Conformers of molecules, by RDKit, as `molgeo.simulation.structures` makes them.

        Args:
            least: atoms.
            most: atoms.
            within: part of the name of their set.
            smarts: that they match.

        Yields:
            Atoms with ``smiles`` and ``name``, the SMILES too, in ``info``.
        """
        for mol in self.molecules(least, most, within, smarts):
            smiles = Chem.MolToSmiles(mol)
            (atoms,) = structures(smiles)
            if isinstance(atoms, Atoms):
                atoms.info["name"] = smiles
                yield atoms

    def molecules(self, least: int, most: int, within: str, smarts: str) -> Iterator[Chem.Mol]:
        """As `drawn`, without coordinates."""
        RDLogger.DisableLog("rdApp.*")
        pattern = Chem.MolFromSmarts(smarts or "*")
        seen: set[str] = set()
        for smiles, name in self.rows:
            if within not in name or (mol := usable(smiles)) is None:
                continue
            elements = {atom.GetAtomicNum() for atom in mol.GetAtoms()}
            if not (
                least <= mol.GetNumAtoms(onlyExplicit=False) <= most
                and elements <= set(self.elements)
                and Chem.GetFormalCharge(mol) in self.charges
                and mol.HasSubstructMatch(pattern)
                and part(scaffold(mol), self.trained) == "test"
            ):
                continue
            if (key := Chem.MolToSmiles(mol)) not in seen:
                seen.add(key)
                yield mol


def ten_drugs(library: Library) -> list[Atoms]:
    """Two of each kind of `IN_ROW`, of 20 to 60 atoms; first one of each, then the others."""
    kinds: list[list[Atoms]] = []
    taken: set[str] = set()
    for kind, smarts in IN_ROW.items():
        kinds.append([])
        for atoms in library.drawn(20, 60, smarts=smarts):
            charged = bool(atoms.info.get("charge"))
            if atoms.info["name"] in taken or charged != (kind in ("anion", "cation")):
                continue
            atoms.info["kind"] = kind
            taken.add(atoms.info["name"])
            kinds[-1].append(atoms)
            if len(kinds[-1]) == 2:
                break
    return [atoms for place in zip(*kinds, strict=True) for atoms in place]


def conformers(mol: Chem.Mol, most: int, seed: int) -> list[Atoms]:
    """Different conformers at minima of MMFF94, or of UFF if it lacks parameters.

    Args:
        mol: without hydrogens.
        most: so many of them.
        seed: of RDKit's coordinates.
    """
    full = Chem.AddHs(mol)
    ids = AllChem.EmbedMultipleConfs(full, 4 * most, randomSeed=seed + 1, pruneRmsThresh=0.5)
    if AllChem.MMFFHasAllMoleculeParams(full):
        AllChem.MMFFOptimizeMoleculeConfs(full, maxIters=2000)
    else:
        AllChem.UFFOptimizeMoleculeConfs(full, maxIters=2000)
    return [as_atoms(full, k) for k in list(ids)[:most]]


def turned(mol: Chem.Mol, n: int, seed: int) -> tuple[tuple[int, ...], list[Atoms]]:
    """One torsion, drawn, at n even angles, with all else relaxed by MMFF94 or UFF.

    Returns:
        The four atoms of the torsion, and the structures; none if RDKit makes none.
    """
    found = mol.GetSubstructMatches(Chem.MolFromSmarts(TORSION))
    full = Chem.AddHs(mol)
    if not found or AllChem.EmbedMolecule(full, randomSeed=seed + 1) < 0:
        return (), []
    four = found[np.random.default_rng(seed).integers(len(found))]
    frames = []
    properties = AllChem.MMFFGetMoleculeProperties(full)
    for angle in np.arange(n) * 360.0 / n - 180.0:
        rdMolTransforms.SetDihedralDeg(full.GetConformer(), *four, float(angle))
        if properties is None:
            field = AllChem.UFFGetMoleculeForceField(full)
            held = field.UFFAddTorsionConstraint
        else:
            field = AllChem.MMFFGetMoleculeForceField(full, properties)
            held = field.MMFFAddTorsionConstraint
        field.Initialize()
        held(*four, False, angle, angle, 100.0)
        field.Minimize(maxIts=5000)
        frames.append(as_atoms(full))
        frames[-1].info["angle"] = float(angle)
    return four, frames


def as_atoms(mol: Chem.Mol, conformer: int = -1) -> Atoms:
    """A conformer of RDKit, with its charge."""
    numbers = [atom.GetAtomicNum() for atom in mol.GetAtoms()]
    atoms = Atoms(numbers, mol.GetConformer(conformer).GetPositions())
    if charge := Chem.GetFormalCharge(mol):
        atoms.info["charge"] = charge
    return atoms
