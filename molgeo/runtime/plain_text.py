"""Messages: text of any origin, made fit for a line of a terminal."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

LINE: Final = 300
"""Characters that a message to people may have."""


def one_line(text: object, most: int = LINE) -> str:
    r"""Text as one line of bounded length that cannot move a cursor, colour it or reverse it.

    White space becomes single spaces. Control characters, lone surrogates and invisible marks (of
    direction, of width zero) become escapes such as ``\x1b``. The middle of a line that is too
    long is left out.

    Args:
        text: anything; its ``str`` is taken.
        most: characters of the result, 3 or more.
    """
    text = str(text)
    if len(text) > 4 * most:  # work on what may be shown
        text = f"{text[: 2 * most]}…{text[-2 * most :]}"
    line = "".join(c if c.isprintable() else _escape(c) for c in " ".join(text.split()))
    if len(line) <= most:
        return line
    head = 2 * (most - 1) // 3
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def nearest(given: str, names: Iterable[str]) -> str:
    """``; did you mean 'NAME'?``, or nothing if none of the names is near."""
    close = difflib.get_close_matches(given[:100], names, n=1, cutoff=0.55)  # as qm10 and qm9 are
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: Any) -> str:
    """A value of any kind and size, for a message."""
    try:
        return one_line(repr(value), 60)
    except ValueError:  # Python's own limit
        return "a number of thousands of digits"


def say(text: object, most: int = 1000) -> None:
    """Print one line of molgeo's on standard error, beside the results.

    Args:
        text: with whatever names of the input are in it.
        most: characters.
    """
    sys.stderr.write(f"molgeo: {one_line(text, most)}\n")


def say_warnings() -> None:
    """Let molgeo's own warnings be printed as its other messages are; others stay as they are.

    A second call changes nothing.
    """
    formatted, package = warnings.formatwarning, Path(__file__).resolve().parents[1]
    if formatted.__module__ == __name__:
        return

    def line(message: Any, category: type[Warning], filename: str, *place: Any) -> str:
        if issubclass(category, UserWarning) and package in Path(filename).resolve().parents:
            return f"molgeo: {one_line(message)}\n"
        return formatted(message, category, filename, *place)

    warnings.formatwarning = line  # type: ignore[assignment]
