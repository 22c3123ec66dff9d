"""Salts and solvates: the molecule that a chemist means by them, and what was taken away."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Final, NamedTuple

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.SaltRemover import SaltRemover

from molgeo.chem.molecule import BadRow, SmilesRow, bad
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages

_SIMILAR: Final = 0.5
"""Of two different organic fragments, which are no common counterions, the smaller one may be meant
too if it has this part of the larger one's heavy atoms."""


class Parent(NamedTuple):
    """The molecule of a salt.

    Attributes:
        smiles: of the largest organic fragment that is no common counterion; neutral, if moving
            protons makes it so.
        stripped: SMILES of the others, as they were.
    """

    smiles: str
    stripped: str


def stripped(row: SmilesRow) -> SmilesRow | BadRow:
    """The row of a salt's largest fragment; any other row as it is."""
    found = parent(row.smiles)
    if isinstance(found, str):
        return bad(row, found)
    return row if found is None else replace(row, smiles=found.smiles, stripped=found.stripped)


def parent(smiles: str) -> Parent | str | None:
    """The largest fragment of a SMILES; or a reason if it is not clear which one that is.

    None for a SMILES that cannot be read or has one fragment, which is for others to say.
    """
    with rdkit_messages():
        mol = mol_from_smiles(smiles)
        fragments = [] if mol is None else list(Chem.GetMolFrags(mol, asMols=True))
        if len(fragments) < 2:
            return None
        organic = [one for one in fragments if any(a.GetAtomicNum() == 6 for a in one.GetAtoms())]
        meant = [one for one in organic if not _is_counterion(one)] or organic or fragments
        sizes = [one.GetNumHeavyAtoms() for one in meant]
        chosen = meant[sizes.index(max(sizes))]
        own = Chem.MolToSmiles(chosen)
        for other, size in zip(meant, sizes, strict=True):
            text = Chem.MolToSmiles(other)
            if text != own and size >= _SIMILAR * max(sizes):
                return (
                    f"{own} and {text} are of similar size: strip_salts cannot tell which one is "
                    "meant; give it alone"
                )
        rest = [Chem.MolToSmiles(one) for one in fragments if one is not chosen]
        neutral = rdMolStandardize.Uncharger().uncharge(chosen)
        return Parent(str(Chem.MolToSmiles(neutral)), ".".join(rest))


def _is_counterion(fragment: Chem.Mol) -> bool:
    """Whether RDKit knows it as a common counterion or solvent."""
    remover, salts = _known()
    return not (
        remover.remove(fragment).GetNumAtoms()
        and salts.StripMol(fragment, dontRemoveEverything=False).GetNumAtoms()
    )


@functools.cache
def _known() -> tuple[rdMolStandardize.FragmentRemover, SaltRemover]:
    return rdMolStandardize.FragmentRemover(leave_last=False), SaltRemover()
