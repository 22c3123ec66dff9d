"""How far a run of rows has come, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from threading import Lock, Timer
from typing import Any

from molgeo.runtime.progress import PATIENCE_S


class RowProgress:
    """A line on standard error, from two seconds on, if it is a terminal.

    Args:
        total: tells how many rows there will be, None if that is not known; called when the line
            appears.
        done: rows that an earlier run has done.
        until: rows after which the line goes, as output takes the terminal; None to stay.
    """

    def __init__(
        self,
        total: Callable[[], int | None] = lambda: None,
        done: int = 0,
        until: int | None = None,
    ) -> None:
        self.n = self.n_ready = 0
        self.n_failed = 0
        self._done = done
        self._until = until
        self._total = total
        self._rows: int | None = None
        self._wanted = sys.stderr.isatty()
        self._started = time.monotonic()
        self._bar: Any = None
        self._lock = Lock()
        # By a clock, not by rows: the first ones may be long in coming.
        self._timer = Timer(PATIENCE_S, self._start)
        self._timer.daemon = True
        if self._wanted:
            self._timer.start()

    def make_room(self) -> None:
        """Go if the next row is about to take the terminal."""
        if self._until is not None and self.n >= self._until:
            self.stop()

    def ready(self) -> None:
        """Count a row that has its coordinates: rows are predicted many at a time."""
        self.n_ready += 1
        self._show()

    def advance(self, failed: bool) -> None:
        """Count a row that is done."""
        self.n += 1
        self.n_failed += failed
        self._show()

    def _show(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.update(0, **self._fields())

    def stop(self) -> None:
        """Clear the line for good."""
        self._timer.cancel()
        with self._lock:
            self._wanted = False
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        total = self._total()
        with self._lock:
            if not self._wanted:  # stopped while the timer struck
                return
            whole = f" of {total:,}" if total else ""
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn(f"{{task.completed:,.0f}}{whole} rows, {{task.fields[failed]}} failed"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._rows = total
            self._bar.add_task("", total=total, **self._fields())
            self._bar.start()

    def _fields(self) -> dict[str, Any]:
        new = max(self.n, self.n_ready)
        done = self._done + new
        left = ""
        if self._rows and new and self._rows > done:
            seconds = (time.monotonic() - self._started) / new * (self._rows - done)
            left = f"{duration(seconds)} left"
        return {"completed": done, "failed": self.n_failed, "left": left}


def duration(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < most * length:
            value = seconds / length
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
