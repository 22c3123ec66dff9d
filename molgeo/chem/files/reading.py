"""How inputs are read: one value that goes with every input from the user to its reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from molgeo.chem.parsing import MAX_SMILES_LENGTH


@dataclass(frozen=True)
class Reading:
    """What a user says about inputs.

    Attributes:
        input_format: of standard input and of all files, as in `molgeo.chem.files.readers.FORMATS`;
            None for SMILES lines and for what the ending of a file says.
        smiles_column: name of the column of SMILES or InChI in tables, or its number from 1; None
            for the one that `molgeo.chem.files.columns` finds.
        name_column: the same for names.
        keep_columns: take all columns and all fields of an SDF along; None for those that identify
            a molecule, and for all columns of a DataFrame.
        strip_salts: of a SMILES with several fragments take the largest one, neutralised.
        max_smiles_length: characters up to which a SMILES is read.
        say: is called with one line about each table: which columns were taken.
        each_conformer: a row for each conformer of an RDKit ``Mol``; else they are one row.
    """

    input_format: str | None = None
    smiles_column: str | int | None = None
    name_column: str | int | None = None
    keep_columns: bool | None = None
    strip_salts: bool = False
    max_smiles_length: int = MAX_SMILES_LENGTH
    say: Callable[[str], None] | None = None
    each_conformer: bool = False


DEFAULT: Final = Reading()

PREFIX: Final = "input_"
"""Stands before the name of a column that was taken along, if the output has one of that name."""


def output_name(name: str, taken: Iterable[str]) -> str:
    """The name in the output of a column that is taken along.

    Args:
        name: in the input.
        taken: names of the output's own columns; upper and lower case count as the same.
    """
    lower = {other.lower() for other in taken}
    while name.lower() in lower:
        name = PREFIX + name
    return name
