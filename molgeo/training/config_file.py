"""The config of a run from YAML and ``key=value``, where the command line's parser is missing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml

from molgeo.training.config import ForceTrainingConfig, TrainingConfig, config_from


def read_config(
    path: str | Path, assignments: Sequence[str] = ()
) -> TrainingConfig | ForceTrainingConfig:
    """Read a config as ``molgeo train --config`` does.

    Args:
        path: of the YAML file.
        assignments: ``key=value``, the value in YAML; ``backbone.n_blocks=3`` is a key of a key.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no config, a key is unknown, or a value is of another type.
    """
    fields = yaml.safe_load(Path(path).read_text())
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: expected the keys of a run, got {fields!r}")
    for assignment in assignments:
        key, is_one, value = assignment.partition("=")
        if not is_one:
            raise ValueError(f"expected key=value, got {assignment!r}")
        *outer, name = key.split(".")
        inner = fields
        for one in outer:
            inner = inner.setdefault(one, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{one}: expected a key with keys of its own, got {inner!r}")
        inner[name] = yaml.safe_load(value)
    return config_from({name: _typed(name, value) for name, value in fields.items()})


def _typed(name: str, value: Any) -> Any:
    """The value as the field's type has it, or ValueError."""
    types = get_type_hints(ForceTrainingConfig) | get_type_hints(TrainingConfig)
    if name not in types:
        close = difflib.get_close_matches(name, types, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{name}: no key of a run{hint}")
    wanted = types[name]
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            known = ", ".join(get_args(wanted))
            raise ValueError(f"{name}: expected one of {known}, got {value!r}")
        return value
    if wanted is float:  # YAML takes 1e-3, without a dot, for text
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: expected a number, got {value!r}") from None
    if isinstance(value, dict):
        value = {key: _number_or_as_it_is(one) for key, one in value.items()}
    kind = get_origin(wanted) or wanted
    if type(value) is not kind:
        raise ValueError(f"{name}: expected {kind.__name__}, got {value!r}")
    return value


def _number_or_as_it_is(value: Any) -> Any:
    """YAML takes 1e-3, without a dot, for text also within a key."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
