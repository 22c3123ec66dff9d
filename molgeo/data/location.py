"""Where data lie."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir(given: str | Path | None = None) -> Path:
    """The data folder: given, else ``$MOLGEO_DATA``, else a checkout's ``data/``, else a cache.

    Args:
        given: a folder chosen by the user.

    Returns:
        The folder; it need not exist.
    """
    if given:
        return Path(given)
    if chosen := os.environ.get("MOLGEO_DATA"):
        return Path(chosen)
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").exists() and (checkout / "data").is_dir():
        return checkout / "data"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "molgeo"
