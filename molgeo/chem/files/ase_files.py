"""What ASE reads: its objects, databases and trajectories, CIF and POSCAR."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from molgeo.chem.electrons import charge_of, open_shell_reason
from molgeo.chem.files.formats import DEFAULT, ReadOptions
from molgeo.chem.files.xyz_comments import unit_of_info
from molgeo.chem.molecule import BadRow, Molecule, Row, from_arrays
from molgeo.chem.parsing import one_line
from molgeo.chem.plausible import BONDED, bond_length
from molgeo.elements import SYMBOLS
from molgeo.graph.closest import SEPARATION
from molgeo.runtime.errors import InputError
from molgeo.units import COORDINATE_UNITS


def from_ase(
    atoms: Any, input: str, options: ReadOptions = DEFAULT, pairs: Mapping[str, Any] | None = None
) -> Molecule | BadRow:
    """Copy numbers, positions, lattice and what is said of name, smiles, charge, spin and unit.

    Args:
        atoms: `ase.Atoms`, left as they are.
        input: as in `Molecule`.
        options: if they keep columns, single values come along as ``extra``.
        pairs: keys and values of a database, which count as more of ``info``.

    Returns:
        The molecule, or a bad row if a value is not what it should be.
    """
    said = {**atoms.info, **(pairs or {})}
    info = {str(key).lower(): value for key, value in said.items()}
    name = str(info.get("name", info.get("config_type", "")))
    smiles = str(info["smiles"]) if "smiles" in info else None
    extra = _single_values(atoms, said) if options.keep_columns else {}
    try:
        charge = charge_of(atoms, pairs)
        open_shell = open_shell_reason(atoms) or ""
        scale = COORDINATE_UNITS[unit_of_info(atoms.info) or "angstrom"]
    except ValueError as error:
        return BadRow(input, name, smiles, str(error), extra=extra)
    known: dict[str, Any] = {"charge": charge, "open_shell": open_shell, "atoms": atoms}
    if atoms.cell.any() or atoms.pbc.any():
        known |= {"cell": scale * atoms.cell.array, "pbc": tuple(atoms.pbc.tolist())}
    known |= {"name": name, "smiles": smiles, "input": input, "extra": extra}
    return from_arrays(atoms.numbers, scale * atoms.positions, **known)


def _single_values(atoms: Any, said: Mapping[Any, Any]) -> dict[str, Any]:
    """Numbers and texts that are said of a structure, and its calculator's; no arrays."""
    results = {} if atoms.calc is None else getattr(atoms.calc, "results", {})
    others = {
        key: value
        for key, value in {**results, **said}.items()
        if str(key).lower() not in ("name", "smiles")  # which the output has anyway
    }
    return _plain(others)


def _plain(said: Mapping[Any, Any]) -> dict[str, Any]:
    """What of it is one number or one text."""
    values = {
        str(key): value.item() if getattr(value, "ndim", None) == 0 else value
        for key, value in said.items()
    }
    return {key: one for key, one in values.items() if isinstance(one, str | int | float)}


def read_db(path: Path, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Rows of an ASE database."""
    from ase.db import connect

    try:
        # ASE would write its tables into a database of another kind.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("select count(*) from systems")
        for row in connect(path, type="db", use_lock_file=False).select():
            said = {**_plain(row.data), **row.key_value_pairs}
            yield from_ase(row.toatoms(), f"{origin}:{row.id}", options, said)
    except Exception as error:  # sqlite3 and ASE raise many kinds
        raise InputError(f"{origin}: cannot be read as an ASE database: {error}") from error


def read_traj(path: Path, origin: str, options: ReadOptions) -> Iterator[Row]:
    """Frames of an ASE trajectory."""
    from ase.io.trajectory import TrajectoryReader

    try:
        trajectory = TrajectoryReader(path)
    except Exception as error:  # whatever the bytes happen to break
        raise InputError(f"{origin}: cannot be read as an ASE trajectory: {error}") from error
    with trajectory:
        for frame in range(len(trajectory)):
            input = f"{origin}:{frame + 1}"
            try:
                yield from_ase(trajectory[frame], input, options)
            except Exception as error:
                yield BadRow(input, message=f"broken frame: {error}")


def read_poscar(lines: Iterable[str], origin: str, options: ReadOptions) -> Iterator[Row]:
    """The structure of a POSCAR or CONTCAR."""
    yield from read_cif(lines, origin, options, "vasp")


def read_cif(
    lines: Iterable[str], origin: str, options: ReadOptions, format: str = "cif"
) -> Iterator[Row]:
    """Structures of a CIF."""
    import ase.io

    file = io.StringIO("".join(f"{line.rstrip()}\n" for line in lines))
    try:
        structures = ase.io.read(file, index=":", format=format)
    except Exception as error:  # ASE's parsers raise many kinds
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"{origin}: cannot be read as {format}: {reason}") from error
    for number, atoms in enumerate(structures, start=1):
        yield from_ase(_isolated(atoms), f"{origin}:{number}", options)


def _isolated(atoms: Any) -> Any:
    """A molecule alone in its cell, as one piece and not periodic; anything else as it is."""
    from ase.neighborlist import neighbor_list
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    n = len(atoms)
    if not n or not atoms.pbc.all() or abs(np.linalg.det(atoms.cell.array)) < 1e-6:
        return atoms
    numbers = sorted(set(atoms.numbers.tolist()))
    reach = {(SYMBOLS[a], SYMBOLS[b]): BONDED * bond_length(a, b) for a in numbers for b in numbers}
    i, j, shift = neighbor_list("ijS", atoms, reach)
    matrix = coo_array((np.ones(len(i)), (i, j)), shape=(n, n)).tocsr()
    order, parent = breadth_first_order(matrix, 0)
    if len(order) < n:
        return atoms
    bond = {(a, b): s for a, b, s in zip(i.tolist(), j.tolist(), shift, strict=True)}
    offset = np.zeros((n, 3))
    for atom in order[1:].tolist():
        offset[atom] = offset[parent[atom]] + bond[int(parent[atom]), atom]
    if not np.array_equal(offset[j] - offset[i], shift):
        return atoms  # its bonds go on from cell to cell
    whole = atoms.copy()
    whole.positions += offset @ atoms.cell.array
    if neighbor_list("S", whole, SEPARATION).any():
        return atoms  # it is packed in a crystal
    whole.pbc, whole.cell = False, None
    return whole
