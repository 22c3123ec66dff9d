"""The models, one file each, found by name.

A file ``models/foo.py`` defines a frozen dataclass ``FooConfig`` with the paper's defaults and a
class ``Foo``. Nothing else has to be edited: the file is found, tested and trainable by its name.

Every model offers

* ``Foo(config=None, **fields)``: fields override the config's; an unknown one is an error;
* ``model(z, pos, batch) → (molecules, n_out)``: the published model, called as PyG's are;
* ``model.atom_features(z, pos, graph) → (atoms, model.feature_dim)``: the backbone, for
  `molgeo.predictor.heads`;
* ``model.cutoff`` in Å and ``model.config``.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import pkgutil
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor, nn

from molgeo.graph import Graph, given_or_found
from molgeo.ops.segment import molecule_sum
from molgeo.runtime.errors import SettingError, UnknownSettingError

MOST: Final = 4096
"""Bound on every whole number of a config: widths and counts of layers."""

RANGES: Final = {
    "cutoff": (0.1, 100.0),
    "n_spherical": (1, 12),
    "n_radial": (1, 64),
    "envelope_exponent": (0, 30),
}
"""Fields of any config → least and largest value that can be computed, and mean something."""


class Backbone(nn.Module):
    """What every model is to the rest of molgeo.

    Attributes:
        config: the frozen dataclass it was built from; its ``n_out`` is None for a backbone under
            molgeo's heads.
        cutoff: Å.
        feature_dim: width of the atom features.
        readout: what the published model does to atom features before it sums them.
    """

    config: Any
    cutoff: float
    feature_dim: int

    def __init__(self) -> None:
        super().__init__()
        self.readout: nn.Module = nn.Identity()

    def forward(
        self, z: Tensor, pos: Tensor, batch: Tensor | None = None, graph: Graph | None = None
    ) -> Tensor:
        """The published model.

        Args:
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            batch: (atoms,) molecule of each atom, ascending; None for one molecule.
            graph: edges within `cutoff`, or more of them: those beyond contribute nothing. None to
                find them. For periodic systems, and for steps of a simulation that share them.

        Returns:
            (molecules, n_out), the sum of the atoms' outputs.

        Raises:
            RuntimeError: the model was built with ``n_out=None``.
            ValueError: the graph is of other atoms.
        """
        if self.config.n_out is None:
            name = type(self).__name__
            raise RuntimeError(f"{name}: n_out is None, so it has atom_features but no readout")
        graph = given_or_found(graph, pos, self.cutoff, batch)
        return molecule_sum(self.readout(self.atom_features(z, pos, graph)), graph)

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Features of every atom in its surroundings: (atoms, feature_dim)."""
        raise TypeError(f"{type(self).__name__} does not say what an atom's features are")


def names() -> list[str]:
    """Names of all models: the modules of this package that define one."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in found if not name.startswith("_"))


def model_class(name: str) -> type[Backbone]:
    """The class of a model.

    Args:
        name: a model's name, as in `names`.

    Raises:
        ValueError: there is no such model; the message names the nearest.
        TypeError: the module defines no model.
    """
    if name not in names():
        raise SettingError(
            f"model: expected one of {names()}, got {name!r}{_nearest(name, names())}"
        )
    module = importlib.import_module(f"{__name__}.{name}")
    for value in vars(module).values():
        # A model may stand on another one, whose class its module has imported.
        own = isinstance(value, type) and value.__module__ == module.__name__
        if own and issubclass(value, Backbone):
            return value
    raise TypeError(f"{module.__name__}: expected a class that extends Backbone, found none")


def build(name: str, fields: dict[str, Any] | None = None) -> Backbone:
    """Build a model by name from the fields of its config."""
    return model_class(name)(**(fields or {}))


def glorot_uniform(model: nn.Module) -> None:
    """Set all dense layers of a model to Glorot-uniform weights and zero biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def resolve_config(config_class: type, config: Any, fields: dict[str, Any]) -> Any:
    """A model's config from an instance (or None for the defaults) and overriding fields.

    Raises:
        TypeError: a field is unknown; the message names the nearest valid one.
        ValueError: a value is not of its field's type, not one of its choices or out of range.
    """
    known = [field.name for field in dataclasses.fields(config_class)]
    hints = get_type_hints(config_class)
    for name, value in fields.items():
        if name not in known:
            raise UnknownSettingError(
                f"{config_class.__name__}: unknown field {name!r}{_nearest(name, known)}; "
                f"it has {', '.join(known)}"
            )
        if not _fits(value, hints[name]):
            hint = hints[name]
            expected = hint.__name__ if isinstance(hint, type) else str(hint).split(".")[-1]
            raise SettingError(
                f"{config_class.__name__}: {name}: expected {expected}, got {value!r}"
            )
        _check_range(f"{config_class.__name__}: {name}", name, value)
    return dataclasses.replace(config or config_class(), **fields)


def _check_range(place: str, name: str, value: Any) -> None:
    """Refuse a number that is out of its field's range."""
    if type(value) is float and not math.isfinite(value):
        raise SettingError(f"{place}: expected a finite number, got {value}")
    if type(value) in (int, float) and (name in RANGES or type(value) is int):
        least, most = RANGES.get(name, (0, MOST))
        if not least <= value <= most:
            raise SettingError(f"{place}: expected {least} to {most}, got {value}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type, as far as configs use types."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, choice) for choice in get_args(hint))
    if not isinstance(hint, type):
        return True
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def __getattr__(name: str) -> Any:
    # `from molgeo.models import SchNet` imports that model's file and no other model's.
    for module in names():
        if name == module:
            return importlib.import_module(f"{__name__}.{name}")
        if module.replace("_", "").replace("pp", "plusplus") == name.lower():
            found = model_class(module)
            if found.__name__ == name:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
