"""The config of a run from YAML and ``key=value``, where the command line's parser is missing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line
from molgeo.training.config import ForceTrainingConfig, TrainingConfig, config_from
from molgeo.training.yaml_text import parse_yaml, read_yaml


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
    fields = read_yaml(path)
    if not isinstance(fields, dict):
        raise SettingError(f"{path}: expected the keys of a run, got {_shown(fields)}")
    for assignment in assignments:
        key, is_one, value = assignment.partition("=")
        if not is_one:
            raise SettingError(f"expected key=value, got {_shown(assignment)}")
        *outer, name = key.split(".")
        inner = fields
        for one in outer:
            inner = inner.setdefault(one, {})
            if not isinstance(inner, dict):
                raise SettingError(
                    f"{one}: expected a key with keys of its own, got {_shown(inner)}"
                )
        inner[name] = parse_yaml(value, name)
    return config_from({name: _typed(name, value) for name, value in fields.items()})


def _typed(name: str, value: Any) -> Any:
    """The value as the field's type has it, or ValueError."""
    types = get_type_hints(ForceTrainingConfig) | get_type_hints(TrainingConfig)
    if name not in types:
        close = difflib.get_close_matches(str(name)[:100], types, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise SettingError(f"{one_line(name, 60)}: no key of a run{hint}")
    wanted = types[name]
    if get_origin(wanted) is Literal:
        if value not in get_args(wanted):
            known = ", ".join(get_args(wanted))
            raise SettingError(f"{name}: expected one of {known}, got {_shown(value)}")
        return value
    if wanted is float and not isinstance(value, bool):  # YAML takes 1e-3, without a dot, for text
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise SettingError(f"{name}: expected a number, got {_shown(value)}") from None
    if isinstance(value, dict):
        value = {key: _number_or_as_it_is(one) for key, one in value.items()}
    kind = get_origin(wanted) or wanted
    if type(value) is not kind:
        raise SettingError(f"{name}: expected {kind.__name__}, got {_shown(value)}")
    return value


def _number_or_as_it_is(value: Any) -> Any:
    """YAML takes 1e-3, without a dot, for text also within a key."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _shown(value: Any) -> str:
    return one_line(repr(value), 60)
