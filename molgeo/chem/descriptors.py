"""RDKit's descriptors of molecules: what the bonds say, without coordinates.

They are numbers that chemists have found telling: Crippen's logP, polar surface, counts of rings,
donors and groups; how often a substructure occurs, as the logarithm of one plus the count; and how
many groups there are that gain or lose a proton in water. Models of few values take them beside the
features of a backbone. A substructure is an atom with its surroundings, as Morgan fingerprints
number them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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

RADIUS: Final = 2
"""Bonds from the atom of a substructure to its end, at most."""

COUNTED: Final = "Substructure_"
"""Begins the names of substructures; their numbers follow."""

PLACES: Final = 1024
PLACED: Final = "Morgan_"
"""Begins names in older files, of the places of a fingerprint: the remainder of the number is the
place, so that several substructures share one."""

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


def substructures(mols: Iterable[Chem.Mol], least: int, most: int) -> tuple[str, ...]:
    """Names of the substructures that are in the most molecules.

    Args:
        mols: molecules without explicit hydrogens.
        least: molecules that have one.
        most: of them.
    """
    number_of = Counter(number for mol in mols for number in _substructures(mol))
    order = sorted(number_of, key=lambda number: (-number_of[number], number))
    return tuple(f"{COUNTED}{number}" for number in order[:most] if number_of[number] >= least)


def _substructures(mol: Chem.Mol) -> Mapping[int, int]:
    """Numbers of the substructures of a molecule, and how often each occurs."""
    found: dict[int, int] = _fingerprint().GetSparseCountFingerprint(mol).GetNonzeroElements()
    return found


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

    return GetMorganGenerator(radius=RADIUS)


class Descriptors:
    """Some descriptors, for any molecules.

    Args:
        wanted: their names.

    Raises:
        InputError: this version of RDKit does not have one of them.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        known = {**_functions(), **_groups()}
        self._columns = {}
        """Of substructures, by the number or the place."""
        self._functions = {}
        """Of all other descriptors, by their columns."""
        for k, name in enumerate(wanted):
            prefix, _, number = name.rpartition("_")
            if f"{prefix}_" in (COUNTED, PLACED) and number.isdecimal():
                self._columns[f"{prefix}_", int(number)] = k
            elif name in known:
                self._functions[k] = known[name]
            else:
                raise InputError(
                    f"descriptors: the model takes {name!r}, which this version of RDKit does not "
                    "compute; install the version that the model was made with"
                )
        self._n = len(wanted)

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
        found = np.zeros((len(rows), self._n), np.float32)
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
        found = np.zeros(self._n)
        with rdkit_messages():
            for k, function in self._functions.items():
                found[k] = function(mol)
            if self._columns:
                self._count(mol, found)
        found = np.nan_to_num(found, nan=0.0)
        return np.clip(found, -LARGEST, LARGEST).astype(np.float32)

    def _count(self, mol: Chem.Mol, found: NDArray[np.float64]) -> None:
        """Write the logarithms of one plus the counts into columns that are 0."""
        for number, n in _substructures(mol).items():
            for key in ((COUNTED, number), (PLACED, number % PLACES)):
                if key in self._columns:
                    found[self._columns[key]] += n
        columns = list(self._columns.values())
        found[columns] = np.log1p(found[columns])


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
