"""RDKit's descriptors of molecules: what the bonds say, without coordinates.

They are numbers that chemists have found telling: Crippen's logP, polar surface, counts of rings,
donors and groups; how often each substructure of a Morgan fingerprint occurs, as the logarithm of
one plus the count; and how many groups there are that gain or lose a proton in water. Models of few
values take them beside the features of a backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem.bonds import from_coordinates
from molgeo.chem.molecule import Molecule, SmilesRow
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages
from molgeo.runtime.errors import InputError

Array = NDArray[np.float32]

BITS: Final = 1024
RADIUS: Final = 2
"""Of the Morgan fingerprint."""

COUNTED: Final = "Morgan_"
"""Begins the names of substructures."""

_ON_CARBON: Final = "!$(N~[!#6]);!$(N-C=[O,S,N]);!$(Nc);!$(N-C#N);!$(N-C=C)"
CHARGED_GROUPS: Final = {
    "carboxylic_acid": "[OX2H1;$(OC=O)]",
    "other_oxoacid": "[OX2H1;$(O[S,P]=O)]",
    "tetrazole": "[nH;$(n1nnnc1),$(n1nncn1)]",
    "acyl_sulfonamide": "[NX3H1;$(NS(=O)=O);$(NC=O)]",
    "aryl_sulfonamide": "[NX3H1;$(NS(=O)=O);$(Nc)]",
    "phenol": "[OX2H1;$(Oc)]",
    "primary_amine": f"[NX3H2;{_ON_CARBON}]",
    "secondary_amine": f"[NX3H1;{_ON_CARBON}]",
    "tertiary_amine": f"[NX3H0;{_ON_CARBON}]",
    "amidine": "[CX3;$(C([NX3])=[NX2]);!$(C(N)(N)=N)]",
    "guanidine": "[CX3;$(C(N)(N)=N)]",
    "pyridine": "[nX2r6]",
    "azole": "[nX2r5]",
    "aniline": "[NX3;$(Nc);!$(N-C=O);!$(N-S=O)]",
    "cation": "[+;!$([+]~[-])]",
    "anion": "[-;!$([-]~[+])]",
}
"""SMARTS of an atom of each group that is charged in water, or may be: acids, bases, ions. The
nitrogen of an amine is bonded to saturated carbon alone."""

CHARGED: Final = "Charged_"
"""Begins the names of their counts."""

LARGEST: Final = 1e6
"""Absolute value beyond which a descriptor is cut: some grow without bounds."""

KEPT: Final = 1024
"""Molecules whose bonds are remembered: a prediction asks whether they are known, then for them."""

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


def _number(pattern: Chem.Mol, mol: Chem.Mol) -> int:
    return len(mol.GetSubstructMatches(pattern))


@cache
def _groups() -> dict[str, Any]:
    return {
        f"{CHARGED}{name}": partial(_number, Chem.MolFromSmarts(smarts))
        for name, smarts in CHARGED_GROUPS.items()
    }


def groups() -> tuple[str, ...]:
    """Names of the counts of groups that are charged in water."""
    return tuple(_groups())


@cache
def _fingerprint() -> Any:
    from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

    return GetMorganGenerator(radius=RADIUS, fpSize=BITS)


class Descriptors:
    """Some descriptors, for any molecules.

    Args:
        wanted: their names.

    Raises:
        InputError: this version of RDKit does not have one of them.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        known = {**_functions(), **{name: k for k, name in enumerate(substructures())}, **_groups()}
        if missing := [name for name in wanted if name not in known]:
            raise InputError(
                f"descriptors: the model takes {missing[0]!r}, which this version of RDKit does "
                "not compute; install the version that the model was made with"
            )
        self._each = [known[name] for name in wanted]
        self._counts = any(isinstance(one, int) for one in self._each)

    def of_rows(self, rows: Sequence[Molecule | SmilesRow]) -> Array:
        """Descriptors of molecules; those of one SMILES are computed once.

        Args:
            rows: molecules that `bonds_refusal` has nothing against.

        Returns:
            (rows, descriptors); 0 for what cannot be computed.

        Raises:
            InputError: the bonds of a molecule are not known.
        """
        known: dict[str, Array] = {}
        found = np.zeros((len(rows), len(self._each)), np.float32)
        for k, row in enumerate(rows):
            own = known.get(row.smiles or "")
            if own is None:
                if (mol := mol_of(row)) is None:
                    raise InputError(f"{row.input}: {bonds_refusal(row)}")
                own = self._of(mol)
                if row.smiles:
                    known[row.smiles] = own
            found[k] = own
        return found

    def _of(self, mol: Chem.Mol) -> Array:
        """(descriptors,) of a molecule without explicit hydrogens."""
        with rdkit_messages():
            counts = _fingerprint().GetCountFingerprintAsNumPy(mol) if self._counts else np.zeros(0)
            logs = np.log1p(counts.astype(np.float64))
            values = [logs[one] if isinstance(one, int) else one(mol) for one in self._each]
        found = np.nan_to_num(np.array(values, np.float64), nan=0.0)
        return np.clip(found, -LARGEST, LARGEST).astype(np.float32)


def bonds_refusal(row: Molecule | SmilesRow) -> str | None:
    """Why a model that takes descriptors cannot take a molecule, or None."""
    if mol_of(row) is not None:
        return None
    if row.smiles:
        return NO_SMILES
    return IONS_BONDS if isinstance(row, Molecule) and row.charge else UNKNOWN_BONDS


def mol_of(row: Molecule | SmilesRow) -> Chem.Mol | None:
    """The bonds of a molecule: of its SMILES, else read from its coordinates; None if unknown."""
    if row.smiles:
        return _of_smiles(row.smiles)
    if not isinstance(row, Molecule) or row.charge:
        return None
    return _of_coordinates(row.z.astype(np.int64).tobytes(), row.pos.astype(np.float64).tobytes())


@lru_cache(KEPT)
def _of_smiles(smiles: str) -> Chem.Mol | None:
    with rdkit_messages():
        return mol_from_smiles(smiles)


@lru_cache(KEPT)
def _of_coordinates(numbers: bytes, points: bytes) -> Chem.Mol | None:
    z, pos = np.frombuffer(numbers, np.int64), np.frombuffer(points).reshape(-1, 3)
    with rdkit_messages():
        mol = from_coordinates(z, pos)
        found = None if mol is None else mol_from_smiles(Chem.MolToSmiles(Chem.RemoveHs(mol)))
        # Bare atoms would come back with hydrogens.
        whole = found is not None and Chem.AddHs(found).GetNumAtoms() == len(z)
        return found if whole else None
