"""SMILES → coordinates: ETKDGv3 embedding, then a clean-up by MMFF94 or UFF.

Everything is deterministic: the seeds are fixed, and no decision depends on time or on the number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from molgeo.chem.bonds import agree, atomic_numbers, has_stereo
from molgeo.chem.conformers.canonical import (
    Canonical,
    canonical,
    may_strain,
    open_stereo,
    opened_to_e,
    settled,
    told,
    with_hydrogens,
)
from molgeo.chem.conformers.embedding import attempts
from molgeo.chem.conformers.force_field import Conformers, failure, minimise
from molgeo.chem.limits import DEFAULT_LIMITS, Clock, Limits, Once, OutOfTimeError
from molgeo.chem.molecule import BadRow, Frame, Molecule, SmilesRow, bad
from molgeo.chem.parsing import isotope_reason, rdkit_messages, smiles_fault, why_none

_NO_CONFORMER: Final = (
    "no conformer: RDKit could not embed this molecule; check its rings and stereo centres, "
    "or give coordinates (xyz, sdf)"
)


_FIXED: Final = Limits(are_options=False)
TRIALS: Final = 8  # as of `Embedder`, if there is time
RECENT: Final = 512  # molecules whose conformers are kept for rows that name them again

Refusal = Callable[[list[int], int], str | None]
"""Why a model would refuse a molecule, by its atomic numbers and total charge; None if it does
not."""


class Embedder:
    """Makes conformers of SMILES: of the canonical form, and of each molecule once.

    Args:
        n: conformers of each molecule.
        refuse: asked before any conformer is made.
        limits: of each row.
        trials: conformers made to see a stable isomer if others would be strained.
    """

    def __init__(
        self,
        n: int = 1,
        refuse: Refusal | None = None,
        limits: Limits = DEFAULT_LIMITS,
        trials: int = TRIALS,
    ) -> None:
        self.n, self.trials = n, trials
        self.refuse = refuse
        self.limits = limits
        self._isomer_of = Once(self._isomer, RECENT)
        self._made_of = Once(self._make, RECENT)

    def molecules(self, row: SmilesRow) -> list[Molecule] | BadRow:
        """Conformers with the atoms in the order of a SMILES, and of its handedness.

        Returns:
            One to ``n`` molecules, lowest force-field energy first; their ``geometry`` is
            ``etkdg+mmff``, ``etkdg+uff``, or ``etkdg`` if neither force field knows the atoms.
            Or the reason why there are none.
        """
        found = self._found(row)
        if isinstance(found, BadRow):
            return found
        given, form, made, stereo = found
        order = with_hydrogens(form.order, given, form.mol)
        frame = Frame(form.smiles, order, form.mirrored)
        own = row.smiles, row.name, row.input, made.geometry
        labels: dict[str, Any] = {
            "extra": row.extra,
            "stripped": row.stripped,
            "frame": frame,
            "stereo": stereo,
        }
        return [
            Molecule(made.z[order], pos[order], made.charge, *own, **labels)
            for pos in (-made.pos if form.mirrored else made.pos)
        ]

    def canonical(self, row: SmilesRow) -> Conformers | BadRow:
        """Conformers of the canonical form of a SMILES, in its order."""
        found = self._found(row)
        return found if isinstance(found, BadRow) else found.made

    def _found(self, row: SmilesRow) -> _Found | BadRow:
        """What was made of a SMILES, or why nothing was."""
        fault = smiles_fault(row.smiles)
        if fault is not None:
            return bad(row, fault)
        with rdkit_messages():
            mol, reason = self._read(row.smiles)
            try:
                found = reason if mol is None or reason else self._form(mol)
            except (RuntimeError, ValueError) as error:  # RDKit's invariants and preconditions
                found = failure(error)
        if isinstance(found, _Found):
            return found
        refused = bad(row, found or "")
        if mol is None:
            return refused
        formula = rdMolDescriptors.CalcMolFormula(mol)
        return replace(refused, formula=formula, n_atoms=_n_atoms(mol))

    def _read(self, smiles: str) -> tuple[Chem.Mol | None, str | None]:
        """The molecule of a SMILES, and why it is refused."""
        # Unsanitised, as to look for rings takes long and much memory in a large net of them.
        graph = Chem.MolFromSmiles(smiles, sanitize=False)
        n_written = 0 if graph is None else graph.GetNumAtoms()
        reason = self.limits.too_large(n_written, more="at least ")
        if reason is not None:
            return None, reason
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            reason = _first_reason(why_none(partial(Chem.MolFromSmiles, smiles)))
            return None, f"not a valid SMILES: {reason}"
        reason = _refusal(mol)
        if reason is not None:
            return mol, reason
        reason = self.limits.too_large(_n_atoms(mol))
        if reason is not None or self.refuse is None:
            return mol, reason
        return mol, self.refuse(atomic_numbers(Chem.AddHs(mol)).tolist(), Chem.GetFormalCharge(mol))

    def _form(self, mol: Chem.Mol) -> _Found | str:
        """Conformers of a sound molecule, of one isomer if several are possible; or why not."""
        clock = Clock(self.limits.seconds, self.limits.are_options)
        given = canonical(mol)
        reason = ""
        # The first isomer that comes may be one of those that can hardly be embedded.
        for trials in dict.fromkeys((self.trials, TRIALS)):
            isomer = self._isomer_of((given.smiles, trials), clock)
            if isinstance(isomer, str):
                return isomer
            form, n_open = isomer[0].of(given), isomer[1]
            made = self._made_of(form.smiles, clock)
            if not isinstance(made, str):
                return _Found(mol, form, made, told(form, n_open))
            reason = made
        return reason

    def _isomer(self, key: tuple[str, int], clock: Clock) -> tuple[Canonical, int] | str:
        """The isomer that a trial conformer shows and how much was open, or why there is none.

        Args:
            key: the SMILES, and how many trials there are if some isomers may be strained.
            clock: looked at before each conformer.
        """
        mol = Chem.MolFromSmiles(key[0])
        free = open_stereo(mol)
        if not free:
            return canonical(mol), 0
        n = key[1] if may_strain(mol, free) else 1
        trial = _conformers_or_reason(opened_to_e(mol), n, clock)
        return trial if isinstance(trial, str) else settled(mol, trial.pos[0])

    def _make(self, smiles: str, clock: Clock) -> Conformers | str:
        return _conformers_or_reason(Chem.MolFromSmiles(smiles), self.n, clock)


class _Found(NamedTuple):
    """The molecule as given, its canonical form, conformers of that, and what was open."""

    given: Chem.Mol
    form: Canonical
    made: Conformers
    stereo: str


def embed(row: SmilesRow, n: int = 1) -> list[Molecule] | BadRow:
    """Conformers of one SMILES: `Embedder.molecules`."""
    return Embedder(n).molecules(row)


def generate(row: SmilesRow, n: int = 1) -> Conformers | BadRow:
    """Conformers of one SMILES of a data set with their energies: `Embedder.canonical`."""
    return Embedder(n, limits=_FIXED).canonical(row)


def _conformers_or_reason(mol: Chem.Mol, n: int, clock: Clock) -> Conformers | str:
    try:
        return conformers(mol, n, clock) or _NO_CONFORMER
    except OutOfTimeError as error:
        return str(error)
    except (RuntimeError, ValueError) as error:  # RDKit's invariants and preconditions
        return failure(error)


def conformers(mol: Chem.Mol, n: int, clock: Clock) -> Conformers | None:
    """Embed and minimise a sound RDKit molecule; None if every attempt fails."""
    mol = Chem.AddHs(mol)
    for numbers, sound in attempts(mol, n, clock):
        energies, force_field = minimise(mol, clock)
        pos = [conformer.GetPositions() for conformer in mol.GetConformers()]
        good = [
            k for k, one in enumerate(pos) if sound or (agree(mol, one) and has_stereo(mol, one))
        ]
        if 0 not in good:  # the one that would be made alone
            continue
        order = sorted(good, key=lambda k: energies[k])
        return Conformers(
            z=atomic_numbers(mol),
            pos=np.stack([pos[k] for k in order]),
            energy=np.array([energies[k] for k in order]),
            number=np.array([numbers[k] for k in order]),
            charge=Chem.GetFormalCharge(mol),
            geometry=f"etkdg+{force_field}" if force_field else "etkdg",
        )
    return None


def _refusal(mol: Chem.Mol) -> str | None:
    """Why a parsed SMILES is no molecule that can be embedded, or None."""
    if mol.GetNumAtoms() == 0:
        return "the SMILES has no atoms: give at least one"
    if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
        return "the SMILES has a wildcard atom (*): replace it with an element"
    isotopes = isotope_reason(mol)
    if isotopes is not None:
        return isotopes
    n_fragments = len(Chem.GetMolFrags(mol))
    if n_fragments > 1:
        return f"the SMILES has {n_fragments} fragments: give each on its own, without the '.'"
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
    if unpaired:
        return (
            f"radical: {unpaired} unpaired electron{'s' if unpaired > 1 else ''} in the SMILES; "
            "radicals and carbenes are not supported, add the missing hydrogens"
        )
    return None


def _n_atoms(mol: Chem.Mol) -> int:
    return int(mol.GetNumAtoms(onlyExplicit=False))


def _first_reason(messages: list[str]) -> str:
    """RDKit's first line, without its prefix and the input, which the row shows anyway."""
    position = next((m for m in messages if "around position" in m), "")
    first = messages[0].removeprefix("SMILES Parse Error: ")
    first = first.split(" for input:")[0].split(" while parsing:")[0]
    where = position.rpartition("around ")[2].rstrip(":")
    return f"{first} (at {where})" if where else first
