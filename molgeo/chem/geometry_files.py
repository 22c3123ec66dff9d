"""Molecules with coordinates: .xyz, .extxyz, .sdf, .mol, ASE's .db and .traj, and their objects.

Text formats are cut into frames here, so that a broken frame spoils neither the ones before nor
the ones after it; what is inside a frame is read by ASE and RDKit.
"""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rdkit import Chem

from molgeo.chem.conformers import isotope_reason
from molgeo.chem.electrons import charge_of, open_shell_reason
from molgeo.chem.molecule import BadRow, InputError, Molecule, Row, SmilesRow, from_arrays
from molgeo.chem.parsing import mol_from_block
from molgeo.chem.rdkit_log import rdkit_messages
from molgeo.chem.sdf_fields import data_fields
from molgeo.chem.text_files import open_text
from molgeo.elements import SYMBOLS

_NUMBERS: Final = {symbol: number for number, symbol in enumerate(SYMBOLS) if number}
_CHARGE = re.compile(r"(?:\b|_)charge\s*[=:]\s*([+-]?\d+)\b", re.IGNORECASE)


def read_xyz(path: Path) -> Iterator[Molecule | BadRow]:
    """Frames of an xyz or extxyz file."""
    with open_text(path) as file:
        yield from xyz_frames(file, str(path))


def xyz_frames(lines: Iterable[str], origin: str) -> Iterator[Molecule | BadRow]:
    """Frames of xyz text; a frame that is cut short or malformed is a bad row.

    A line with one integer can only be the number of atoms, so that is where reading goes on after
    a malformed frame, and after QM9's own frames, which end in frequencies, SMILES and InChI.

    Args:
        lines: of any number of frames.
        origin: name of the file, for ``input``.

    Yields:
        One row a frame.
    """
    numbered = enumerate(lines, start=1)
    frame, header = 0, next(numbered, None)
    while header is not None:
        line, text = header
        if not text.strip():
            header = next(numbered, None)
            continue
        frame += 1
        name = f"{origin}:{frame}"
        if not _is_count(text):
            message = f"line {line}: expected the number of atoms, got {text.strip()[:40]!r}"
            yield BadRow(name, message=message)
            header = next((item for item in numbered if _is_count(item[1])), None)
            continue
        n_atoms = int(text)
        comment = next(numbered, (0, ""))[1].strip()
        atoms: list[str] = []
        header = next(numbered, None)
        while header is not None and len(atoms) < n_atoms and not _is_count(header[1]):
            atoms.append(header[1])
            header = next(numbered, None)
        if len(atoms) < n_atoms:
            where = "the file ends" if header is None else "the next frame begins"
            message = f"expected {n_atoms} atoms, {where} after {len(atoms)}"
            yield BadRow(name, message=f"line {line}: truncated frame, {message}")
        elif header is not None and _is_atom(header[1], in_qm9=comment.startswith("gdb ")):
            message = f"line {line}: more atoms follow than the {n_atoms} that are announced"
            yield BadRow(name, message=message)
            header = next((item for item in numbered if _is_count(item[1])), None)
        else:
            yield _xyz_frame(atoms, comment, name, line)
            if comment.startswith("gdb ") and header is not None and not _is_count(header[1]):
                header = next((item for item in numbered if _is_count(item[1])), None)


def _is_count(text: str) -> bool:
    return text.strip().isdecimal()


def _is_atom(text: str, in_qm9: bool) -> bool:
    """Whether a line after a whole frame is one more atom; QM9's frequencies may be integers."""
    return _atom(text) is not None and not (in_qm9 and text.split()[0].isdecimal())


def _xyz_frame(atoms: list[str], comment: str, input: str, line: int) -> Molecule | BadRow:
    """One whole frame: plain xyz here, extended xyz by ASE."""
    if "Properties=" in comment or "Lattice=" in comment:
        import ase.io

        text = "".join([f"{len(atoms)}\n", f"{comment}\n", *(f"{a.rstrip()}\n" for a in atoms)])
        try:
            return from_ase(ase.io.read(io.StringIO(text), format="extxyz"), input)
        except Exception as error:  # ASE's parser raises many kinds
            return BadRow(input, message=f"line {line}: malformed extxyz frame: {error}")
    z, pos = [], []
    for offset, text in enumerate(atoms, start=line + 2):
        atom = _atom(text)
        if atom is None:
            message = f"line {offset}: expected 'element x y z', got {text.strip()[:60]!r}"
            return BadRow(input, comment, message=message)
        z.append(atom[0])
        pos.append(atom[1])
    found = _CHARGE.search(comment)
    charge = int(found[1]) if found else 0
    return from_arrays(z, pos, charge=charge, name=" ".join(comment.split()), input=input)


def _atom(text: str) -> tuple[int, list[float]] | None:
    """Atomic number and Å of ``C 0.0 0.0 0.0``; ``c`` and ``6`` are carbon, ``1*^-6`` is 1e-6."""
    cells = text.split()
    number = int(cells[0]) if cells and cells[0].isdecimal() else None
    if cells and number is None:
        number = _NUMBERS.get(cells[0].capitalize())
    try:
        pos = [float(cell.replace("*^", "e")) for cell in cells[1:4]]
    except ValueError:
        return None
    return (number, pos) if number is not None and len(pos) == 3 else None


def read_sdf(path: Path) -> Iterator[Row]:
    """Records of an sdf or mol file."""
    with open_text(path) as file:
        yield from sdf_records(file, str(path))


def sdf_records(lines: Iterable[str], origin: str) -> Iterator[Row]:
    """Records of sdf text; one without 3D coordinates becomes a SMILES that is embedded.

    Args:
        lines: of any number of records, ended by ``$$$$``.
        origin: name of the file, for ``input``.

    Yields:
        One row a record.
    """
    record: list[str] = []
    number = 0
    for line in lines:
        if not line.startswith("$$$$"):
            record.append(line.rstrip("\r\n"))
            continue
        number += 1
        yield _sdf_record(record, f"{origin}:{number}")
        record = []
    if any(line.strip() for line in record):
        yield _sdf_record(record, f"{origin}:{number + 1}")


def _sdf_record(record: list[str], input: str) -> Row:
    """One record with its fields."""
    row = _of_block(record, input)
    fields = data_fields(record)
    return replace(row, extra=fields) if fields else row


def _of_block(record: list[str], input: str) -> Row:
    name = record[0].strip() if record else ""
    with rdkit_messages() as messages:
        mol = mol_from_block("\n".join(record) + "\n")
        if mol is None:
            reason = messages[0] if messages else "RDKit gives no reason"
            return BadRow(input, name, message=f"broken record: {reason}")
        # RDKit takes a planar molecule for a drawing, even where the record says 3D.
        tagged_3d = len(record) > 1 and record[1][20:22] == "3D"
        return from_rdkit(mol, input, name, tagged_3d)


def from_rdkit(mol: Chem.Mol, input: str, name: str = "", is_3d: bool = False) -> Row:
    """Take the coordinates of a molecule's first conformer, or ask for new ones.

    Args:
        mol: left as it is.
        input: as in `Molecule`.
        name: as in `Molecule`; "" for the molecule's own.
        is_3d: take the coordinates for 3D even where all z are zero.

    Returns:
        A molecule; a SMILES where there are no 3D coordinates; a bad row where hydrogens are
        missing from them, and for labelled isotopes and several fragments.
    """
    mol = Chem.Mol(mol)
    name = name or (mol.GetProp("_Name").strip() if mol.HasProp("_Name") else "")
    with rdkit_messages():
        mol.UpdatePropertyCache(strict=False)
        smiles = Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False))
    conformer = mol.GetConformer() if mol.GetNumConformers() else None
    pos = conformer.GetPositions() if conformer is not None else np.zeros((0, 3))
    placed = len(pos) == 1 or bool(np.any(pos))
    if conformer is None or not placed or not (conformer.Is3D() or is_3d or len(pos) == 1):
        return SmilesRow(smiles, name, input)
    reason = isotope_reason(mol)
    n_fragments = len(Chem.GetMolFrags(mol))
    if reason is None and n_fragments > 1 and mol.GetNumBonds():  # without bonds they are unknown
        reason = f"the molecule has {n_fragments} fragments: predict each on its own"
    if reason is not None:
        return BadRow(input, name, smiles, reason, n_atoms=len(pos))
    missing = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    if missing:
        message = (
            f"{missing} hydrogen{'s are' if missing > 1 else ' is'} missing from the 3D "
            "coordinates: add them, or give the SMILES"
        )
        return BadRow(input, name, smiles, message, n_atoms=len(pos) + missing)
    return from_arrays(
        [atom.GetAtomicNum() for atom in mol.GetAtoms()],
        pos,
        charge=Chem.GetFormalCharge(mol),
        smiles=smiles,
        name=name,
        input=input,
    )


def from_ase(atoms: Any, input: str, extra: dict[str, Any] | None = None) -> Molecule | BadRow:
    """Copy numbers, positions, lattice and what is said of name, smiles, charge and spin.

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
    except ValueError as error:
        return BadRow(input, name, smiles, str(error))
    molecule = from_arrays(
        atoms.numbers, atoms.positions, charge=charge, smiles=smiles, name=name, input=input
    )
    if isinstance(molecule, BadRow):
        return molecule
    molecule = replace(molecule, open_shell=open_shell_reason(atoms) or "", atoms=atoms)
    if not (atoms.cell.any() or atoms.pbc.any()):
        return molecule
    pbc = (bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2]))
    return replace(molecule, cell=atoms.cell.array.copy(), pbc=pbc)


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
