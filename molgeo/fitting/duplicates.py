"""Rows of one molecule: their values become one value, and what they differ by is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.chem.molecule import BadRow, Molecule
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages
from molgeo.data.split import TEST
from molgeo.fitting.columns import Column
from molgeo.generate.table import Table
from molgeo.runtime.plain_text import one_line

APART: Final = 1.0
"""Standard deviations of all values by which values of one molecule contradict each other."""

SHOWN: Final = 5
"""Molecules that a remark names."""


def averaged(table: Table, columns: Sequence[Column]) -> tuple[Table, list[str]]:
    """One row per molecule of a table of SMILES, with the mean of its values.

    Rows with coordinates stay as they are: each is a geometry with a value of its own. So do rows
    of different parts.

    Args:
        table: as it was read.
        columns: of its values.

    Returns:
        The table, and remarks, one sentence each.
    """
    remarks = _in_two_parts(table)
    if table.geometry != "smiles":
        return table, remarks
    places: dict[Any, list[int]] = {}
    with rdkit_messages():
        for k, row in enumerate(table.rows):
            mol = mol_from_smiles(row.smiles)
            name = k if mol is None else Chem.MolToSmiles(mol)
            places.setdefault((name, int(table.parts[k])), []).append(k)
    if len(places) == len(table.rows):
        return table, remarks
    firsts = [own[0] for own in places.values()]
    values = np.stack([_mean(table.values[own], columns) for own in places.values()])
    for k, one in enumerate(columns):
        remarks += _spread(table, one, table.values[:, k], list(places.values()))
    found = table.of(firsts)
    known = np.isfinite(values).sum(1) > 0
    left = [
        BadRow(
            row.input,
            row.name,
            row.smiles,
            "as many rows of this molecule say one class as the other",
        )
        for row, is_known in zip(found.rows, known.tolist(), strict=True)
        if not is_known
    ]
    found.values[:] = values
    found = found.of(np.flatnonzero(known))
    found.aside.extend(left)
    return found, remarks


def _mean(values: NDArray[np.float64], columns: Sequence[Column]) -> NDArray[np.float64]:
    """(columns,) of the rows of one molecule; of classes the one that most of them have."""
    means = np.full(len(columns), np.nan)
    for k, one in enumerate(columns):
        known = values[np.isfinite(values[:, k]), k]
        if not len(known):
            continue
        means[k] = known.mean()
        if one.classes:
            means[k] = np.nan if means[k] == 0.5 else np.rint(means[k])
    return means


def _spread(
    table: Table, column: Column, values: NDArray[np.float64], groups: Sequence[list[int]]
) -> list[str]:
    """What the values of molecules in several rows differ by."""
    title, unit = column.title, f" {column.unit}" if column.unit else ""
    several = [[k for k in own if np.isfinite(values[k])] for own in groups]
    several = [own for own in several if len(own) > 1]
    if not several:
        return []
    ranges = np.array([np.ptp(values[own]) for own in several])
    n = len(several)
    what = f"{title}: {n} molecule{'s are' if n > 1 else ' is'} in more than one row"
    if column.classes:
        remarks = [f"{what}; each counts once, with the class that most of its rows have"]
        limit = 0.5
    else:
        by = f"{ranges.max():.3g}{unit}"
        by = f"{np.median(ranges):.3g}{unit} in the median, by {by} at most" if n > 1 else by
        remarks = [f"{what}; the values are averaged: they differ by {by}"]
        limit = APART * float(np.nanstd(values))
    apart = [several[k] for k in np.argsort(-ranges) if ranges[k] > limit]
    if apart:
        listed = "; ".join(
            f"{one_line(table.rows[own[0]].smiles, 60)} "
            f"({', '.join(f'{values[k]:g}' for k in own[:4])})"
            for own in apart[:SHOWN]
        )
        more = f", and {len(apart) - SHOWN} more" if len(apart) > SHOWN else ""
        of = f" of {len(apart)} of them" if n > 1 else ""
        remarks.append(f"{title}: the values{of} contradict each other: {listed}{more}")
    return remarks


def _in_two_parts(table: Table) -> list[str]:
    """A remark if a column puts a molecule into the training and into the test part."""
    is_test, known = table.parts == TEST, table.groups >= 0
    both = np.intersect1d(table.groups[is_test & known], table.groups[~is_test & known])
    if not len(both):
        return []
    row = table.rows[int(np.flatnonzero(is_test & np.isin(table.groups, both))[0])]
    shown = row.smiles or (row.input if isinstance(row, Molecule) else "")
    return [
        f"{len(both)} molecule{'s are' if len(both) > 1 else ' is'} in the test part and in the "
        "training part, such as "
        f"{one_line(shown, 60)}: the errors on the test part are smaller than on new molecules"
    ]
