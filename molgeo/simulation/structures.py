"""What a user names, as atoms of ASE that can be moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ase import Atoms

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.readers import check_sources, read
from molgeo.chem.molecule import BadRow, Molecule, SmilesRow, bad
from molgeo.chem.plausible import unfit_to_move

VELOCITIES: Final = ("velo", "vel", "velocities", "velocity", "v", "momentum")
"""Names that other programs give to velocities, in units of their own."""

Say = Callable[[str], None]


def structures(
    source: str, say: Say | None = None, input_format: str | None = None
) -> Iterator[Atoms | BadRow]:
    """Structures of one input, with a conformer if only a SMILES is given.

    Args:
        source: a SMILES, ``-`` for SMILES from standard input, or the name of a file.
        say: called with what of the input is not used, once each, and with the isomer that was made
            of a SMILES that leaves its stereo open.
        input_format: as in `molgeo.chem.files.formats.ReadOptions`.

    Yields:
        Atoms, periodic or not, with the constraints, momenta, masses and tags of a file, whose
        ``info`` holds ``name``, ``smiles``, ``geometry`` (how the coordinates were made), a
        ``charge`` other than zero, what ``stereo`` was open and, of a file, ``input``, its place
        there; or the reason why there are none.

    Raises:
        InputError: the input cannot be read, or is empty.
    """
    options = ReadOptions(input_format=input_format, say=say)
    check_sources([source], options)
    said: set[str] = set()
    for row in read(source, options):
        molecule = row
        if isinstance(molecule, SmilesRow):
            made = embed(molecule)
            molecule = made if isinstance(made, BadRow) else made[0]
        if isinstance(molecule, Molecule) and (reason := _refusal(molecule)):
            molecule = bad(molecule, reason)
        if isinstance(molecule, BadRow):
            yield molecule
            continue
        for remark in _remarks(molecule):
            if say is not None and remark not in said:
                say(f"{molecule.input}: {remark}")
            said.add(remark)
        yield _as_atoms(molecule)


def _refusal(molecule: Molecule) -> str | None:
    """Why nothing should move from here, whatever the model."""
    if molecule.open_shell:
        return f"open shell: {molecule.open_shell}"
    if not molecule.geometry.startswith("given"):
        return None
    return unfit_to_move(molecule.z, molecule.pos, molecule.cell, molecule.pbc)


def _remarks(molecule: Molecule) -> list[str]:
    """What of a file moves no atom here, and what stereo a SMILES leaves open; a phrase each."""
    found = [f"stereo: {molecule.stereo}"] if molecule.stereo else []
    given = molecule.atoms
    if given is None:
        return found
    named = {str(name).lower(): name for name in given.arrays}
    if given.cell.rank and not given.pbc.any():
        found.insert(0, "the cell is not used: pbc is F F F")
    unused = [
        f"{named[name]} are not used, as their unit is not known: expected momenta in ASE's "
        "units, √(eV·u)"
        for name in VELOCITIES
        if name in named
    ]
    return unused + found


def _as_atoms(molecule: Molecule) -> Atoms:
    """A molecule as atoms of ASE, with all that decides how they move."""
    names = ("name", "smiles", "geometry", "charge", "stereo")
    info = {name: value for name in names if (value := getattr(molecule, name))}
    if molecule.input != molecule.smiles:
        info["input"] = molecule.input
    atoms = Atoms(molecule.z, molecule.pos, cell=molecule.cell, pbc=molecule.pbc, info=info)
    given = molecule.atoms
    if given is not None:
        for name in ("masses", "momenta", "tags"):
            if given.has(name):
                atoms.set_array(name, given.get_array(name))
        atoms.set_constraint([constraint.copy() for constraint in given.constraints])
    return atoms
