"""A file of the conformers of all rows, as they were predicted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from molgeo.chem.mol_blocks import extxyz_frame, mol_block, sdf_record
from molgeo.chem.molecule import InputError
from molgeo.prediction.conformer_average import ROOM, weights
from molgeo.prediction.layout import Layout
from molgeo.prediction.rows import Result

ENERGY, WEIGHT = "conformer_energy_eV", "conformer_weight"
"""Fields of a conformer: predicted energy above the lowest one; its share at 298.15 K."""


class Structures:
    """Conformers, written to a file that is put in its place once it is whole.

    Args:
        path: ``.sdf`` or ``.extxyz``; meanwhile it is ``PATH.part``.
        layout: of the rows, whose columns become fields of every conformer.
        extent: bytes of an earlier run that are kept.

    Raises:
        InputError: what is to be kept is not there.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, layout: Layout, extent: int = 0) -> None:
        self._path, self._part, self._layout = path, _part(path), layout
        self._file = self._part.open("ab")
        if self._file.tell() < extent:
            self.discard()
            raise InputError(f"{self._part} is gone or too short: start anew (--force)")
        self._file.truncate(extent)

    def extent(self) -> int:
        """Bytes so far, which are on the disk when this returns."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def write(self, results: Sequence[Result]) -> None:
        """Append the conformers of rows."""
        for result in results:
            for text in self._records(result):
                self._file.write(text.encode("utf-8", "backslashreplace"))

    def _records(self, result: Result) -> Iterator[str]:
        cells = self._layout.cells(result.row)
        energies = np.array(result.energies)
        shares = weights(energies, ROOM) if len(energies) else energies
        for k, molecule in enumerate(result.conformers):
            fields = cells | {"conformer": str(k + 1), "conformers": str(len(result.conformers))}
            if len(energies):
                fields[ENERGY] = f"{energies[k] - energies.min():.4f}"
                fields[WEIGHT] = f"{shares[k]:.4f}"
            if self._path.suffix.lower() == ".sdf":
                yield sdf_record(mol_block(molecule), result.row["name"], fields)
            else:
                yield extxyz_frame(molecule, {name: cell for name, cell in fields.items() if cell})

    def finish(self) -> None:
        """Put the file in its place."""
        self.extent()
        self._file.close()
        put_in_place(self._path)

    def close(self) -> None:
        """Leave what is there as it is."""
        self._file.close()

    def discard(self) -> None:
        """Remove what is there."""
        self._file.close()
        self._part.unlink(missing_ok=True)


def put_in_place(path: Path) -> None:
    """Do what `Structures.finish` does, if a run was killed before it could."""
    if _part(path).exists():
        os.replace(_part(path), path)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
