"""Warnings of molgeo as one line each, for those who do not see its code."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from molgeo.runtime.plain_text import one_line

_FOLDER = Path(__file__).resolve().parents[1]
_formatted = warnings.formatwarning


def tell_in_lines() -> None:
    """Let molgeo's own warnings be printed as its other messages are; others stay as they are."""
    warnings.formatwarning = _line


def _line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> Any:
    if issubclass(category, UserWarning) and _FOLDER in Path(filename).resolve().parents:
        return f"molgeo: {one_line(message)}\n"
    return _formatted(message, category, filename, lineno, line)
