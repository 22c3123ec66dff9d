"""Code of other packages that a setting names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line


def imported(setting: str, load: Callable[[], Any]) -> Any:
    """What a setting names, imported.

    Args:
        setting: the key and its value, for messages.
        load: imports it.

    Raises:
        SettingError: it cannot be imported, for whatever reason.
    """
    try:
        return load()
    except Exception as error:  # another package's module may raise anything
        missing = isinstance(error, ModuleNotFoundError)
        hint = "; is it installed, or its folder in PYTHONPATH?" if missing else ""
        reason = f"{type(error).__name__}: {one_line(error, 100)}"
        raise SettingError(f"{setting} cannot be imported ({reason}){hint}") from error
