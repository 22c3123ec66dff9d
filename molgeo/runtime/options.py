"""Settings as fields of a dataclass, each of which is described once."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, help: str, kind: Any = None, /, *aliases: str, **more: Any) -> Any:
    """A field that is an option of the command line too.

    Args:
        default: if nothing is given.
        help: one line, for the help and for docstrings; "" for a field that is no option.
        kind: type of the option's value on the command line, ``bool`` for a switch; None for that
            of the default, or text if this is None.
        aliases: further names on the command line.
        more: for ``add_argument``.
    """
    if kind is None:
        kind = str | None if default is None else type(default)
    about = {"help": help, "type": kind, "aliases": aliases, "more": more}
    return field(default=default, metadata=about)
