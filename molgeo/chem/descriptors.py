"""RDKit's descriptors of molecules: what the bonds say, without coordinates.

They are numbers that chemists have found telling: Crippen's logP, polar surface, counts of rings,
donors and groups; and how often each substructure of a Morgan fingerprint occurs, as the logarithm
of one plus the count. Models of few values take them beside the features of a backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem.bonds import from_coordinates
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages
from molgeo.runtime.errors import InputError

BITS: Final = 1024
RADIUS: Final = 2
"""Of the Morgan fingerprint."""

COUNTED: Final = "Morgan_"
"""Begins the names of substructures."""

LARGEST: Final = 1e6
"""Absolute value beyond which a descriptor is cut: some grow without bounds."""

UNKNOWN_BONDS: Final = (
    "the model takes descriptors of a molecule's bonds, and they cannot be read from these "
    "coordinates: give a SMILES, or a file with bonds"
)
IONS_BONDS: Final = (
    "the model takes descriptors of a molecule's bonds, and those of an ion cannot be read from "
    "coordinates: give a SMILES, or a file with bonds"
)
NO_SMILES: Final = (
    "the model takes descriptors of a molecule's bonds, and RDKit cannot read its SMILES"
)

_LEFT_OUT: Final = ("qed", "SPS", "BCUT2D_", "Ipc")
"""Beginnings of names of descriptors: the first three take a third of the time of all, the last
grows exponentially with a molecule."""


@cache
def _functions() -> dict[str, Any]:
    from rdkit.Chem import Descriptors

    return {name: f for name, f in Descriptors.descList if not name.startswith(_LEFT_OUT)}


def names() -> tuple[str, ...]:
    """Names of all descriptors that are taken."""
    return tuple(_functions())


def substructures() -> tuple[str, ...]:
    """Names of all substructures."""
    return tuple(f"{COUNTED}{k}" for k in range(BITS))


@cache
def _fingerprint() -> Any:
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    return GetMorganGenerator(radius=RADIUS, fpSize=BITS)


def counts_of(mol: Chem.Mol) -> NDArray[np.float64]:
    """(`BITS`,) how often each substructure occurs in a molecule."""
    with rdkit_messages():
        found: NDArray[np.float64] = _fingerprint().GetCountFingerprintAsNumPy(mol)
    return found.astype(np.float64)


def check(wanted: Sequence[str]) -> None:
    """Refuse names of descriptors that this RDKit does not have.

    Raises:
        InputError: there are some.
    """
    known = {*_functions(), *substructures()}
    if missing := [name for name in wanted if name not in known]:
        raise InputError(
            f"descriptors: the model takes {missing[0]!r}, which this version of RDKit does not "
            "compute; install the version that the model was made with"
        )


def of_rows(rows: Sequence[Molecule | SmilesRow], wanted: Sequence[str]) -> NDArray[np.float64]:
    """Descriptors of molecules; those of one SMILES are computed once.

    Args:
        rows: molecules that `bonds_refusal` has nothing against.
        wanted: names of descriptors.

    Returns:
        (rows, descriptors); 0 for what cannot be computed.

    Raises:
        InputError: this RDKit does not have one of them, or the bonds of a molecule are not known.
    """
    check(wanted)
    known: dict[str, NDArray[np.float64]] = {}
    found = []
    for row in rows:
        key = row.smiles or ""
        if not key or key not in known:
            if (mol := mol_of(row)) is None:
                raise InputError(f"{row.input}: {bonds_refusal(row)}")
            known[key] = of_mol(mol, wanted)
        found.append(known[key])
    return np.stack(found) if found else np.zeros((0, len(wanted)))


def bonds_refusal(row: Molecule | SmilesRow) -> str | None:
    """Why a model that takes descriptors cannot take a molecule, or None."""
    if mol_of(row) is not None:
        return None
    if row.smiles:
        return NO_SMILES
    return IONS_BONDS if isinstance(row, Molecule) and row.charge else UNKNOWN_BONDS


def of_mol(mol: Chem.Mol, wanted: Sequence[str]) -> NDArray[np.float64]:
    """Descriptors of a molecule; 0 if one cannot be computed.

    Args:
        mol: without explicit hydrogens.
        wanted: names.

    Returns:
        (descriptors,).
    """
    known = _functions()
    has_counts = any(name.startswith(COUNTED) for name in wanted)
    logs = np.log1p(counts_of(mol)) if has_counts else np.zeros(0)
    with rdkit_messages():
        values = [
            logs[int(name.removeprefix(COUNTED))] if name.startswith(COUNTED) else known[name](mol)
            for name in wanted
        ]
    return np.clip(np.nan_to_num(np.array(values, np.float64), nan=0.0), -LARGEST, LARGEST)


def mol_of(row: Molecule | SmilesRow) -> Chem.Mol | None:
    """The bonds of a molecule: of its SMILES, else read from its coordinates; None if unknown."""
    with rdkit_messages():
        if row.smiles:
            return mol_from_smiles(row.smiles)
        if not isinstance(row, Molecule) or row.charge:
            return None
        mol = from_coordinates(row.z, row.pos)
        found = None if mol is None else mol_from_smiles(Chem.MolToSmiles(Chem.RemoveHs(mol)))
        # Bare atoms would come back with hydrogens.
        whole = found is not None and Chem.AddHs(found).GetNumAtoms() == row.n_atoms
        return found if whole else None
