"""The molecules of the set, in parts by scaffold and in chunks that are each a fair sample.

    python benchmarks/force_field_data/molecules.py SMILES.csv.gz OUT [--chunks 40]

Writes ``OUT/NNN/{list,qm9,changed,large,medium}-{train,validation,test}.smi``. The lists beside
this file, made by hand, are for training, and molecules of the other sources with their scaffolds
are too. A SMILES has a name that is its group: a number of its scaffold.
"""

from __future__ import annotations

import argparse
import collections
import csv
import gzip
import hashlib
import itertools
import math
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

from molgeo.data.qm9.dataset import QM9

HERE = Path(__file__).parent
SEED = 17
ELEMENTS = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53))
LARGEST = 90
"""Atoms."""
TEST, VALIDATION = 0.055, 0.085
"""A scaffold's number, from 0 to 1, is in the test part below the first, in the validation part
below the second."""
SIZES = {"large": (40, LARGEST), "medium": (28, 39)}
"""Atoms of the molecules of sources that are drawn by size alone."""
PARTS = ("train", "validation", "test")
PER_CHUNK = {"list": 560, "qm9": 170, "changed": 120, "large": 24, "medium": 30}
SHARES = {5: 0.09, 14: 0.05, 15: 0.17, 16: 0.30, 17: 0.13, 35: 0.09, 53: 0.06}
"""Of the molecules of the list, those with an element at least."""
IONS = {1: 0.09, -1: 0.075}
SIZE, DECAY = 16, 7.0
"""Molecules above the size are the rarer, by e for each so many atoms more, the larger they are."""
REPEATED = 6
"""How often a molecule may be drawn, if there are too few with its elements."""


def scaffold(mol: Chem.Mol) -> str:
    """Bemis and Murcko's, or the formula of a molecule without rings."""
    if mol.GetRingInfo().NumRings():
        bare = Chem.Mol(mol)
        Chem.RemoveStereochemistry(bare)
        return MurckoScaffold.MurckoScaffoldSmiles(mol=bare)
    return rdMolDescriptors.CalcMolFormula(mol).rstrip("+-")


def group(key: str) -> int:
    """31 bits of a scaffold."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") >> 1


def part(key: str, trained: frozenset[str]) -> str:
    """Of a scaffold, by its hash alone; those of the listed molecules are for training."""
    u = group("part " + key) / 2**31
    if key in trained or u >= VALIDATION:
        return "train"
    return "test" if u < TEST else "validation"


def read(path: Path) -> list[str]:
    """SMILES of a list, one a line."""
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def usable(smiles: str) -> Chem.Mol | None:
    """The molecule, if it is one of the set's."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or len(Chem.GetMolFrags(mol)) > 1 or abs(Chem.GetFormalCharge(mol)) > 1:
        return None
    elements = {atom.GetAtomicNum() for atom in mol.GetAtoms()}
    if not elements <= ELEMENTS or any(a.GetNumRadicalElectrons() for a in mol.GetAtoms()):
        return None
    return mol if mol.GetNumAtoms(onlyExplicit=False) <= LARGEST else None


def unique(lines: list[str]) -> dict[str, Chem.Mol]:
    """Usable molecules by canonical SMILES, in alphabetical order."""
    found = {}
    for smiles in lines:
        mol = usable(smiles)
        if mol is not None:
            found[Chem.MolToSmiles(mol)] = mol
    return dict(sorted(found.items()))


def trained_scaffolds() -> frozenset[str]:
    """Those of the lists made by hand."""
    listed = unique([smiles for path in sorted(HERE.glob("*.smi")) for smiles in read(path)])
    return frozenset(scaffold(mol) for mol in listed.values())


def balanced(molecules: dict[str, Chem.Mol], wanted: int, rng: np.random.Generator) -> list[str]:
    """Draw so that each element and charge has its share, and small molecules more than theirs.

    Weights of elements and charges are raised until what is drawn on average has the shares
    (iterative proportional fitting).
    """
    names = list(molecules)
    n = np.array([m.GetNumAtoms(onlyExplicit=False) for m in molecules.values()])
    weight = np.exp(-np.maximum(n - SIZE, 0) / DECAY)
    elements = [{atom.GetAtomicNum() for atom in m.GetAtoms()} for m in molecules.values()]
    has = [(np.array([z in found for found in elements]), s) for z, s in SHARES.items()]
    charge = np.array([Chem.GetFormalCharge(m) for m in molecules.values()])
    has += [(charge == q, share) for q, share in IONS.items()]
    is_ion = has[-1][0] | has[-2][0]
    for _ in range(200):
        for member, share in has:
            now = weight[member].sum() / weight.sum()
            if now < share or np.array_equal(member & is_ion, member):
                weight[member] *= share / now * (1 - now) / (1 - share)
        weight = np.minimum(weight, REPEATED * weight.sum() / wanted)
    expected = wanted * weight / weight.sum()
    times = np.floor(expected + rng.random(len(names))).astype(int)
    return [name for name, k in zip(names, times, strict=True) for _ in range(k)]


CHANGES = (
    ("[OX2;H0,H1]", 16),
    ("[NX3;+0]", 15),
    ("[CX4;H1,H2]", 15),
    ("[CX4;!$(C1**1)]", 14),
    ("[CX3,CX4;H1,H2,H3;+0]", 5),
    ("[O]=C", 16),
)


def changed(smiles: str, rng: np.random.Generator) -> str | None:
    """A molecule with one atom in a heavier one's place, or one or two halogens for hydrogens."""
    mol = Chem.RWMol(Chem.MolFromSmiles(smiles))
    if rng.random() < 0.5:
        pattern, z = CHANGES[rng.integers(len(CHANGES))]
        found = mol.GetSubstructMatches(Chem.MolFromSmarts(pattern))
        if not found:
            return None
        atom = mol.GetAtomWithIdx(found[rng.integers(len(found))][0])
        atom.SetAtomicNum(z)
        if z == 5:
            atom.SetNumExplicitHs(0)
    else:
        for _ in range(int(rng.integers(1, 3))):
            open_atoms = [a.GetIdx() for a in mol.GetAtoms() if a.GetTotalNumHs() > 0]
            if not open_atoms:
                return None
            new = mol.AddAtom(Chem.Atom(int(rng.choice([9, 17, 17, 35, 35, 53]))))
            at = mol.GetAtomWithIdx(open_atoms[rng.integers(len(open_atoms))])
            at.SetNumExplicitHs(max(at.GetNumExplicitHs() - 1, 0))
            mol.AddBond(at.GetIdx(), new, Chem.BondType.SINGLE)
            mol.UpdatePropertyCache(strict=False)
    try:
        Chem.SanitizeMol(mol)
    except (Chem.MolSanitizeException, ValueError):
        return None
    made = Chem.MolToSmiles(mol)
    return made if usable(made) is not None else None


def main() -> None:
    """Write the lists."""
    parser = argparse.ArgumentParser()
    parser.add_argument("smiles", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chunks", type=int, default=40)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(SEED)
    trained = trained_scaffolds()
    with gzip.open(options.smiles, "rt") as file:
        lines = [row["smiles"] for row in csv.DictReader(file)]
    molecules = unique(lines)
    chosen = {"list": balanced(molecules, PER_CHUNK["list"] * options.chunks, rng)}
    data = QM9()
    rows = rng.permutation(len(data.molecules.ptr) - 1)
    names = list(unique([data.smiles(int(k)) for k in rows[:20000]]))
    rng.shuffle(names)
    n = PER_CHUNK["qm9"] * options.chunks
    chosen["qm9"] = names[:n]
    made = (changed(name, rng) for name in itertools.cycle(names[n:]))
    wanted = PER_CHUNK["changed"] * options.chunks
    chosen["changed"] = list(itertools.islice((m for m in made if m is not None), wanted))
    n_atoms = {name: mol.GetNumAtoms(onlyExplicit=False) for name, mol in molecules.items()}
    for k, (source, (least, most)) in enumerate(SIZES.items(), 1):
        pool = [name for name, n in n_atoms.items() if least <= n <= most]
        few = np.random.default_rng(SEED + k).permutation(len(pool))
        chosen[source] = [pool[i] for i in few[: PER_CHUNK[source] * options.chunks]]
    for source, all_names in chosen.items():
        rng.shuffle(all_names)
        per_chunk = math.ceil(len(all_names) / options.chunks)
        tally: collections.Counter[str] = collections.Counter()
        for k in range(options.chunks):
            folder = options.out / f"{k:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            texts = dict.fromkeys(PARTS, "")
            for name in all_names[k * per_chunk : (k + 1) * per_chunk]:
                key = scaffold(Chem.MolFromSmiles(name))
                where = part(key, trained)
                texts[where] += f"{name} {group(key)}\n"
                tally[where] += 1
            for where, text in texts.items():
                (folder / f"{source}-{where}.smi").write_text(text)
        print(source, dict(tally))


if __name__ == "__main__":
    main()
