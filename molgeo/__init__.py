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

from molgeo.runtime.version import VERSION

if TYPE_CHECKING:
    from molgeo.fitting import fit as fit
    from molgeo.prediction import predict as predict
    from molgeo.prediction.embedding import embed as embed
    from molgeo.predictor import Predictor as Predictor
    from molgeo.predictor.checkpoint import load as load
    from molgeo.predictor.program import export as export
    from molgeo.properties import Property as Property
    from molgeo.simulation.calculator import MolgeoCalculator as MolgeoCalculator

__version__ = VERSION

_EXPORTS = {
    "MolgeoCalculator": "simulation.calculator",
    "Predictor": "predictor",
    "Property": "properties",
    "embed": "prediction.embedding",
    "export": "predictor.program",
    "fit": "fitting",
    "load": "predictor.checkpoint",
    "predict": "prediction",
}
_SUBPACKAGES = ("datasets", "models", "testing")

__all__ = [
    "MolgeoCalculator",
    "Predictor",
    "Property",
    "__version__",
    "datasets",
    "embed",
    "export",
    "fit",
    "load",
    "models",
    "predict",
    "testing",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"molgeo.{_EXPORTS[name]}"), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"molgeo.{name}")
    raise AttributeError(f"module 'molgeo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
