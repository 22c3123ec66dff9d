"""Data sets as flat tensors, their splits and batches."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molgeo.datasets.datamodule import QM9DataModule as QM9DataModule
    from molgeo.datasets.force_datamodule import ForceDataModule as ForceDataModule
    from molgeo.datasets.geometries import GeometrySet as GeometrySet
    from molgeo.datasets.molecules import MoleculeSet as MoleculeSet
    from molgeo.datasets.qm9 import QM9 as QM9

# The data modules need Lightning, the data sets do not.
_EXPORTS = {
    "ForceDataModule": "force_datamodule",
    "GeometrySet": "geometries",
    "MoleculeSet": "molecules",
    "QM9": "qm9",
    "QM9DataModule": "datamodule",
}

__all__ = ["QM9", "ForceDataModule", "GeometrySet", "MoleculeSet", "QM9DataModule"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"molgeo.datasets.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'molgeo.datasets' has no attribute {name!r}")
