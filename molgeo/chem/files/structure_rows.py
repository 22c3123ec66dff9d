"""A structure as text, from an argument, a line or a cell, as a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from molgeo.chem.files.reading import Reading
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.chem.parsing import is_inchi, smiles_fault, smiles_from_inchi
from molgeo.chem.rdkit_log import rdkit_messages
from molgeo.chem.salts import parent

_INCHI_KEY: Final = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")


def structure_row(
    text: str, name: str, input: str, reading: Reading, extra: Mapping[str, Any] | None = None
) -> SmilesRow | BadRow:
    """A row of a SMILES or an InChI, checked as far as that goes without parsing a SMILES.

    Args:
        text: of the structure.
        name: as in `Molecule`.
        input: as in `Molecule`.
        reading: says how long it may be.
        extra: as in `Molecule`.

    Returns:
        The row, or why there is none.
    """
    text, extra = text.strip(), extra or {}
    fault = smiles_fault(text, reading.max_smiles_length)
    if fault is None and _INCHI_KEY.fullmatch(text):
        fault = "an InChIKey does not tell the structure: give the SMILES or the InChI"
    smiles: str | None = text
    if fault is None and is_inchi(text):
        with rdkit_messages() as messages:
            smiles = smiles_from_inchi(text)
        if smiles is None:
            reason = "".join(messages[:1]).removeprefix("ERROR:").strip()
            fault = f"not a valid InChI: {reason or 'RDKit gives no reason'}"
    if fault is not None or smiles is None:
        return BadRow(input, name, text, fault or "", extra=extra)
    return SmilesRow(smiles, name, input, extra)


def stripped(row: SmilesRow) -> SmilesRow | BadRow:
    """The row of a salt's largest fragment; any other row as it is."""
    if "." not in row.smiles:
        return row
    found = parent(row.smiles)
    if isinstance(found, str):
        return BadRow(row.input, row.name, row.smiles, found, extra=row.extra)
    return row if found is None else replace(row, smiles=found.smiles, stripped=found.stripped)
