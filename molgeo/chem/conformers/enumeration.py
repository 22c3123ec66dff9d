"""A row per stereo isomer of a SMILES that leaves some of its stereo open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from rdkit import Chem
from rdkit.Chem import rdDistGeom
from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

from molgeo.chem.conformers.canonical import (
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
    options = StereoEnumerationOptions(onlyUnassigned=True, maxIsomers=2**_MAX_OPEN)
    for written in EnumerateStereoisomers(mol, options) if n_open <= _MAX_OPEN else ():
        isomer = Chem.MolFromSmiles(Chem.MolToSmiles(written))
        form = canonical(isomer).smiles
        found.setdefault(form, canonical_smiles(isomer) if has_handedness(mol) else form)
        if len(found) > MAX_ISOMERS:
            break
    if len(found) > MAX_ISOMERS or n_open > _MAX_OPEN:
        raise TooManyIsomersError(
            f"{n_open} centres and double bonds are open: these are more than {MAX_ISOMERS} "
            "isomers; write some of them into the SMILES, or leave --enumerate-stereo out"
        )
    all_of_them = list(found.values())
    if not may_strain(mol, free):
        return all_of_them
    return list(filter(_is_possible, all_of_them)) or all_of_them


def _isomeric(smiles: str, max_atoms: int) -> list[str]:
    """SMILES of the isomers, or the one given if there are no others."""
    graph = Chem.MolFromSmiles(smiles, sanitize=False)
    if graph is None or graph.GetNumAtoms() > max_atoms or "." in smiles:
        return [smiles]
    mol = Chem.MolFromSmiles(smiles)
    return [smiles] if mol is None or not open_stereo(mol) else isomers(mol)


def _is_possible(smiles: str) -> bool:
    """Whether RDKit can embed an isomer in a few attempts."""
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed, settings.maxIterations, settings.numThreads = 42, 10, 1
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    return bool(rdDistGeom.EmbedMolecule(mol, settings) >= 0)
