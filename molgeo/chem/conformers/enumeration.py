"""A row per stereo isomer of a SMILES that leaves some of its stereo open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, Final

from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molgeo.chem.conformers.canonical import (
    OpenStereo,
    canonical,
    canonical_smiles,
    has_handedness,
    may_strain,
    open_stereo,
)
from molgeo.chem.limits import MAX_ATOMS, ordered_map
from molgeo.chem.molecule import Row, SmilesRow, bad
from molgeo.chem.parsing import MAX_SMILES_LENGTH, rdkit_messages, smiles_fault

MAX_ISOMERS: Final = 32

_MAX_OPEN: Final = 12  # centres and bonds of which all combinations are looked at
_CENTRE: Final = (Chem.ChiralType.CHI_TETRAHEDRAL_CCW, Chem.ChiralType.CHI_TETRAHEDRAL_CW)
_BOND: Final = (Chem.BondStereo.STEREOTRANS, Chem.BondStereo.STEREOCIS)


class TooManyIsomersError(ValueError):
    """More isomers than `MAX_ISOMERS`; the message says what helps."""


def with_isomers(rows: Iterable[Row], max_atoms: int = MAX_ATOMS) -> Iterator[Row]:
    """Rows, with those of each isomer in the place of a SMILES that leaves stereo open.

    Args:
        rows: others than SMILES, and SMILES that cannot be read, pass through.
        max_atoms: larger molecules pass through.

    Yields:
        For each SMILES its isomers, of each pair of enantiomers one, with the rest as it was; or a
        bad row if there are too many.
    """

    def rows_of(row: Row) -> list[Row]:
        if not isinstance(row, SmilesRow) or smiles_fault(row.smiles, MAX_SMILES_LENGTH):
            return [row]
        with rdkit_messages():
            try:
                return [replace(row, smiles=one) for one in _isomeric(row.smiles, max_atoms)]
            except TooManyIsomersError as error:
                return [bad(row, str(error))]
            except Exception:  # whatever RDKit meets in one row is for who makes conformers to say
                return [row]

    for some in ordered_map(rows_of, rows):
        yield from some


def isomers(mol: Chem.Mol) -> list[str]:
    """SMILES of the isomers of a molecule whose stereo is partly open.

    Args:
        mol: hydrogens implicit.

    Returns:
        Isomeric SMILES, E first; one of each pair of enantiomers, and none that is too strained to
        be embedded. Those of a molecule that leaves nothing open are its own.

    Raises:
        TooManyIsomersError: there are more than `MAX_ISOMERS`.
    """
    free = open_stereo(mol)
    n_open = len(free.atoms) + len(free.bonds)
    found: dict[str, str] = {}
    for choice in product((0, 1), repeat=n_open) if n_open <= _MAX_OPEN else ():
        isomer = _chosen(mol, free, choice)
        form = canonical(isomer)
        own = canonical_smiles(isomer) if has_handedness(mol) else form.smiles
        found.setdefault(form.smiles, own)
        if len(found) > MAX_ISOMERS:
            break
    if len(found) > MAX_ISOMERS or n_open > _MAX_OPEN:
        raise TooManyIsomersError(
            f"{n_open} centres and double bonds are open: these are more than {MAX_ISOMERS} "
            "isomers; write some of them into the SMILES, or leave --enumerate-stereo out"
        )
    if not may_strain(mol, free):
        return list(found.values())
    return list(filter(_is_possible, found.values())) or list(found.values())


def _isomeric(smiles: str, max_atoms: int) -> list[str]:
    """SMILES of the isomers, or the one given if there are no others."""
    graph = Chem.MolFromSmiles(smiles, sanitize=False)
    if graph is None or graph.GetNumAtoms() > max_atoms or "." in smiles:
        return [smiles]
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or not open_stereo(mol):
        return [smiles]
    return isomers(mol)


def _chosen(mol: Chem.Mol, free: OpenStereo, choice: tuple[int, ...]) -> Chem.Mol:
    """A copy of a molecule in which each open centre and double bond is the one or the other."""
    copy = Chem.Mol(mol)
    Chem.FindPotentialStereoBonds(copy)
    picked = iter(choice)
    for index in free.bonds:
        bond, which = copy.GetBondWithIdx(index), next(picked)
        if len(bond.GetStereoAtoms()) < 2:  # RDKit leaves rings out
            bond.SetStereoAtoms(*_neighbours(bond))
        bond.SetStereo(_BOND[which])
    for index in free.atoms:
        copy.GetAtomWithIdx(index).SetChiralTag(_CENTRE[next(picked)])
    Chem.SetDoubleBondNeighborDirections(copy)
    Chem.AssignStereochemistry(copy, cleanIt=True, force=True)
    return copy


def _neighbours(bond: Chem.Bond) -> tuple[int, int]:
    """An atom at each end of a double bond."""
    begin, end = bond.GetBeginAtom(), bond.GetEndAtom()
    first, second = (
        next(n.GetIdx() for n in atom.GetNeighbors() if n.GetIdx() != other.GetIdx())
        for atom, other in ((begin, end), (end, begin))
    )
    return first, second


def _is_possible(smiles: str) -> bool:
    """Whether RDKit can embed an isomer in a few attempts."""
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed, settings.maxIterations, settings.numThreads = 42, 10, 1
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    return bool(rdDistGeom.EmbedMolecule(mol, settings) >= 0)
