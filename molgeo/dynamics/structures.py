"""What a user names, as atoms of ASE that can be moved."""

from __future__ import annotations

from collections.abc import Iterator

from ase import Atoms

from molgeo.chem.conformers import embed
from molgeo.chem.molecule import BadRow, InputError, Molecule, SmilesRow
from molgeo.chem.readers import check_sources, read
from molgeo.plausible import unfit_to_move


def structures(source: str) -> Iterator[Atoms | BadRow]:
    """Structures of one input, with a conformer where only a SMILES is given.

    Args:
        source: a SMILES, ``-`` for SMILES from standard input, or the name of a file.

    Yields:
        Atoms, periodic or not, whose ``info`` holds ``name``, ``smiles``, ``geometry`` (how the
        coordinates were made) and a ``charge`` other than zero; or the reason why there are none.

    Raises:
        InputError: the input cannot be read, or is empty.
    """
    check_sources([source])
    for row in read(source):
        molecule = row
        if isinstance(molecule, SmilesRow):
            made = embed(molecule)
            molecule = made if isinstance(made, BadRow) else made[0]
        reason = _refusal(molecule) if isinstance(molecule, Molecule) else None
        if reason is not None:
            molecule = BadRow(molecule.input, molecule.name, molecule.smiles, reason)
        yield molecule if isinstance(molecule, BadRow) else to_atoms(molecule)


def _refusal(molecule: Molecule) -> str | None:
    """Why nothing should move from here, whatever the model."""
    if molecule.open_shell:
        return f"open shell: {molecule.open_shell}"
    if not molecule.geometry.startswith("given"):
        return None
    return unfit_to_move(molecule.z, molecule.pos, molecule.cell, molecule.pbc)


def one_structure(source: str) -> Atoms:
    """The only structure of an input; arguments as in `structures`.

    Raises:
        InputError: there is none, or more than one, or it is a bad one.
    """
    found = structures(source)
    atoms = next(found)
    if isinstance(atoms, BadRow):
        raise InputError(f"{atoms.input}: {atoms.message}")
    n_more = sum(1 for _ in found)
    if n_more:
        raise InputError(f"{source}: expected one structure, got {n_more + 1}: give one of them")
    return atoms


def to_atoms(molecule: Molecule) -> Atoms:
    """A molecule as atoms of ASE, with float64 positions of their own."""
    info = {
        "name": molecule.name,
        "smiles": molecule.smiles,
        "geometry": molecule.geometry,
        "charge": molecule.charge,
    }
    return Atoms(
        molecule.z,
        molecule.pos,
        cell=molecule.cell,
        pbc=molecule.pbc,
        info={key: value for key, value in info.items() if value},
    )
