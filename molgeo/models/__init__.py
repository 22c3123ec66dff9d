"""The models, one file each, found by name.

A file ``models/foo.py`` defines a frozen dataclass ``FooConfig`` with the paper's defaults and a
class ``Foo``. Nothing else has to be edited: the file is found, tested and trainable by its name.

Every model offers

* ``Foo(config=None, **fields)``: fields override the config's; an unknown one is an error;
* ``model(z, pos, batch) → (molecules, n_out)``: the published model, called as PyG's are;
* ``model.atom_features(z, pos, graph) → (atoms, model.feature_dim)``: the backbone, for
  `molgeo.heads`;
* ``model.cutoff`` in Å and ``model.config``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import pkgutil
from typing import Any

from torch import Tensor, nn

from molgeo.graph import Graph


class Backbone(nn.Module):
    """What every model is to the rest of molgeo.

    Attributes:
        config: the frozen dataclass it was built from.
        cutoff: Å.
        feature_dim: width of the atom features.
    """

    config: Any
    cutoff: float
    feature_dim: int

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Features of every atom in its surroundings: (atoms, feature_dim)."""
        raise TypeError(f"{type(self).__name__} does not say what an atom's features are")


def names() -> list[str]:
    """Names of all models: the modules of this package that define one."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def model_class(name: str) -> type[Backbone]:
    """The class of a model.

    Args:
        name: a model's name, as in `names`.

    Raises:
        ValueError: there is no such model; the message names the nearest.
    """
    if name not in names():
        raise ValueError(f"model: expected one of {names()}, got {name!r}{_nearest(name, names())}")
    module = importlib.import_module(f"{__name__}.{name}")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Backbone) and value is not Backbone
    )


def build(name: str, fields: dict[str, Any] | None = None) -> Backbone:
    """Build a model by name from the fields of its config."""
    return model_class(name)(**(fields or {}))


def resolve_config(config_class: type, config: Any, fields: dict[str, Any]) -> Any:
    """A model's config from an instance (or None for the defaults) and overriding fields.

    Raises:
        TypeError: a field is unknown; the message names the nearest valid one.
    """
    known = [field.name for field in dataclasses.fields(config_class)]
    for name in fields:
        if name not in known:
            raise TypeError(
                f"{config_class.__name__}: unknown field {name!r}{_nearest(name, known)}; "
                f"it has {', '.join(known)}"
            )
    return dataclasses.replace(config or config_class(), **fields)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def __getattr__(name: str) -> Any:
    # `from molgeo.models import SchNet` imports that model's file and no other model's.
    for module in names():
        if module.replace("_", "").replace("pp", "plusplus") == name.lower():
            return model_class(module)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
