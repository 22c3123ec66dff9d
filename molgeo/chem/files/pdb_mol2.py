"""Models of .pdb files and molecules of .mol2 files, parsed by RDKit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from rdkit import Chem

from molgeo.chem.electrons import MOST_CHARGE
from molgeo.chem.files.formats import ReadOptions
from molgeo.chem.files.sdf import of_bonds, of_coordinates
from molgeo.chem.molecule import BadRow, Row, from_arrays
from molgeo.chem.parsing import in_ascii, one_line, rdkit_messages
from molgeo.elements import SYMBOLS

_MOL2: Final = "@<TRIPOS>"


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
    with rdkit_messages() as messages:
        try:
            mol = parse()
        except Exception as error:  # RDKit's parsers return None or raise, as they like
            return one_line(error)
    if mol is None or not mol.GetNumConformers():
        return messages[0] if messages else "RDKit gives no reason"
    return mol
