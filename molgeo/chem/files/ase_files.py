"""Structures of ASE: its objects, databases and trajectories."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from molgeo.chem.electrons import charge_of, open_shell_reason
from molgeo.chem.files.xyz_comments import unit_of_info
from molgeo.chem.molecule import BadRow, InputError, Molecule, from_arrays
from molgeo.units import COORDINATE_UNITS


def from_ase(atoms: Any, input: str, extra: dict[str, Any] | None = None) -> Molecule | BadRow:
    """Copy numbers, positions, lattice and what is said of name, smiles, charge, spin and unit.

    Args:
        atoms: `ase.Atoms`, left as they are.
        input: as in `Molecule`.
        extra: more of what ``info`` holds.

    Returns:
        The molecule, or a bad row where a value is not what it should be.
    """
    info = {str(key).lower(): value for key, value in {**atoms.info, **(extra or {})}.items()}
    name = str(info.get("name", info.get("config_type", "")))
    smiles = str(info["smiles"]) if "smiles" in info else None
    try:
        charge = charge_of(atoms, extra)
        open_shell = open_shell_reason(atoms) or ""
        scale = COORDINATE_UNITS[unit_of_info(atoms.info) or "angstrom"]
    except ValueError as error:
        return BadRow(input, name, smiles, str(error))
    pos = scale * atoms.positions
    molecule = from_arrays(atoms.numbers, pos, charge=charge, smiles=smiles, name=name, input=input)
    if isinstance(molecule, BadRow):
        return molecule
    molecule = replace(molecule, open_shell=open_shell, atoms=atoms)
    if not (atoms.cell.any() or atoms.pbc.any()):
        return molecule
    pbc = (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2]))
    return replace(molecule, cell=scale * atoms.cell.array, pbc=pbc)


def read_db(path: Path) -> Iterator[Molecule | BadRow]:
    """Rows of an ASE database."""
    from ase.db import connect

    try:
        # ASE would write its tables into a database of another kind.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("select count(*) from systems")
        for row in connect(path, type="db", use_lock_file=False).select():
            yield from_ase(row.toatoms(), f"{path}:{row.id}", row.key_value_pairs)
    except Exception as error:  # sqlite3 and ASE raise many kinds
        raise InputError(f"{path}: cannot be read as an ASE database: {error}") from error


def read_traj(path: Path) -> Iterator[Molecule | BadRow]:
    """Frames of an ASE trajectory."""
    from ase.io.trajectory import TrajectoryReader

    try:
        trajectory = TrajectoryReader(path)
    except Exception as error:  # whatever the bytes happen to break
        raise InputError(f"{path}: cannot be read as an ASE trajectory: {error}") from error
    with trajectory:
        for frame in range(len(trajectory)):
            input = f"{path}:{frame + 1}"
            try:
                yield from_ase(trajectory[frame], input)
            except Exception as error:
                yield BadRow(input, message=f"broken frame: {error}")
