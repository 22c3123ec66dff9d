"""What RDKit has to say, as text instead of lines on the process's standard error.

RDKit's parsers return None and print the reason. `rdkit_messages` collects those lines, also where
several threads parse at once, and leaves RDKit's logging as it was found. RDKit must be given ASCII
only (`molgeo.chem.parsing`): its log raises at half a character.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rdkit import rdBase

MAX_LINES: Final = 20
"""Lines that are kept: a SMILES of open brackets makes three for each of them."""

MAX_LENGTH: Final = 500
"""Characters of a line that are kept: RDKit repeats the whole input."""

_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\]\s*")


class _Collector(logging.Handler):
    """Appends each line to the list of the thread that caused it."""

    def __init__(self) -> None:
        super().__init__()
        self.local = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        lines: list[str] | None = getattr(self.local, "lines", None)
        if lines is not None and len(lines) < MAX_LINES:
            lines.append(_STAMP.sub("", str(record.msg)[:MAX_LENGTH]).strip())


_collector = _Collector()
_logger = logging.getLogger("rdkit")
_lock = threading.Lock()
_users = 0
_found: tuple[list[logging.Handler], bool, str] = ([], False, "")


@contextmanager
def rdkit_messages() -> Iterator[list[str]]:
    """Silence RDKit in a ``with`` block and collect what this thread makes it say.

    Yields:
        Lines, without their time stamps, in the order in which they came.
    """
    outer: list[str] | None = getattr(_collector.local, "lines", None)
    lines: list[str] = []
    _collector.local.lines = lines
    _enter()
    try:
        yield lines
    finally:
        _leave()
        _collector.local.lines = outer


def _enter() -> None:
    """The first of all threads redirects RDKit's log to the collector."""
    global _users, _found
    with _lock:
        _users += 1
        if _users == 1:
            _found = (_logger.handlers[:], _logger.propagate, rdBase.LogStatus())
            _logger.handlers[:] = [_collector]
            _logger.propagate = False
            rdBase.LogToPythonLogger()


def _leave() -> None:
    """The last one puts back what was found."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            handlers, propagate, status = _found
            _logger.handlers[:] = handlers
            _logger.propagate = propagate
            rdBase.LogToCppStreams()
            for line in status.splitlines():
                name, _, state = line.partition(":")
                switch = rdBase.EnableLog if state == "enabled" else rdBase.DisableLog
                switch(name)
