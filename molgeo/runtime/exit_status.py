"""Exit statuses of commands, and what they say."""

from __future__ import annotations

from typing import Final

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
