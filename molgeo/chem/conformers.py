"""SMILES → coordinates: ETKDGv3 embedding, then a clean-up by MMFF94 or UFF.

Everything is deterministic: the seed is fixed, and no decision depends on time or on the number of
threads. RDKit lets go of the interpreter lock while it embeds and minimises, so that threads, which
need no pickling and no guarded main module, use all cores.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolDescriptors

from molgeo.chem.molecule import BadRow, Molecule, Row, SmilesRow
from molgeo.chem.rdkit_log import rdkit_messages

MAX_ATOMS: Final = 300
"""Atoms, hydrogens included, up to which conformers are made: beyond it takes many seconds each."""

SEED: Final = 42
_MINIMISER_STEPS: Final = 1000
_MORE_STEPS: Final = 5 * _MINIMISER_STEPS
_NO_CONFORMER: Final = (
    "no conformer: RDKit could not embed this molecule; check its rings and stereo centres, "
    "or give coordinates (xyz, sdf)"
)

_LADDER: Final[tuple[dict[str, Any], ...]] = (
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


def embed(row: SmilesRow, n: int = 1) -> list[Molecule] | BadRow:
    """Conformers of a SMILES.

    Args:
        row: the SMILES.
        n: conformers to embed.

    Returns:
        One to ``n`` molecules, lowest force-field energy first; their ``geometry`` is
        ``etkdg+mmff``, ``etkdg+uff``, or ``etkdg`` where neither force field knows the atoms. Or
        the reason why there are none.
    """
    with rdkit_messages() as messages:
        mol = Chem.MolFromSmiles(row.smiles)
        reason = _refusal(mol, messages)
        try:
            made = conformers(mol, n, row) if reason is None else []
        except (RuntimeError, ValueError) as error:  # RDKit's invariants and preconditions
            made, reason = [], f"no conformer: RDKit failed with {_one_line(error)}"
    if made:
        return made
    bad = BadRow(row.input, row.name, row.smiles, reason or _NO_CONFORMER)
    if mol is None:
        return bad
    return replace(bad, formula=rdMolDescriptors.CalcMolFormula(mol), n_atoms=_n_atoms(mol))


def conformers(mol: Chem.Mol, n: int, row: SmilesRow) -> list[Molecule]:
    """Embed and minimise a sound RDKit molecule; empty where every attempt fails."""
    mol = Chem.AddHs(mol)
    if not _embed_with_retries(mol, n):
        return []
    energies, how = _minimise(mol)
    z = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()], dtype=np.int64)
    charge = Chem.GetFormalCharge(mol)
    by_energy = sorted(zip(energies, mol.GetConformers(), strict=True), key=lambda pair: pair[0])
    return [
        Molecule(z, conformer.GetPositions(), charge, row.smiles, row.name, row.input, how)
        for _, conformer in by_energy
    ]


def _refusal(mol: Chem.Mol | None, messages: list[str]) -> str | None:
    """Why a parsed SMILES is no molecule that can be embedded, or None."""
    if mol is None:
        return f"not a valid SMILES: {_first_reason(messages)}"
    if mol.GetNumAtoms() == 0:
        return "the SMILES has no atoms: give at least one"
    if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
        return "the SMILES has a wildcard atom (*): replace it with an element"
    isotopes = isotope_reason(mol)
    if isotopes is not None:
        return isotopes
    n_fragments = len(Chem.GetMolFrags(mol))
    if n_fragments > 1:
        return f"the SMILES has {n_fragments} fragments: predict each on its own, without the '.'"
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    if unpaired:
        return (
            f"radical: {unpaired} unpaired electron{'s' if unpaired > 1 else ''} in the SMILES; "
            "radicals are not supported, add the missing hydrogens"
        )
    n_atoms = _n_atoms(mol)
    if n_atoms > MAX_ATOMS:
        return (
            f"{n_atoms} atoms with hydrogens: conformers are made up to {MAX_ATOMS} atoms, "
            "give coordinates (xyz, sdf) instead"
        )
    return None


def isotope_reason(mol: Chem.Mol) -> str | None:
    """Why a molecule with labelled isotopes is refused, or None for one without."""
    for atom in mol.GetAtoms():
        if atom.GetIsotope():
            return (
                f"isotope {atom.GetIsotope()}{atom.GetSymbol()}: the models know the common "
                "isotopes only, on which zpve, u298, h298, g298 and cv depend; remove the label "
                "to predict those"
            )
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _n_atoms(mol: Chem.Mol) -> int:
    return int(mol.GetNumAtoms(onlyExplicit=False))


def _first_reason(messages: list[str]) -> str:
    """RDKit's first line, without its prefix and the input, which the row shows anyway."""
    if not messages:
        return "RDKit gives no reason"
    position = next((m for m in messages if "around position" in m), "")
    first = messages[0].removeprefix("SMILES Parse Error: ").split(" for input:")[0]
    where = position.rpartition("around ")[2].rstrip(":")
    return f"{first} (at {where})" if where else first


def _embed_with_retries(mol: Chem.Mol, n: int) -> bool:
    """Climb the ladder until there is a conformer; the molecule then holds one to ``n``."""
    wanted = _stereo(mol)
    for changes in _LADDER:
        settings = rdDistGeom.ETKDGv3()
        for name, value in {"randomSeed": SEED, "numThreads": 1, **changes}.items():
            setattr(settings, name, value)
        found = list(rdDistGeom.EmbedMultipleConfs(mol, n, settings))
        if found and (settings.enforceChirality or _has_stereo(mol, wanted)):
            return True
    return False


def _stereo(mol: Chem.Mol) -> set[tuple[int, str]]:
    """Assigned stereo centres and double bonds, as index and label (R, S, E, Z)."""
    centers = Chem.FindMolChiralCenters(mol, useLegacyImplementation=False)
    bonds = ((bond.GetIdx(), bond.GetStereo().name[-1]) for bond in mol.GetBonds())
    return {*centers, *((index, label) for index, label in bonds if label in "EZ")}


def _has_stereo(mol: Chem.Mol, wanted: set[tuple[int, str]]) -> bool:
    """Whether every conformer has the stereo that the SMILES asks for."""
    for conformer in mol.GetConformers():
        copy = Chem.Mol(mol)
        Chem.AssignStereochemistryFrom3D(copy, conformer.GetId())
        if not wanted <= _stereo(copy):
            return False
    return True


def _minimise(mol: Chem.Mol) -> tuple[list[float], str]:
    """Relax all conformers in place; their energies in kcal/mol and the geometry's name."""
    optimize: Callable[..., list[tuple[int, float]]]
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(mol):
        optimize, how = rdForceFieldHelpers.MMFFOptimizeMoleculeConfs, "etkdg+mmff"
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        optimize, how = rdForceFieldHelpers.UFFOptimizeMoleculeConfs, "etkdg+uff"
    else:
        return [0.0] * mol.GetNumConformers(), "etkdg"
    energies = []
    relaxed = optimize(mol, numThreads=1, maxIters=_MINIMISER_STEPS)
    for conformer, (status, energy) in zip(mol.GetConformers(), relaxed, strict=True):
        if status == 1:  # out of steps; the others stay as they are
            alone = Chem.Mol(mol, False, conformer.GetId())
            ((_, energy),) = optimize(alone, numThreads=1, maxIters=_MORE_STEPS)
            conformer.SetPositions(alone.GetConformer().GetPositions())
        energies.append(energy)
    return energies, how


Built = list[Molecule] | BadRow


def build(rows: Iterable[Row], n: int = 1, workers: int | None = None) -> Iterator[Built]:
    """Give every row its coordinates, in order, a bounded number of rows ahead.

    Args:
        rows: molecules and bad rows pass through.
        n: conformers of each SMILES.
        workers: threads that embed; None for one a core, 1 for none.

    Yields:
        For each row its molecules, lowest force-field energy first, or a bad row.

    Raises:
        Exception: what ``rows`` raises, after all rows before it.
    """
    workers = workers or _n_cores()

    def make(row: Row) -> Built:
        if isinstance(row, SmilesRow):
            return embed(row, n)
        return row if isinstance(row, BadRow) else [row]

    if workers == 1:
        yield from map(make, rows)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="molgeo-conformers") as pool:
        yield from _ordered(pool, make, rows, ahead=8 * workers)


def _n_cores() -> int:
    """Cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ordered(
    pool: ThreadPoolExecutor, make: Callable[[Row], Built], rows: Iterable[Row], ahead: int
) -> Iterator[Built]:
    """``pool.map`` in which at most ``ahead`` rows wait; the original takes all at once."""
    pending: deque[Future[Built]] = deque()
    failure: Exception | None = None
    source = iter(rows)
    try:
        while True:
            try:
                while failure is None and len(pending) < ahead:
                    pending.append(pool.submit(make, next(source)))
            except StopIteration:
                break
            except Exception as error:
                failure = error
            if failure is not None:
                break
            yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        for future in pending:
            future.cancel()
