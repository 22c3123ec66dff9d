"""molgeo: molecular properties from 3D graph neural networks.

    >>> import molgeo
    >>> molgeo.predict(["CCO", "mol.sdf"])            # a pandas.DataFrame
    >>> model = molgeo.load("spectrum_net-qm9")       # a Predictor: model(z, pos, batch)
    >>> atoms.calc = molgeo.MolgeoCalculator("NAME")  # ASE: energy, forces, stress

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from molgeo.calculator import MolgeoCalculator as MolgeoCalculator
    from molgeo.checkpoint import load as load
    from molgeo.prediction import predict as predict
    from molgeo.predictor import Predictor as Predictor

__version__ = "0.1.0"

_EXPORTS = {
    "MolgeoCalculator": "calculator",
    "Predictor": "predictor",
    "load": "checkpoint",
    "predict": "prediction",
}
_SUBPACKAGES = ("datasets", "models")

__all__ = ["MolgeoCalculator", "Predictor", "__version__", "datasets", "load", "models", "predict"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"molgeo.{_EXPORTS[name]}"), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"molgeo.{name}")
    raise AttributeError(f"module 'molgeo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
