"""What RDKit reads: its own molecules, records of .sdf, .mol, .mol2, and models of .pdb."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem import bonds
from molgeo.chem.electrons import MOST_CHARGE
from molgeo.chem.files.columns import identifier, named
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.text import RecordLines
from molgeo.chem.molecule import BadRow, Molecule, Row, SmilesRow, from_arrays
from molgeo.chem.parsing import in_ascii, isotope_reason, one_line, rdkit_messages, why_none
from molgeo.chem.plausible import bond_length, has_all_hydrogens, hydrogens_missing, implausible
from molgeo.elements import SYMBOLS

_FIELD: Final = re.compile(r">.*?<(.+)>")

_FLAT: Final = 0.01  # Å, of which all z are equal in a drawing

_LONGER, _SHORTER, _SHORTER_SINGLE = 0.15, 0.12, 0.3
"""Å, by which bonds of a flat molecule may differ from their usual lengths: single ones are drawn
if there are others. A drawing has bonds of one length, whatever their kind."""

_MOL2: Final = "@<TRIPOS>"
_WEDGES: Final = (Chem.BondDir.BEGINWEDGE, Chem.BondDir.BEGINDASH, Chem.BondDir.UNKNOWN)


def read_sdf(lines: Iterable[str], origin: str, options: ReadOptions) -> Iterator[Row]:
    """Records of sdf text; one without 3D coordinates becomes a SMILES that is embedded."""
    record = RecordLines()
    number = 0
    for line in lines:
        if not line.startswith("$$$$"):
            record.add(line.rstrip("\r\n"))
            continue
        number += 1
        yield _sdf_record(record, f"{origin}:{number}", options)
        record = RecordLines()
    if any(line.strip() for line in record.lines):
        yield _sdf_record(record, f"{origin}:{number + 1}", options)


def _sdf_record(record: RecordLines, input: str, options: ReadOptions) -> Row:
    """One record with the name and the fields that a user wants."""
    if record.fault:
        return BadRow(input, record.lines[0].strip()[:200], message=f"record {record.fault}")
    row = _of_block(record.lines, input)
    fields = data_fields(record.lines)
    if not fields:
        return row
    titles, name = list(fields), row.name
    if options.name_column is not None:
        wanted = str(options.name_column).strip().lower()
        name = next((value for title, value in fields.items() if title.lower() == wanted), "")
    elif not name:  # a field names a record without a title
        name = next((v for k in named(titles) if (v := fields[titles[k]].strip())), "")
    if not options.keep_columns:
        asked = options.keep_columns is None
        places = identifier(titles, named(titles), None) if asked else []
        fields = {titles[k]: fields[titles[k]] for k in places}
    return replace(row, name=" ".join(name.split()), extra=fields)


def data_fields(record: Sequence[str]) -> dict[str, str]:
    """The fields of a record by name; of several of one name the first."""
    fields: dict[str, str] = {}
    name, value = None, list[str]()
    for line in [*record, ""]:
        field = None if value else _FIELD.match(line)
        if field is not None:
            name = field[1].strip()
        elif name is not None and line.strip():
            value.append(line)
        elif name is not None:
            fields.setdefault(name, "\n".join(value))
            name, value = None, []
    return fields


def _of_block(record: list[str], input: str) -> Row:
    name = record[0].strip() if record else ""
    block = in_ascii("\n".join(record) + "\n")
    parse = partial(Chem.MolFromMolBlock, block, removeHs=False)
    with rdkit_messages():
        mol = parse()
        if mol is not None:
            return of_bonds(mol, input, name)
        reason = why_none(parse)[0]
        raw = Chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
        if raw is not None and raw.GetNumAtoms() and _has_depth(raw):
            return of_coordinates(raw, input, name)
    return BadRow(input, name, message=f"broken record: {reason}")


def from_rdkit(mol: Chem.Mol, input: str, name: str = "") -> Row:
    """A row of an RDKit molecule, which is left as it is, with all of its conformers.

    A SMILES if there are no 3D coordinates; a bad row if hydrogens are missing from them, and for
    labelled isotopes and several fragments. The name is the molecule's own, if none is given.
    """
    each = [Chem.Mol(mol, False, one.GetId()) for one in mol.GetConformers()] or [Chem.Mol(mol)]
    with rdkit_messages():
        first, *others = (of_bonds(one, input, name) for one in each)
    if not isinstance(first, Molecule):
        return first
    odd = next((row for row in others if not isinstance(row, Molecule)), None)
    if odd is not None:
        return odd
    return replace(first, further=tuple(row.pos for row in others if isinstance(row, Molecule)))


def of_bonds(mol: Chem.Mol, input: str, name: str = "") -> Row:
    """A row of a molecule whose bonds are known and that has one conformer at most.

    As `from_rdkit`, but implicit hydrogens of the molecule are counted there and then.
    """
    name = name or (mol.GetProp("_Name").strip() if mol.HasProp("_Name") else "")
    mol.UpdatePropertyCache(strict=False)
    smiles = Chem.MolToSmiles(Chem.RemoveHs(mol, sanitize=False))
    if not mol.GetNumConformers() or not _shows_3d(mol):
        return SmilesRow(smiles, name, input)
    pos = mol.GetConformer().GetPositions()
    reason = isotope_reason(mol)
    n_fragments = len(Chem.GetMolFrags(mol))
    if reason is None and n_fragments > 1 and mol.GetNumBonds():  # without bonds they are unknown
        reason = f"the molecule has {n_fragments} fragments: predict each on its own"
    if reason is not None:
        return BadRow(input, name, smiles, reason, n_atoms=len(pos))
    missing = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    z = bonds.atomic_numbers(mol)
    if missing and (has_all_hydrogens(z, pos) or implausible(z, pos)):
        # Orders of bonds are what is wrong; or the unit, of which no number of hydrogens follows.
        return of_coordinates(mol, input, name)
    if missing:
        message = hydrogens_missing(missing)
        return BadRow(input, name, smiles, message, n_atoms=len(pos) + missing)
    return replace(of_coordinates(mol, input, name), smiles=smiles)


def of_coordinates(mol: Chem.Mol, input: str, name: str = "") -> Molecule | BadRow:
    """A row of the coordinates alone, whatever the bonds are said to be.

    Open Babel, for one, writes orders of bonds that are no molecule.
    """
    reason = isotope_reason(mol)
    if reason is not None:
        return BadRow(input, name, message=reason, n_atoms=mol.GetNumAtoms())
    z, pos = bonds.atomic_numbers(mol), mol.GetConformer().GetPositions()
    return from_arrays(z, pos, charge=Chem.GetFormalCharge(mol), name=name, input=input)


def _shows_3d(mol: Chem.Mol) -> bool:
    """Whether coordinates are a geometry, not a drawing; whatever the file says they are.

    A drawing is flat. So are some molecules, which then have all of their hydrogens, bonds of
    chemical lengths, and neither wedges nor tetrahedral atoms. One atom is what the file says.
    """
    pos, atoms = mol.GetConformer().GetPositions(), list(mol.GetAtoms())
    if len(pos) == 1:  # of which only the file can say what it is
        return mol.GetConformer().Is3D() or not atoms[0].GetTotalNumHs()
    if _has_depth(mol):
        return True
    if not np.any(pos) or any(map(_is_wedge, mol.GetBonds())):
        return False
    if any(atom.GetTotalNumHs() for atom in atoms):
        return False
    if any(a.GetDegree() > 3 and a.GetAtomicNum() in (5, 6, 7, 14, 15) for a in atoms):
        return False
    if not mol.GetNumBonds():
        return implausible(bonds.atomic_numbers(mol), pos) is None
    return _has_lengths(mol, pos)


def _has_depth(mol: Chem.Mol) -> bool:
    return bool(np.ptp(mol.GetConformer().GetPositions()[:, 2]) > _FLAT)


def _is_wedge(bond: Chem.Bond) -> bool:
    if bond.GetBondDir() in _WEDGES:
        return True
    names = ("_MolFileBondStereo", "_MolFileBondCfg")
    said = [int(bond.GetUnsignedProp(name)) for name in names if bond.HasProp(name)]
    return bond.GetBondType() == Chem.BondType.SINGLE and any(said)


def _has_lengths(mol: Chem.Mol, pos: NDArray[np.float64]) -> bool:
    """Whether bonds are as long as those of their kind are, and not all as long as each other."""
    z = bonds.atomic_numbers(mol)
    i, j = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]).T
    order = np.array([bond.GetBondTypeAsDouble() for bond in mol.GetBonds()])
    usual = np.array(list(map(bond_length, z[i], z[j], order)))
    found = np.linalg.norm(pos[i] - pos[j], axis=1)
    if np.ptp(usual) > 0.1 and np.ptp(found) < 0.02 * found.mean():
        return False
    is_single = (z[i] > 1) & (z[j] > 1) & (order == 1.0)
    least = usual - np.where(is_single, _SHORTER_SINGLE, _SHORTER)
    return bool(((found > least) & (found < usual + _LONGER)).all())


def read_pdb(lines: Iterable[str], origin: str, _: ReadOptions) -> Iterator[Row]:
    """Models of a PDB file: their coordinates, as the file has no orders of bonds.

    A model is what is between MODEL and ENDMDL, or up to END.
    """
    title, record, number = "", list[str](), 0
    for line in itertools.chain(lines, ["END"]):
        keyword = line[:6].strip()
        if keyword in ("TITLE", "COMPND", "HEADER") and not record:
            title = _pdb_title(keyword, line) or title
        elif keyword in ("ATOM", "HETATM"):
            record.append(line.rstrip("\r\n"))
        elif keyword in ("ENDMDL", "END") and record:
            number += 1
            yield _pdb_record(record, f"{origin}:{number}", title)
            record = []


def _pdb_title(keyword: str, line: str) -> str:
    """What a record says that a structure is called."""
    text = line[62:66] if keyword == "HEADER" else line[10:80]
    return "" if text.startswith("MOL_ID") else " ".join(text.split())


def _pdb_record(record: list[str], input: str, name: str) -> Row:
    block = in_ascii("\n".join([*record, "END", ""]))
    mol = _parsed(lambda: Chem.MolFromPDBBlock(block, False, False, proximityBonding=False))
    if isinstance(mol, str):
        return BadRow(input, name, message=f"broken record: {mol}")
    return of_coordinates(mol, input, name)


def read_mol2(lines: Iterable[str], origin: str, _: ReadOptions) -> Iterator[Row]:
    """Molecules of a mol2 file."""
    records: list[list[str]] = []
    number = 0
    for line in itertools.chain(lines, [f"{_MOL2}MOLECULE"]):
        if line.startswith(f"{_MOL2}MOLECULE"):
            if records:
                number += 1
                yield _mol2_record(records.pop(), f"{origin}:{number}")
            records.append([])
        if records:
            records[0].append(line.rstrip("\r\n"))


def _mol2_record(record: list[str], input: str) -> Row:
    """A molecule with its bonds; with its coordinates alone, if its types are of no molecule."""
    name = record[1].strip() if len(record) > 1 else ""
    name = "" if set(name) <= {"*"} else name
    try:
        z, pos, partial = _mol2_atoms(record)
    except (ValueError, IndexError) as error:
        return BadRow(input, name, message=f"broken record: {error}")
    block = in_ascii("\n".join([*record, ""]))
    mol = _parsed(lambda: Chem.MolFromMol2Block(block, True, False))
    formal = None if isinstance(mol, str) else Chem.GetFormalCharge(mol)
    # Sums of partial charges and types of atoms may both be wrong: a closed shell tells.
    total = sum(partial)
    is_whole = any(partial) and abs(total) <= MOST_CHARGE and abs(total - round(total)) < 0.1
    said = [round(total)] if is_whole else []
    said += [0] if formal is None else [formal, 0]
    even = [charge for charge in said if (sum(z) - charge) % 2 == 0]
    charge = (even or said)[0]
    if charge == formal and not isinstance(mol, str):
        mol.SetProp("_Name", name)
        with rdkit_messages():
            return of_bonds(mol, input)
    return from_arrays(z, pos, charge=charge, name=name, input=input)


def _mol2_atoms(record: list[str]) -> tuple[list[int], list[list[float]], list[float]]:
    """Atomic numbers, coordinates and partial charges; a broken line is a Value- or IndexError."""
    header = f"{_MOL2}ATOM"
    lines = [line.strip() for line in record]
    if header not in lines:
        raise ValueError(f"it has no {header}")
    atoms = itertools.takewhile(lambda line: line[:1] != "@", lines[lines.index(header) + 1 :])
    cells = [line.split() for line in atoms if line and line[0] != "#"]
    symbols = [row[5].split(".")[0].capitalize() for row in cells]
    z = [SYMBOLS.index(symbol) if symbol in SYMBOLS else 0 for symbol in symbols]
    pos = [[float(cell) for cell in row[2:5]] for row in cells]
    has_charges = "NO_CHARGES" not in lines
    return z, pos, [float(row[8]) for row in cells if has_charges and len(row) > 8]


def _parsed(parse: Callable[[], Chem.Mol | None]) -> Chem.Mol | str:
    """What RDKit reads, or its reason why it reads nothing."""
    with rdkit_messages():
        try:
            mol = parse()
        except Exception as error:  # RDKit's parsers return None or raise, as they like
            return one_line(error)
    if mol is None or not mol.GetNumConformers():
        return why_none(parse)[0]
    return mol
