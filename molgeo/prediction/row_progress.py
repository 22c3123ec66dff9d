"""How far a run of rows has come."""

from __future__ import annotations

from collections.abc import Callable

from molgeo.runtime.progress import Bar


class RowProgress:
    """The bar of a run of rows.

    Args:
        total: tells how many rows there will be, None if that is not known.
        done: rows that an earlier run has done.
        until: rows after which the bar goes, as output takes the terminal; None to stay.
    """

    def __init__(
        self,
        total: Callable[[], int | None] = lambda: None,
        done: int = 0,
        until: int | None = None,
    ) -> None:
        self.n = self.n_ready = self.n_failed = 0
        self._done, self._until = done, until
        self._bar = Bar("rows", total, done)

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

    def stop(self) -> None:
        """Clear the bar for good."""
        self._bar.stop()

    def _show(self) -> None:
        new = max(self.n, self.n_ready)
        self._bar.show(self._done + new, note=f"{self.n_failed} failed" if self.n_failed else "")
