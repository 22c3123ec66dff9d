"""States of runs on disk: exact, and whole whenever a process is killed."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np

from molgeo.runtime.errors import InputError
from molgeo.runtime.whole_file import replacing

FORMAT_VERSION: Final = 1
_TEXT: Final = "state"


class StateError(InputError):
    """A state that cannot be gone on from; the message is one line and says why."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state, all or nothing: what was there before stays until the new one is on disk.

    Args:
        path: of the file.
        state: nested dictionaries and lists of plain values and numpy arrays; floats and arrays
            come back to the last bit.

    Raises:
        OSError: the file cannot be written.
    """
    arrays: list[np.ndarray] = []

    def aside(value: Any) -> Any:
        if isinstance(value, np.generic):
            return value.item()
        arrays.append(np.asarray(value))
        return {_TEXT: len(arrays) - 1}

    text = json.dumps({**state, "format": FORMAT_VERSION}, default=aside)
    with replacing(path) as part, part.open("wb") as file:
        named = {_TEXT: np.array(text), **{str(k): a for k, a in enumerate(arrays)}}
        np.savez(file, allow_pickle=False, **named)
        file.flush()
        os.fsync(file.fileno())


def load_state(path: Path) -> dict[str, Any]:
    """Read a state.

    Raises:
        FileNotFoundError: there is none.
        StateError: the file is none of `save_state`, or of another version.
    """
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            state: dict[str, Any] = json.loads(
                str(file[_TEXT]),
                object_hook=lambda d: file[str(d[_TEXT])] if set(d) == {_TEXT} else d,
            )
    except FileNotFoundError:
        raise FileNotFoundError(f"nothing to resume: {path} does not exist") from None
    except (OSError, ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StateError(f"{path}: no state of a run, or a damaged one: {error}") from error
    if state.get("format") != FORMAT_VERSION:
        raise StateError(
            f"{path}: expected a state of version {FORMAT_VERSION}, got {state.get('format')!r}"
        )
    return state
