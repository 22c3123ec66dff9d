"""Settings as fields of a dataclass, each of which is described once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any


def option(default: Any, help: str, type: Any = str | None, aliases: Sequence[str] = ()) -> Any:
    """A field that is an option of the command line too.

    Args:
        default: if nothing is given.
        help: one line, for the help and for docstrings.
        type: of the option's value on the command line; ``bool`` for a switch.
        aliases: further names of a switch on the command line.
    """
    return field(default=default, metadata={"help": help, "type": type, "aliases": aliases})
