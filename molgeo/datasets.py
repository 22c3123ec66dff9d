"""The data sets and data modules by the names that scripts use; they live in `molgeo.data`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molgeo.data.forces.datamodule import ForceDataModule as ForceDataModule
    from molgeo.data.geometries import GeometrySet as GeometrySet
    from molgeo.data.molecules import MoleculeSet as MoleculeSet
    from molgeo.data.qm9.datamodule import QM9DataModule as QM9DataModule
    from molgeo.data.qm9.dataset import QM9 as QM9

# The data modules need Lightning, the data sets do not.
_EXPORTS = {
    "ForceDataModule": "forces.datamodule",
    "GeometrySet": "geometries",
    "MoleculeSet": "molecules",
    "QM9": "qm9.dataset",
    "QM9DataModule": "qm9.datamodule",
}

__all__ = ["QM9", "ForceDataModule", "GeometrySet", "MoleculeSet", "QM9DataModule"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"molgeo.data.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'molgeo.datasets' has no attribute {name!r}")
