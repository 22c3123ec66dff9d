"""What a value of a header may be, as small checks that are put together to larger ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from molgeo.runtime.plain_text import one_line

Check = Callable[[Any, str], None]
"""Raises `FieldError` for a value that must not stand in a place such as ``domain.elements[2]``."""

HUGE: Final = 1e15


class FieldError(ValueError):
    """A field of a header is missing, or of a wrong type or range; the message names it."""


def refuse(place: str, expected: str, value: Any) -> FieldError:
    """The error for a value that is not what was expected."""
    return FieldError(
        f"{one_line(place, 80)}: expected {expected}, got {one_line(repr(value), 60)}"
    )


def whole(least: int = 0, most: int = 10**12) -> Check:
    """A whole number between two others, these included."""

    def check(value: Any, place: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise refuse(place, f"a whole number from {least} to {most}", value)

    return check


def number(least: float = -HUGE, most: float = HUGE) -> Check:
    """A finite number between two others, these included."""

    def check(value: Any, place: str) -> None:
        if type(value) not in (int, float) or not least <= value <= most:
            raise refuse(place, f"a number from {least:g} to {most:g}", value)

    return check


def text(most: int = 1000, least: int = 0) -> Check:
    """Text of bounded length."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise refuse(place, f"text of {least} to {most} characters", value)

    return check


def flag(value: Any, place: str) -> None:
    """True or false."""
    if type(value) is not bool:
        raise refuse(place, "true or false", value)


def one_of(known: Collection[str]) -> Check:
    """One of some words."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or value not in known:
            raise refuse(place, f"one of {', '.join(known)}", value)

    return check


def plain(value: Any, place: str) -> None:
    """Any value that JSON has: of a field that molgeo itself does not read."""


def maybe(inner: Check) -> Check:
    """What another check lets pass, or null."""
    return lambda value, place: None if value is None else inner(value, place)


def each(inner: Check, least: int = 0, most: int = 10_000) -> Check:
    """A list of bounded length."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise refuse(place, f"a list of {least} to {most} values", value)
        for k, one in enumerate(value):
            inner(one, f"{place}[{k}]")

    return check


def row(*inner: Check) -> Check:
    """A list of so many values, each with a check of its own."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or len(value) != len(inner):
            raise refuse(place, f"a list of {len(inner)} values", value)
        for k, (one, of) in enumerate(zip(value, inner, strict=True)):
            of(one, f"{place}[{k}]")

    return check


def table(inner: Check, most: int = 1000) -> Check:
    """An object of any keys, of bounded number."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise refuse(place, f"an object of at most {most} keys", value)
        for key, one in value.items():
            inner(one, f"{place}.{key}" if place else key)

    return check


def record(
    required: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
    others: Check | None = None,
    most: int = 1000,
) -> Check:
    """An object of known keys.

    Args:
        required: key → check.
        optional: key → check.
        others: check of keys that are in neither; None to refuse them.
        most: keys in all.
    """
    known = {**required, **(optional or {})}

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict) or len(value) > most:
            raise refuse(place or "header", f"an object of at most {most} keys", value)
        prefix = f"{place}." if place else ""
        for key in required:
            if key not in value:
                raise FieldError(f"{prefix}{key}: is missing")
        for key, one in value.items():
            inner = known.get(key, others)
            if inner is None:
                raise refuse(place, f"keys {', '.join(known)}", key)
            inner(one, prefix + key)

    return check


def is_finite(value: Any) -> bool:
    """Whether a value is no float that JSON lacks."""
    return not isinstance(value, float) or math.isfinite(value)
