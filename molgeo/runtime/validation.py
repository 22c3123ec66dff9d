"""Values from outside, checked by pydantic; a mistake is told in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Final

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
    "Input should be ": "",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
    "a valid integer, got a number with a fractional part": "a whole number",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid list": "a list",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid dictionary": "keys with values",
}
"""Pydantic's words, and those for people who do not program."""


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
            raise SettingError(explained(error, type(self).model_fields)) from None


def explained(error: ValidationError, names: Iterable[str] = ()) -> str:
    """The first mistake in one line; an unknown name comes before all others.

    Args:
        error: of pydantic.
        names: that are known.
    """
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    place = one_line(".".join(str(key) for key in first["loc"] if key != "[key]"), 100)
    if first["type"] == "extra_forbidden":
        return f"{place!r}: no such key{nearest(str(first['loc'][-1]), names)}"
    if first["type"] == "missing":
        return f"{place}: expected a value, got none"
    if first["type"] == "value_error":
        reason = str(first["ctx"]["error"])
        return reason if not place or reason.startswith(place) else f"{place}: {reason}"
    expected = first["msg"]
    for word, plain in _WORDS.items():
        expected = expected.replace(word, plain)
    if first["type"] == "literal_error":
        expected = f"one of {expected.replace(chr(39), '').replace(' or ', ', ')}"
    return f"{place}: expected {expected}, got {shown(first['input'])}"
