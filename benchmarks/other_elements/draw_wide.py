"""More molecules with Si, P, S or Cl, to train on in a smaller basis: `wide/molecules.csv`.

* ``pool``: small molecules of public lists of SMILES (openforcefield/qca-dataset-submission,
  CC BY 4.0), all of them.
* ``changed``: molecules of QM9's training part in which one atom is another one: carbon became
  silicon, nitrogen phosphorus, oxygen sulfur (with or without oxygen bonded to it), hydrogen
  chlorine. The lists have few molecules with silicon and phosphorus.
* ``grown``: molecules of three to five heavy atoms, which bond as their valences let them, so that
  every two elements are bonded in some.
* ``varied``: molecules that grew likewise to three to six, each from elements in shares of its own,
  more of them carbon. So some are chlorofluorocarbons, and others silanes.
* ``tiny``: all molecules of up to three heavy atoms that bond so.
* ``ringed``: molecules that grew like the varied ones to three to seven, with a ring if two
  atoms can close one.
* ``large``: molecules of the lists with 10 to 13 heavy atoms.
* ``long``: molecules of the lists with a hydrogen that became a chain of carbon: groups far apart.
* ``light``: molecules of the lists that have H, C, N, O and F alone, but that QM9 lacks, of 4 to 13
  heavy atoms: the model is also asked for these.
* ``chain``: carbon in a row, as in waxes, in which an atom is another one.
* ``rmg``: what `draw.py` left of RMG's G4 library (MIT), at geometries of QM9's level.

None has the scaffold of a molecule that validates or tests in `molecules.csv`, nor its skeleton;
the light ones have none of `../beyond_qm9` either.

    python benchmarks/other_elements/draw_wide.py qca_smiles.csv.gz rmg_g4_closed_shell.json.gz
"""

from __future__ import annotations

import argparse
import collections
import csv
import itertools
from collections.abc import Callable
from pathlib import Path

import ase
import ase.io
import numpy as np
import pandas as pd
from draw import (
    HERE,
    QM9_ELEMENTS,
    SEED,
    bonded,
    by_element,
    by_size,
    elements,
    even,
    group,
    is_wanted,
    read,
    skeleton,
)
from rdkit import Chem, RDLogger

from molgeo.data.location import data_dir
from molgeo.data.qm9.dataset import QM9

CHANGED = {"Si": 900, "P": 900, "S": 500, "Cl": 500}
MOST_HEAVY = 8
"""Heavy atoms of the molecules that are changed."""
N_GROWN = 800
GROWN = range(3, 6)
N_VARIED = 6000
N_LARGE, LARGE = 120, range(10, 14)
N_LONG, CHAINS = 120, ("CCCC", "CCCCCC", "CCCCCCCC", "CC(C)CC", "CCCC(C)C")
VARIED = range(3, 7)
N_TINY, TINY, MOST_TRIES = 2000, range(1, 4), 20_000
N_RINGED, RINGED = 2500, range(3, 8)
N_LIGHT, LIGHT = 600, range(4, 14)
N_CHAIN, CHAIN, IN_CHAIN = 10, range(12, 19), ("Cl", "S", "P", "[SiH2]")
BEYOND = HERE.parent / "beyond_qm9" / "molecules.csv"
SHARES = {"C": 1.2, "N": 0.4, "O": 0.4, "F": 0.3, "Si": 0.3, "P": 0.3, "S": 0.4, "Cl": 0.4}
"""Concentrations of the Dirichlet distribution that a varied molecule's elements come from."""
VALENCES = {"C": 4, "N": 3, "O": 2, "F": 1, "Si": 4, "P": 3, "S": 2, "Cl": 1}
DOUBLE, TRIPLE, OXIDE = 0.25, 0.3, 0.3
"""Shares of bonds that become double if they can, of these that become triple, and of phosphorus
and sulfur that an oxygen more is bonded to."""
REACTIONS = {
    "Si": ("[CX4:1]>>[Si:1]",),
    "P": ("[NX3;!$(N-[C,N]=*);!$(N-[#6;a]);!$(N-C#*):1]>>[P:1]", "[NX3;H0:1]>>[P:1]=O"),
    "S": (
        "[OX2:1]>>[S:1]",
        "[OX1:1]=[#6:2]>>[S:1]=[#6:2]",
        "[o:1]>>[s:1]",
        "[OX2;H0:1]([#6:2])[#6:3]>>[S:1](=O)([#6:2])[#6:3]",
        "[OX2;H0:1]([#6:2])[#6:3]>>[S:1](=O)(=O)([#6:2])[#6:3]",
        "[CX4;H2:1]([#6:2])[#6,#7:3]>>[S:1](=O)(=O)([#6:2])[*:3]",
    ),
    "Cl": ("[#6;!H0:1]>>[*:1]Cl",),
}
"""Changes by the element that they bring, of which one is drawn."""


def changed(mol: Chem.Mol, element: str, rng: np.random.Generator) -> str | None:
    """The SMILES of a molecule after one change; None if the change does not fit it."""
    reaction = Chem.rdChemReactions.ReactionFromSmarts(str(rng.choice(REACTIONS[element])))
    made = reaction.RunReactants((mol,))
    if not made:
        return None
    (product,) = made[rng.integers(len(made))]
    try:
        Chem.SanitizeMol(product)
    except Chem.MolSanitizeException:
        return None
    smiles = Chem.MolToSmiles(product)
    return None if Chem.GetFormalCharge(product) or Chem.MolFromSmiles(smiles) is None else smiles


def with_chain(smiles: str, rng: np.random.Generator) -> str | None:
    """A molecule with a chain instead of one hydrogen; None if it would not be of a large size."""
    mol = Chem.MolFromSmiles(smiles)
    ends = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetTotalNumHs()]
    chain = Chem.MolFromSmiles(str(rng.choice(CHAINS)))
    if not ends or mol.GetNumAtoms() + chain.GetNumAtoms() not in LARGE:
        return None
    both = Chem.RWMol(Chem.CombineMols(mol, chain))
    end = both.GetAtomWithIdx(int(rng.choice(ends)))
    both.AddBond(end.GetIdx(), mol.GetNumAtoms(), Chem.BondType.SINGLE)
    if end.GetNumExplicitHs():
        end.SetNumExplicitHs(end.GetNumExplicitHs() - 1)
    Chem.SanitizeMol(both)
    return Chem.MolToSmiles(both)


def one_chain(rng: np.random.Generator) -> str:
    """The SMILES of a chain of carbon in which an atom is another one."""
    atoms = ["C"] * int(rng.choice(CHAIN))
    other = str(rng.choice(IN_CHAIN))
    atoms[0 if other == "Cl" else rng.integers(len(atoms))] = other
    return Chem.CanonSmiles("".join(atoms))


def grown(
    rng: np.random.Generator,
    sizes: range,
    shares: np.ndarray | None = None,
    with_ring: bool = False,
) -> str:
    """The SMILES of a molecule that grew atom by atom, each bonded to a random one before.

    Args:
        rng: what chance decides by.
        sizes: numbers of heavy atoms.
        shares: of the elements of `VALENCES`; None for equal ones and no triple bonds.
        with_ring: close one if two atoms can, and have no triple bonds.
    """
    mol, free = Chem.RWMol(), []

    def bond(i: int, j: int, order: Chem.BondType) -> None:
        mol.AddBond(i, j, order)
        for k in (i, j):
            free[k] -= int(order)

    for _ in range(rng.choice(sizes)):
        symbol = str(rng.choice(list(VALENCES), p=shares))
        open_ones = [k for k, n in enumerate(free) if n]
        if free and not open_ones:
            break
        new = mol.AddAtom(Chem.Atom(symbol))
        free.append(VALENCES[symbol])
        if new:
            bond(int(rng.choice(open_ones)), new, Chem.BondType.SINGLE)
    if with_ring:
        apart = Chem.GetDistanceMatrix(mol)
        open_ones = [k for k, n in enumerate(free) if n]
        pairs = [x for x in itertools.combinations(open_ones, 2) if apart[x] > 1]
        if pairs:
            bond(*pairs[rng.integers(len(pairs))], Chem.BondType.SINGLE)
    may_triple = shares is not None and not with_ring
    for one in mol.GetBonds():
        i, j = one.GetBeginAtomIdx(), one.GetEndAtomIdx()
        if free[i] and free[j] and rng.random() < DOUBLE:
            one.SetBondType(Chem.BondType.DOUBLE)
            free[i], free[j] = free[i] - 1, free[j] - 1
            if may_triple and free[i] and free[j] and rng.random() < TRIPLE:
                one.SetBondType(Chem.BondType.TRIPLE)
                free[i], free[j] = free[i] - 1, free[j] - 1
    for atom in [x.GetIdx() for x in mol.GetAtoms() if x.GetSymbol() in ("P", "S")]:
        if rng.random() < OXIDE:
            mol.AddBond(atom, mol.AddAtom(Chem.Atom("O")), Chem.BondType.DOUBLE)
    Chem.SanitizeMol(mol)
    return Chem.MolToSmiles(mol)


class Drawn:
    """Molecules that were drawn so far, none like another one, nor like one that judges.

    Args:
        table: as `molecules.csv`.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        table = table[~table["set"].isin(("qm9", "again")) & (table["smiles"] != "")]
        mols = [Chem.MolFromSmiles(one) for one in table["smiles"]]
        self.have = {skeleton(mol) for mol in mols}
        judges = (table["part"] != "train").tolist()
        self.barred = {group(mol, "") for mol, one in zip(mols, judges, strict=True) if one}
        self.rows: list[tuple[str, str]] = []

    def add(self, kind: str, smiles: str) -> bool:
        """Whether it is a new one, which was added."""
        mol = Chem.MolFromSmiles(smiles)
        if skeleton(mol) in self.have or group(mol, "") in self.barred:
            return False
        self.have.add(skeleton(mol))
        self.rows.append((kind, smiles))
        return True

    def grow(self, kind: str, n: int, make: Callable[[], str]) -> None:
        """Add n new ones that have a new element, or fewer if no more are found."""
        tries = MOST_TRIES
        while n and tries:
            smiles = make()
            is_new = is_wanted(elements(Chem.MolFromSmiles(smiles))) and self.add(kind, smiles)
            n -= is_new
            tries = MOST_TRIES if is_new else tries - 1

    def add_some(self, kind: str, n: int, smiles: list[str], rng: np.random.Generator) -> None:
        """Add n of them, or all."""
        left = rng.permutation(smiles).tolist()
        while left and n:
            n -= self.add(kind, left.pop())


def add_changed(drawn: Drawn, rng: np.random.Generator) -> None:
    """Molecules of QM9 in which an atom is another one."""
    qm9 = QM9(data_dir() / "qm9")
    train = rng.permutation(qm9.split().train.numpy()).tolist()
    left = collections.Counter(CHANGED)
    while left.total():
        mol = Chem.MolFromSmiles(qm9.smiles(train.pop()))
        element = str(rng.choice(sorted(+left)))
        if mol is None or mol.GetNumHeavyAtoms() > MOST_HEAVY or Chem.GetFormalCharge(mol):
            continue
        smiles = changed(mol, element, rng)
        if smiles is not None and drawn.add("changed", smiles):
            left[element] -= 1


def add_light(drawn: Drawn, pool: list[str], rng: np.random.Generator) -> None:
    """Molecules of QM9's elements that QM9 lacks, as many of each size as there are."""
    beyond = [Chem.MolFromSmiles(one) for one in pd.read_csv(BEYOND)["smiles"]]
    drawn.barred |= {group(mol, "") for mol in beyond}
    of_qm9 = map(Chem.MolFromSmiles, QM9(data_dir() / "qm9").all_smiles())
    drawn.have |= {skeleton(mol) for mol in [*beyond, *of_qm9] if mol is not None}
    sizes: dict[int, list[str]] = {}
    for n, some in sorted(by_size(pool, LIGHT, QM9_ELEMENTS.issuperset).items()):
        mols = {smiles: Chem.MolFromSmiles(smiles) for smiles in sorted(some)}
        new = [smiles for smiles, mol in mols.items() if skeleton(mol) not in drawn.have]
        sizes[n] = [smiles for smiles in new if group(mols[smiles], "") not in drawn.barred]
    for smiles in even(sizes, N_LIGHT, rng):
        drawn.add("light", smiles)


def add_rmg(drawn: Drawn, library: Path) -> dict[tuple[str, str], ase.Atoms]:
    """What is left of a library, with its geometries."""
    geometries = {}
    for x in read(library):
        mol = bonded(x["symbols"], x["positions"]) if is_wanted(set(x["symbols"])) else None
        if mol is not None and drawn.add("rmg", Chem.MolToSmiles(mol)):
            geometries[drawn.rows[-1]] = ase.Atoms(x["symbols"], x["positions"])
    return geometries


def write(rows: list[tuple[str, str]], geometries: dict[tuple[str, str], ase.Atoms]) -> None:
    """molecules.csv, and geometries of theirs that are not in the file yet."""
    folder = HERE / "wide"
    folder.mkdir(exist_ok=True)
    number: collections.Counter[str] = collections.Counter()
    with (folder / "molecules.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["name", "set", "part", "smiles"])
        for kind, smiles in rows:
            name = f"{kind}_{number[kind]:04d}"
            number[kind] += 1
            out.writerow([name, kind, "train", smiles])
            if (kind, smiles) in geometries:
                geometries[kind, smiles].info = {"name": name, "state": "ok"}
    file, done = folder / "geometries.extxyz", set()
    if file.exists():
        done = {atoms.info["name"] for atoms in ase.io.iread(file, ":")}
    left = [atoms for atoms in geometries.values() if atoms.info["name"] not in done]
    ase.io.write(file, left, format="extxyz", append=True)
    print(number)


def main() -> None:
    """Write wide/molecules.csv, and the geometries that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool", type=Path)
    parser.add_argument("rmg", type=Path)
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    rng = np.random.default_rng(SEED)
    drawn = Drawn(pd.read_csv(HERE / "molecules.csv", keep_default_na=False))
    pool = pd.read_csv(args.pool)["smiles"].unique().tolist()
    for sizes in by_element(pool).values():
        for some in sizes.values():
            for smiles in some:
                drawn.add("pool", smiles)
    add_changed(drawn, rng)
    drawn.rows = [drawn.rows[k] for k in rng.permutation(len(drawn.rows))]
    drawn.grow("grown", N_GROWN, lambda: grown(rng, GROWN))
    geometries = add_rmg(drawn, args.rmg)
    drawn.grow("varied", N_VARIED, lambda: grown(rng, VARIED, rng.dirichlet([*SHARES.values()])))
    large = by_element(pool, LARGE).values()
    some = [smiles for sizes in large for smiles in even(sizes, N_LARGE, rng)]
    drawn.add_some("large", N_LARGE, some, rng)
    chained = [with_chain(smiles, rng) for kind, smiles in drawn.rows if kind == "pool"]
    drawn.add_some("long", N_LONG, [one for one in chained if one is not None], rng)
    drawn.grow("tiny", N_TINY, lambda: grown(rng, TINY, rng.dirichlet([*SHARES.values()])))
    drawn.grow(
        "ringed", N_RINGED, lambda: grown(rng, RINGED, rng.dirichlet([*SHARES.values()]), True)
    )
    add_light(drawn, pool, rng)
    drawn.grow("chain", N_CHAIN, lambda: one_chain(rng))
    write(drawn.rows, geometries)


if __name__ == "__main__":
    main()
