"""Classes of molecules that errors are told for: by size, element and functional group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS
from molgeo.evaluation.coverage import INSIDE, OUTSIDE

GROUPS: Final = {
    "alcohol": "[OX2H][CX4]",
    "phenol or enol": "[OX2H][c,$(C=C)]",
    "ether": "[OX2]([#6;!$(C=O)])[#6;!$(C=O)]",
    "aldehyde": "[CX3H1](=O)[#6,H]",
    "ketone": "[#6][CX3](=O)[#6]",
    "carboxylic acid": "[CX3](=O)[OX2H1]",
    "ester": "[CX3](=O)[OX2][#6]",
    "amide": "[CX3](=O)[NX3]",
    "amine": "[NX3;!$(N[C,S]=[O,N,S]);!$(N~[N,O])][#6]",
    "imine, amidine or oxime": "[CX3]=[NX2]",
    "nitrile": "[CX2]#[NX1]",
    "alkyne": "[CX2]#[CX2]",
    "alkene": "[CX3]=[CX3]",
    "aromatic carbons": "c1ccccc1",
    "aromatic ring with N or O": "[n,o]",
    "ring of three": "[r3]",
    "C–F": "[#6][F]",
}
"""Name of a functional group → its SMARTS."""


class Molecules(NamedTuple):
    """What is known of the molecules that a model was measured on.

    Attributes:
        smiles: of each.
        numbers: atomic numbers of each.
        flagged: (molecules,) whether each is outside the model's domain; None if that is not told.
    """

    smiles: Sequence[str]
    numbers: Sequence[NDArray[np.int64]]
    flagged: NDArray[np.bool_] | None = None


class Members(NamedTuple):
    """A class of molecules: its name and which ones are in it, (molecules,) bool."""

    name: str
    among: NDArray[np.bool_]


def by_domain(molecules: Molecules) -> list[Members]:
    """Inside the model's domain, and outside of it."""
    if molecules.flagged is None:
        return []
    return [Members(INSIDE, ~molecules.flagged), Members(OUTSIDE, molecules.flagged)]


def by_size(molecules: Molecules) -> list[Members]:
    """By the number of heavy atoms."""
    heavy = np.array([int((z > 1).sum()) for z in molecules.numbers])
    return [Members(str(n), heavy == n) for n in np.unique(heavy)]


def by_element(molecules: Molecules) -> list[Members]:
    """Molecules with an element; one is in several classes."""
    sets = [set(z.tolist()) for z in molecules.numbers]
    known = sorted(set().union(*sets))
    return [Members(f"with {SYMBOLS[z]}", np.array([z in one for one in sets])) for z in known]


def by_group(molecules: Molecules) -> list[Members]:
    """Molecules with a functional group; one is in several classes, or in none."""
    from rdkit import Chem

    parsed = [Chem.MolFromSmiles(smiles) for smiles in molecules.smiles]

    def found() -> Iterator[Members]:
        for name, smarts in GROUPS.items():
            pattern = Chem.MolFromSmarts(smarts)
            has = [mol is not None and mol.HasSubstructMatch(pattern) for mol in parsed]
            yield Members(name, np.array(has, dtype=bool))

    return [one for one in found() if one.among.any()]
