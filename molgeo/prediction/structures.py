"""The conformers of a row, as they were predicted, as text for a file of structures."""

from __future__ import annotations

import numpy as np

from molgeo.chem.mol_blocks import extxyz_frame, mol_block, sdf_record
from molgeo.prediction.conformer_average import ROOM, weights
from molgeo.prediction.layout import Layout
from molgeo.prediction.rows import Result

ENERGY, WEIGHT = "conformer_energy_eV", "conformer_weight"
"""Fields of a conformer: predicted energy above the lowest one; its share at 298.15 K."""


def conformers_text(result: Result, layout: Layout, ending: str) -> str:
    """All conformers of one row; the columns of the row are fields of each.

    Args:
        result: the row; a bad one has no conformers.
        layout: of the row.
        ending: ``.sdf`` or ``.extxyz``.
    """
    cells = layout.cells(result.row)
    energies = np.array(result.energies)
    shares = weights(energies, ROOM) if len(energies) else energies
    found = []
    for k, molecule in enumerate(result.conformers):
        fields = cells | {"conformer": str(k + 1), "conformers": str(len(result.conformers))}
        if len(energies):
            fields[ENERGY] = f"{energies[k] - energies.min():.4f}"
            fields[WEIGHT] = f"{shares[k]:.4f}"
        if ending == ".sdf":
            found.append(sdf_record(mol_block(molecule), result.row["name"], fields))
        else:
            shown = {name: cell for name, cell in fields.items() if cell}
            found.append(extxyz_frame(molecule, shown))
    return "".join(found)
