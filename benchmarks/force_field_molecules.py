"""Molecules that a force field is judged by, all of them named before any of them was run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from rdkit import Chem

from molgeo.data.forces.readers import GROUP_KEYS
from molgeo.data.qm9.dataset import QM9, split
from molgeo.simulation.structures import one_structure

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

STRANGE = {"hydrogen fluoride": "HF", "nitrogen": "N2", "carbon monoxide": "CO"}
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
    found = [one_structure(smiles) for smiles in WELL_KNOWN.values()]
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
