"""Errors that a user can mend, and exit statuses; everything else that is raised is a bug."""

from __future__ import annotations

from typing import ClassVar, Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
SOME_FAILED: Final = 3

MEANING: Final = {
    OK: "all is done",
    SOME_FAILED: "done, but some rows failed, a structure was not relaxed or a run was stopped",
    USAGE: "wrong usage, unreadable input or unwritable output",
    FAILED: "anything else",
}
"""Status → what it says."""


class UserError(Exception):
    """Something that the user can mend; the message is one line and says what and how.

    Each kind is also the built-in error that Python's users expect, such as ValueError.

    Attributes:
        exit_status: of a command that ends with this error.
    """

    exit_status: ClassVar[int] = USAGE


class InputError(UserError, ValueError):
    """An input that cannot be read or an output that cannot be written."""


class SettingError(UserError, ValueError):
    """A setting with a value that it cannot have, by itself or beside the other settings."""


class UnknownSettingError(SettingError, TypeError):
    """A setting that does not exist; the message names the nearest that does."""


class DownloadError(UserError, OSError):
    """A file that could not be fetched."""
