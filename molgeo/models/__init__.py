"""The models: one file each, and those that other packages bring.

A file ``models/foo.py`` defines a frozen dataclass ``FooConfig`` with the paper's defaults and a
class ``Foo``, and ends in ``MODEL = Foo``. Nothing else has to be edited: the file is found, tested
and trainable by its name. A model of another package is the same without the last line.
`molgeo.testing.check_backbone` says whether it keeps what models promise:

* ``Foo(config=None, **fields)``: fields override the config's; an unknown one is an error;
* ``model(z, pos, batch) → (molecules, n_out)``: the published model, called as PyG's are;
* ``model.atom_features(z, pos, graph) → (atoms, model.feature_dim)``: the backbone, for
  `molgeo.predictor.heads`;
* ``model.cutoff`` in Å and ``model.config``.

A model's name is that of a file here, of an entry point that an installed package registers in the
group ``molgeo.models``, or the import path of a class, ``my_package.MyBackbone``.

To import a module is to run it. What a user writes is imported. What a checkpoint's header says is
not, because anyone can write a header: it may name a file here, an installed entry point, a class
that is imported already, and those that the environment variable ``MOLGEO_MODELS`` names.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
import sys
import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Final

from torch import Tensor, nn

from molgeo.elements import SYMBOLS
from molgeo.graph import Graph, given_or_found
from molgeo.models._config import MOST as MOST
from molgeo.models._config import given_values as given_values
from molgeo.models._config import resolve_config as resolve_config
from molgeo.ops.segment import molecule_sum
from molgeo.runtime.errors import SettingError
from molgeo.runtime.other_code import imported
from molgeo.runtime.plain_text import nearest, one_line

GROUP: Final = "molgeo.models"
"""Of entry points: name → ``my_package:MyBackbone``."""

TRUSTED: Final = "MOLGEO_MODELS"
"""Environment variable: import paths, separated by commas, that a file may have imported."""

JUMPS: Final = (
    "the energy of its backbone as published jumps if another atom becomes the reference, so that "
    "forces are not its slope; train with backbone.smooth: true"
)
"""Why there are no forces of a model that is not smooth."""

DIRECT: Final = "direct, not the gradient of the energy"
"""What forces are that a backbone gives itself."""


class Backbone(nn.Module):
    """What every model is to the rest of molgeo.

    Attributes:
        config: the frozen dataclass it was built from, by `resolve_config`; its ``n_out`` is None
            for a backbone under molgeo's heads.
        cutoff: Å.
        feature_dim: width of the atom features.
        n_elements: its atomic numbers lie below.
        takes_charge: its features depend on the charges of the graph's molecules.
        is_smooth: its energy is a continuous function of the positions, and so are its forces. As
            some are published, a reference atom is chosen, and the choice jumps.
        tells_mirror_images: a molecule and its mirror image have different features.
        linear_in_edges: its cost grows no faster than the edges, as it has no triplets.
        grows_by: fields of its config, false by default, that a start from weights without them may
            set: what they add has no effect before training.
        readout: what the published model does to atom features before it sums them.
    """

    config: Any
    cutoff: float
    feature_dim: int
    n_elements: int = len(SYMBOLS)
    takes_charge: bool = False
    is_smooth: bool = True
    tells_mirror_images: bool = False
    linear_in_edges: bool = False
    grows_by: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.readout: nn.Module = nn.Identity()

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        graph: Graph | None = None,
        charge: Tensor | None = None,
    ) -> Tensor:
        """The published model.

        Args:
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            batch: (atoms,) molecule of each atom, ascending; None for one molecule.
            graph: edges within `cutoff`, or more of them: those beyond contribute nothing. None to
                find them. For periodic systems, and for steps of a simulation that share them.
            charge: (molecules,) int64, total charges, e, if it `takes_charge`; None for those of
                the graph, or for neutral molecules.

        Returns:
            (molecules, n_out), the sum of the atoms' outputs.

        Raises:
            RuntimeError: the model was built with ``n_out=None``.
            ValueError: the graph is of other atoms; without one, a number is no element's.
        """
        if self.config.n_out is None:
            name = type(self).__name__
            raise RuntimeError(f"{name}: n_out is None, so it has atom_features but no readout")
        if graph is None:
            check_elements(z, self.n_elements)
        graph = given_or_found(graph, pos, self.cutoff, batch, charge)
        return molecule_sum(self.readout(self.atom_features(z, pos, graph)), graph)

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Features of every atom in its surroundings, the same however a molecule is turned.

        Args:
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            graph: edges within `cutoff`, or more of them, and the molecules' charges.

        Returns:
            (atoms, feature_dim); of a published model without a readout, what it sums.
        """
        raise TypeError(f"{type(self).__name__} does not say what an atom's features are")

    @property
    def direct_forces(self) -> bool:
        """It gives forces itself: its config has a field of this name, which is true."""
        return bool(getattr(self.config, "direct_forces", False))

    def features_and_forces(
        self, z: Tensor, pos: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor | None]:
        """Features of every atom, and its force if the model gives `direct_forces`.

        Args:
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            graph: as in `atom_features`.

        Returns:
            The features, and (atoms, 3) forces that turn with the molecule, in units that a
            predictor scales as it does the energy; None if the gradient of the energy is meant.
        """
        return self.atom_features(z, pos, graph), None

    def scale_forces(self, factor: float) -> None:
        """Multiply direct forces, if there are any: a predictor's unit has changed."""

    def fit_factors(self, z: Tensor, pos: Tensor, graph: Graph) -> None:
        """Set the factors that data decide, once before a training; most models have none.

        Args:
            z: (atoms,) int64 atomic numbers of a batch of training molecules.
            pos: (atoms, 3) Å.
            graph: edges within `cutoff`, of the batch.
        """


def check_elements(z: Tensor, n_elements: int) -> None:
    """Refuse atomic numbers that a model has no features of; the host waits for the device.

    Args:
        z: (atoms,) atomic numbers.
        n_elements: below which they lie.

    Raises:
        ValueError: one does not. On a card an embedding would end the process.
    """
    wrong = (z < 0) | (z >= n_elements)
    if wrong.any():
        raise ValueError(
            f"z: expected atomic numbers, 1 to {n_elements - 1}, got {int(z[wrong][0])}"
        )


def names() -> list[str]:
    """Names of all models: molgeo's own and those of installed packages."""
    return sorted({*own_names(), *(entry.name for entry in entry_points(group=GROUP))})


@functools.cache
def own_names() -> tuple[str, ...]:
    """Names of molgeo's own models: the files of this package."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def model_class(model: str | type[Backbone], trusted: bool = True) -> type[Backbone]:
    """The class of a model.

    Args:
        model: a name, as in `names`, an import path, or the class itself.
        trusted: import the module of an import path. False for what a stranger wrote.

    Raises:
        ValueError: there is no such model; the message names the nearest. Or it cannot be
            imported, may not be, or is no `Backbone`.
    """
    if isinstance(model, type):
        found: Any = model
    elif model in own_names():
        _warn_of_shadowed(model)
        found = importlib.import_module(f"{__name__}.{model}").MODEL
    elif entry := _entry_point(model):
        found = imported(f"model: {_shown(model)}", entry.load)
    elif "." in model and all(part.isidentifier() for part in model.split(".")):
        found = _at(model, trusted)
    else:
        raise SettingError(
            f"model: expected one of {', '.join(names())}, or an import path such as "
            f"my_package.MyBackbone, got {_shown(model)}{nearest(model, names())}"
        )
    if not (isinstance(found, type) and issubclass(found, Backbone) and found is not Backbone):
        raise SettingError(
            f"model: {_shown(model)}: expected a class that extends molgeo.models.Backbone, got "
            f"{one_line(repr(found), 60)}"
        )
    return found


def name_of(model: str | type[Backbone]) -> str:
    """The name by which a model is found again, as a checkpoint's header keeps it.

    Args:
        model: as `model_class` takes it; a name of another package is kept as it is.

    Raises:
        ValueError: as `model_class`.
    """
    cls = model_class(model)
    room, _, own = cls.__module__.rpartition(".")
    if room == __name__ and own in own_names() and model_class(own) is cls:
        return own
    if isinstance(model, str):
        return model
    value = f"{cls.__module__}:{cls.__qualname__}"
    registered = [entry.name for entry in entry_points(group=GROUP) if entry.value == value]
    return registered[0] if registered else value.replace(":", ".")


def build(model: str | type[Backbone], fields: dict[str, Any] | None = None) -> Backbone:
    """Build a model by name, import path or class from the fields of its config."""
    return model_class(model)(**(fields or {}))


def glorot_uniform(model: nn.Module) -> None:
    """Set all dense layers of a model to Glorot-uniform weights and zero biases."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _entry_point(name: str) -> EntryPoint | None:
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if len(found) > 1:
        raise SettingError(
            f"model: {_shown(name)} is the name of {' and of '.join(sorted(found))}, which are "
            "installed both; use the import path"
        )
    return next(iter(found.values()), None)


@functools.cache  # to look through what is installed takes time
def _warn_of_shadowed(own: str) -> None:
    for entry in entry_points(group=GROUP, name=own):
        warnings.warn(
            f"model: {own!r} is molgeo's own; {one_line(entry.value, 100)}, which is installed "
            f"under that name, is not used: use the import path",
            stacklevel=2,
        )


def _at(path: str, trusted: bool) -> Any:
    """What an import path names."""
    module, _, name = path.rpartition(".")
    if trusted or path in os.environ.get(TRUSTED, "").replace(" ", "").split(","):
        return imported(
            f"model: {_shown(path)}", lambda: getattr(importlib.import_module(module), name)
        )
    # A look into the module's dictionary runs no code; getattr could.
    found = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    if found is None:
        raise SettingError(
            f"{_shown(path)} is code that a file may not import; import {one_line(module, 60)} "
            f"first, or set {TRUSTED}={one_line(path, 60)}"
        )
    return found


def _shown(model: object) -> str:
    return f"'{one_line(model, 60)}'"


def __getattr__(name: str) -> Any:
    # `from molgeo.models import SchNet` and `molgeo.models.schnet` import no model before that.
    if name in own_names():
        return importlib.import_module(f"{__name__}.{name}")
    if not name.startswith("_"):
        for cls in map(model_class, own_names()):
            if cls.__name__ == name:
                return cls
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
