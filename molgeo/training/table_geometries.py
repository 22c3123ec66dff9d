"""Conformers of a table's rows with its values, and descriptors of their bonds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from molgeo.chem.descriptors import Descriptors
from molgeo.chem.molecule import BadRow
from molgeo.data.geometries import MAX_CONFORMERS, GeometrySet, with_labels
from molgeo.generate.conformer_store import made_geometries
from molgeo.generate.table import Table, given_geometries
from molgeo.properties import Property, names_of
from molgeo.runtime.progress import progress as progress_bar


def geometries_of(
    table: Table, learned: tuple[Property, ...], conformers: int, folder: Path
) -> tuple[GeometrySet, list[BadRow]]:
    """Conformers of a table's rows, with its values as labels; and the rows that have none.

    Args:
        table: of molecules.
        learned: properties of its columns.
        conformers: of each SMILES.
        folder: where they are kept.
    """
    if table.geometry == "given":
        conformers = MAX_CONFORMERS  # the one that there is will do for any number
        flat = given_geometries(table.rows)
    else:
        with progress_bar("making conformers") as report:
            flat = made_geometries(table.rows, conformers, folder, report)
    values, numbers = torch.from_numpy(table.values), torch.from_numpy(table.numbers)
    charges = torch.from_numpy(table.charges) if table.charges.any() else None
    found = with_labels(flat, values, numbers, names_of(learned), conformers, charges)
    failed = [
        BadRow(row.input, row.name, row.smiles, found.statuses[int(found.status[place])])
        for place, row in enumerate(table.rows)
        if not found.exists[place]
    ]
    return found, failed


def described(geometries: GeometrySet, table: Table, names: Sequence[str]) -> GeometrySet:
    """Geometries of a table's rows with descriptors of the bonds of those that there are.

    Args:
        geometries: of the rows.
        table: the rows.
        names: of the descriptors; none to leave the geometries as they are.
    """
    if not names:
        return geometries
    values = np.zeros((len(table.rows), len(names)), np.float32)
    kept = np.flatnonzero(geometries.exists.numpy())
    values[kept] = Descriptors(names).of_rows([table.rows[k] for k in kept.tolist()])
    return geometries.with_descriptors(torch.from_numpy(values))
