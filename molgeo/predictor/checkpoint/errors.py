"""Why a file cannot be used."""

from __future__ import annotations

from pathlib import Path

from molgeo.runtime.errors import InputError
from molgeo.runtime.plain_text import one_line


class CheckpointError(InputError):
    """A file that cannot be used as a checkpoint; the message is one line and says why.

    Args:
        message: of any length and origin; `molgeo.runtime.plain_text` makes it fit for a terminal.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))

    @classmethod
    def of(cls, path: Path, reason: object) -> CheckpointError:
        """An error that names the file, but never so long that the reason is lost."""
        return cls(f"{one_line(path, 100)}: {reason}")
