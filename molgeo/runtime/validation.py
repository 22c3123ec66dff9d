"""Values from outside, checked by pydantic; a mistake is told in one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import nearest, one_line, shown

MOST: Final = 10**12
"""Bound on all numbers that have no other."""

Count = Annotated[int, Field(ge=0, le=MOST)]
Several = Annotated[int, Field(ge=1, le=MOST)]
Number = Annotated[float, Field(ge=-MOST, le=MOST, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ProperFraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]

_WORDS: Final = {
    r"Input should be ": "",
    r"\w+ should have (.+?)( after validation)?(, not .+)?$": r"\1",
    r" or instance of .+": "",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
    "a valid integer, got a number with a fractional part": "a whole number",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid (list|array|tuple|set)": "a list",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid dictionary|an object": "keys with values",
    "^None$": "nothing",
}
"""Patterns of pydantic's words, and those for people who do not program."""


class Settings(BaseModel):
    """Named values of strict types within bounds, which do not change.

    Raises:
        SettingError: a value is of another type or out of its bounds, or a name is unknown; the
            message names the first one, and the nearest name that is known.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise SettingError(explained(error, type(self))) from None


def explained(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first mistake in one line; an unknown name comes before all others.

    Args:
        error: of pydantic.
        model: whose values were checked: its names are known, and which of them have a choice of
            types.
    """
    fields = model.model_fields if model else {}
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    where, expected = first["loc"], ""
    if where and where[0] in fields and (types := _choice(fields[str(where[0])].annotation)):
        # Pydantic tells one mistake for each type, with the type's name in its place.
        all_told = [e for e in errors if e["loc"][0] == where[0]]
        first = next((e for e in all_told if len(e["loc"]) > 2), all_told[0])
        where = (where[0], *first["loc"][2:])
        if len(where) == 1:
            nothing = ["nothing"] if NoneType in types else []
            expected = _listed([*dict.fromkeys(map(_expected, all_told)), *nothing])
    place = one_line(".".join(str(key) for key in where if key != "[key]"), 100)
    if first["type"] == "extra_forbidden":
        return f"{place!r}: no such key{nearest(str(where[-1]), fields)}"
    if first["type"] == "missing":
        return f"{place}: expected a value, got none"
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return reason if not place or reason.startswith(place) else f"{place}: {reason}"
    return f"{place}: expected {expected or _expected(first)}, got {shown(first['input'])}"


def _expected(mistake: Any) -> str:
    """What a value should have been, in plain words."""
    expected: str = mistake["msg"]
    for words, plain in _WORDS.items():
        expected = re.sub(words, plain, expected)
    if mistake["type"] == "literal_error":
        choices = expected.replace("'", "").replace(" or ", ", ")
        return f"one of {choices}" if "," in choices else choices
    return expected


def _choice(hint: Any) -> tuple[Any, ...]:
    """The types that a value may be of, if there are several beside None."""
    types = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    return types if len(set(types) - {NoneType}) > 1 else ()


def _listed(words: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
