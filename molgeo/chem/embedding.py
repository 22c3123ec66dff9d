"""Distance geometry: coordinates of a molecule from its bonds alone, by a ladder of settings."""

from __future__ import annotations

from typing import Any, Final

from rdkit import Chem
from rdkit.Chem import rdDistGeom

SEED: Final = 42

LADDER: Final[tuple[dict[str, Any], ...]] = (
    {"maxIterations": 50},
    {"maxIterations": 50, "useRandomCoords": True},
    {
        "maxIterations": 100,
        "useRandomCoords": True,
        "useExpTorsionAnglePrefs": False,
        "useMacrocycleTorsions": False,
        "useMacrocycle14config": False,
        "optimizerForceTol": 0.01,
    },
    {
        "maxIterations": 100,
        "useRandomCoords": True,
        "useExpTorsionAnglePrefs": False,
        "useBasicKnowledge": False,
        "ignoreSmoothingFailures": True,
        "enforceChirality": False,
    },
)
"""Settings of successive attempts, from ETKDGv3's own to plain distance geometry. The last one may
give up a stereo centre: such a result is checked against the SMILES before it is used."""


def embed_conformers(mol: Chem.Mol, n: int) -> list[int]:
    """Climb the ladder until there is a conformer, then make the others by the same settings.

    Each conformer has a seed of its own, so that the first ones do not depend on how many are made.

    Args:
        mol: with explicit hydrogens; gets the conformers.
        n: conformers to try.

    Returns:
        The numbers, ascending from 0 (if any), of those that were found.
    """
    wanted = _stereo(mol)
    for changes in LADDER:
        if not _embed(mol, 0, changes, wanted):
            continue
        return [0, *(k for k in range(1, n) if _embed(mol, k, changes, wanted))]
    return []


def _embed(mol: Chem.Mol, number: int, changes: dict[str, Any], wanted: set[Stereo]) -> bool:
    """Add one conformer; whether there is one with the right stereo."""
    settings = rdDistGeom.ETKDGv3()
    # RDKit would derive the same seeds for conformers that are embedded at once.
    own = {"randomSeed": (number + 1) * SEED, "numThreads": 1, "clearConfs": number == 0}
    for name, value in {**own, **changes}.items():
        setattr(settings, name, value)
    found = rdDistGeom.EmbedMolecule(mol, settings)
    if found < 0:
        return False
    if settings.enforceChirality or _has_stereo(mol, found, wanted):
        return True
    mol.RemoveConformer(found)
    return False


Stereo = tuple[int, str]


def _stereo(mol: Chem.Mol) -> set[Stereo]:
    """Assigned stereo centres and double bonds, as index and label (R, S, E, Z)."""
    centers = Chem.FindMolChiralCenters(mol, useLegacyImplementation=False)
    bonds = ((bond.GetIdx(), bond.GetStereo().name[-1]) for bond in mol.GetBonds())
    return {*centers, *((index, label) for index, label in bonds if label in "EZ")}


def _has_stereo(mol: Chem.Mol, conformer: int, wanted: set[Stereo]) -> bool:
    """Whether a conformer has the stereo that the SMILES asks for."""
    copy = Chem.Mol(mol)
    Chem.AssignStereochemistryFrom3D(copy, conformer)
    return wanted <= _stereo(copy)
