"""The fields of a model's config, from anyone: their types and ranges."""

from __future__ import annotations

import dataclasses
import functools
import json
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from annotated_types import Interval

from molgeo.runtime.errors import SettingError, UnknownSettingError
from molgeo.runtime.plain_text import nearest, shown

if TYPE_CHECKING:
    from pydantic import BaseModel

MOST: Final = 4096
"""Bound on every whole number of a config that has no range of its own."""

COUNT: Final = Interval(ge=0, le=MOST)

CUTOFF: Final = Interval(ge=0.1, le=100.0)
"""Å, of any config: what can be computed, and means something."""

AngularOrders = Annotated[int, Interval(ge=1, le=12)]
RadialFunctions = Annotated[int, Interval(ge=1, le=64)]
EnvelopeExponent = Annotated[int, Interval(ge=0, le=30)]


def resolve_config(config_class: type, config: Any, fields: dict[str, Any]) -> Any:
    """A model's config from an instance (or None for the defaults) and overriding fields.

    Fields with ``init=False`` are the class's own business. All others are checked by their
    annotations, strictly: a number is no text, and True no number.
    A whole number without a range of its own is 0 to `MOST`; others say theirs, such as
    ``Annotated[int, pydantic.Field(ge=0, le=10**6)]``. A cutoff is 0.1 to 100 Å.

    Args:
        config_class: a frozen dataclass, whose values JSON has.
        config: an instance; None for its defaults.
        fields: names and values that differ.

    Raises:
        TypeError: a field is unknown; the message names the nearest valid one. Or the config is
            one of another class.
        ValueError: a value is not of its field's type, not one of its choices or out of range.
    """
    from pydantic import ValidationError  # needed by what is built, not by what is imported

    from molgeo.runtime.validation import explained

    name, known = config_class.__name__, _given(config_class)
    for field in fields.keys() - set(known):
        hint = f"{nearest(field, known)}; it has {', '.join(known)}"
        raise UnknownSettingError(f"{name}: unknown field {shown(field)}{hint}")
    if not (config is None or isinstance(config, config_class)):
        raise UnknownSettingError(f"expected a {name}, got a {type(config).__name__}")
    config = config_class() if config is None else config
    # By way of JSON, which is how a checkpoint's header gives the values.
    text = json.dumps({**given_values(config), **fields}, default=_as_json)
    checks = _checked(config_class)
    try:
        checked = checks.model_validate_json(text)
    except ValidationError as error:
        raise SettingError(f"{name}: {explained(error, checks)}") from None
    return config_class(**{field: getattr(checked, field) for field in known})


def given_values(config: Any) -> dict[str, Any]:
    """Names and values from which a config can be built again, with plain values alone.

    Args:
        config: an instance of a dataclass; its fields with ``init=False`` are left out.
    """
    return {name: _plain(getattr(config, name)) for name in _given(type(config))}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return given_values(value) if dataclasses.is_dataclass(type(value)) else value


def _as_json(value: Any) -> Any:
    return given_values(value) if dataclasses.is_dataclass(type(value)) else repr(value)


def _given(config_class: type) -> list[str]:
    """Names of the fields that are given when a config is built."""
    return [f.name for f in dataclasses.fields(config_class) if f.init]


@functools.cache
def _checked(config_class: type) -> type[BaseModel]:
    """A pydantic model with the fields of a dataclass."""
    from pydantic import ConfigDict, create_model

    all_hints = get_type_hints(config_class, include_extras=True)
    hints = {name: all_hints[name] for name in _given(config_class)}
    if "cutoff" in hints:
        hints["cutoff"] = _bounded(hints["cutoff"], float, CUTOFF)
    fields: dict[str, Any] = {k: (_bounded(hint, int, COUNT), ...) for k, hint in hints.items()}
    strict = ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=())
    return create_model(config_class.__name__, __config__=strict, **fields)


def _bounded(hint: Any, kind: type, bound: Interval) -> Any:
    """A type whose numbers of one kind have a bound if they have none of their own."""
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(_bounded(one, kind, bound) for one in get_args(hint))]  # noqa: UP007
    return Annotated[kind, bound] if hint is kind else hint
