"""Progress bars: on standard error if that is a terminal, for work of more than two seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, Timer
from typing import Any, ClassVar, Protocol

PATIENCE_S = 2.0
"""Work shorter than this shows no bar."""


Progress = Callable[[int, int], None]
"""What is called with (done, total) of some work."""


class Report(Protocol):
    """Says how far work has come, with a note; each is a `Progress` too."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Show so much of the whole, and a few words beside it."""


def silent(done: int, total: int, note: str = "", /) -> None:
    """Report nothing."""


class Bar:
    """A bar that appears after two seconds, by a clock: the first report may be long in coming.

    Of work within other work no bar is shown, as a terminal has one at a time.

    Args:
        what: the work, such as ``evaluating`` or ``rows``.
        total: tells how much there is to do, None if that is not known; called when the bar
            appears, unless a report has told it by then.
        done: of the whole, by an earlier run.
    """

    _shown: ClassVar[Bar | None] = None

    def __init__(
        self, what: str, total: Callable[[], int | None] = lambda: None, done: int = 0
    ) -> None:
        self._what, self._total = what, total
        self._state: dict[str, Any] = {"completed": done, "total": None, "note": ""}
        self._bar: Any = None
        self._lock = Lock()
        self._is_wanted = sys.stderr.isatty()
        self._timer = Timer(PATIENCE_S, self._start)
        self._timer.daemon = True
        if self._is_wanted:
            self._timer.start()

    def show(self, done: int, total: int | None = None, note: str = "") -> None:
        """Show so much of the whole, and a few words beside it."""
        with self._lock:
            total = total or self._state["total"]
            self._state = {"completed": done, "total": total, "note": note}
            if self._bar is not None:
                self._bar.update(0, **self._state)

    def stop(self) -> None:
        """Clear the bar for good."""
        self._timer.cancel()
        with self._lock:
            self._is_wanted = False
            if self._bar is not None:
                self._bar.stop()
                self._bar = Bar._shown = None

    def _start(self) -> None:
        total = self._state["total"] or self._total()
        with self._lock:
            if self._is_wanted and Bar._shown is None:  # not stopped while the timer struck
                Bar._shown = self
                self._state["total"] = self._state["total"] or total
                self._bar = _rich_bar()
                self._bar.add_task(self._what, **self._state)
                self._bar.start()


def _rich_bar() -> Any:
    from rich import progress as rich
    from rich.console import Console
    from rich.text import Text

    class Count(rich.ProgressColumn):
        """Pieces of work, and how many per second."""

        def render(self, task: rich.Task) -> Text:
            whole = f"/{task.total:,.0f}" if task.total else ""
            rate = f" {task.speed:.3g}/s" if task.speed else ""
            return Text(f"{task.completed:,.0f}{whole}{rate}")

    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        Count(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Show how far work has come.

    Args:
        what: the work, as a participle: ``evaluating``.

    Yields:
        A function to call with (done, total), and with a note if there is more to say.
    """
    bar = Bar(what)
    try:
        yield bar.show
    finally:
        bar.stop()
