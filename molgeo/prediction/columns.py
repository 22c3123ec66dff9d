"""Names of the columns of every output, and their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from molgeo.properties import Property

Row = dict[str, Any]
"""One value per column, None where there is none."""

ROW_COLUMNS: Final = (
    "id",
    "name",
    "input",
    "smiles",
    "formula",
    "n_atoms",
    "geometry",
    "stereo",
    "status",
    "message",
    "model",
)
"""Columns of every output, before those of the properties."""

STRIPPED: Final = "stripped"
"""The column of what was taken away from salts, behind those of the properties."""

STD: Final = "_std"
"""Suffix of the columns with standard errors of a calibrated model."""

INTERVAL_COLUMNS: Final = ("_low90", "_high90")
"""Suffixes of the columns with the ends of an interval: `molgeo.predictor.calibration`."""

CONFORMER_COLUMNS: Final = ("_conformer_std", "_lowest", "_boltzmann")
"""Suffixes of the columns about conformers: `conformer_average` says what they are."""

SUFFIXES: Final = ("", STD, *INTERVAL_COLUMNS, *CONFORMER_COLUMNS)
"""All that a property's columns may end in, in their order."""

MEANINGS: Final = {
    STD: "standard error, from a SMILES, of a calibrated model",
    "_low90, _high90": "with --conformers: ends of an interval that holds nine of ten labels",
    "_conformer_std": "with --conformers: spread over the conformers",
    "_lowest": "with --conformers: value of the one with the lowest energy",
    "_boltzmann": "with --conformers: Boltzmann average at 298.15 K",
}
"""What columns say that are no values, by their suffixes."""


def plain(value: Any) -> Any:
    """What comes along from a table, as JSON can have it: a number of NumPy's, else text."""
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


def property_columns(outputs: Iterable[Property], suffixes: Iterable[str]) -> list[str]:
    """Columns of properties: all that is known of one, then of the next.

    Args:
        outputs: properties and atomization energies.
        suffixes: some of `SUFFIXES`.
    """
    suffixes = [suffix for suffix in SUFFIXES if suffix in set(suffixes)]
    return [one.column + suffix for one in outputs for suffix in suffixes]


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
