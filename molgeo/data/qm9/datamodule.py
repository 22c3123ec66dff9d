"""QM9 for Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor

from molgeo.data.datamodule import FlatDataModule
from molgeo.data.geometries import Geometry, GeometrySet
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import NAMES
from molgeo.data.split import Split

TrainingGeometry = Literal["dft", "mmff", "smiles", "cheap"]

TRAINING_GEOMETRIES: Final[dict[str, tuple[Geometry, ...]]] = {
    "dft": ("dft",),
    "mmff": ("mmff",),
    "smiles": ("smiles",),
    "cheap": ("mmff", "smiles"),
}
"""What molecules are trained at, and whose geometries that is."""


class QM9DataModule(FlatDataModule):
    """The standard split of QM9.

    Args:
        root: folder of the prepared data; None for the default one.
        properties: labels wanted.
        batch_size: molecules per batch, on each process.
        geometry: of the molecules, as `QM9.geometry` knows it, or ``cheap`` for those of a force
            field, ``mmff`` and ``smiles`` together; all conformers are taken, each counts as a
            molecule, and molecules without one are left out.
        batches: ``seed`` and the other arguments of `FlatDataModule`.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        properties: Sequence[str] = NAMES,
        batch_size: int = 64,
        *,
        geometry: TrainingGeometry = "dft",
        **batches: int,
    ) -> None:
        super().__init__(batch_size, **batches)
        self.root = root
        self.properties = tuple(properties)
        self.geometry = geometry

    def load(self) -> tuple[MoleculeSet, Split]:
        """The prepared data with the labels wanted.

        Raises:
            FileNotFoundError: QM9 or its geometries are not prepared.
        """
        data = QM9(self.root)
        sets = [data.geometry(kind) for kind in TRAINING_GEOMETRIES[self.geometry]]
        molecules = [one.molecules.select(self.properties) for one in sets]
        parts = Split(*(_conformers(sets, rows) for rows in data.split()))
        return reduce(MoleculeSet.joined, molecules), parts


def _conformers(sets: Sequence[GeometrySet], rows: Tensor) -> Tensor:
    """All conformers that several sets, laid one after the other, have of some molecules.

    Args:
        sets: of the same molecules.
        rows: (n,) int64, molecules.

    Returns:
        (conformers,) int64, molecule by molecule in the order of ``rows``.
    """
    before = accumulate((len(one.molecules) for one in sets), initial=0)
    found = [one.all_of(rows) + start for one, start in zip(sets, before, strict=False)]
    place = torch.arange(len(rows))
    places = [torch.repeat_interleave(place, one.first.diff()[rows]) for one in sets]
    return torch.cat(found)[torch.cat(places).argsort(stable=True)]
