"""A progress bar on stderr for what lasts, silent where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PATIENCE_S = 2.0
"""Work shorter than this shows no bar."""


class Report(Protocol):
    """Says how far work has come."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Show so much of the whole, and a few words beside it."""


def silent(done: int, total: int, note: str = "", /) -> None:
    """Report nothing."""


@contextmanager
def progress(what: str) -> Iterator[Report]:
    """Show how far work has come.

    Args:
        what: the work, as a participle: ``evaluating``.

    Yields:
        A function to call with (done, total), and with a note where there is more to say.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Pieces of work a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.3g}/s" if task.speed else "")

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(what, total=None, note="")
    started = time.monotonic()

    def report(done: int, total: int, note: str = "", /) -> None:
        bar.update(task, completed=done, total=total, note=note)
        if not bar.live.is_started and time.monotonic() - started > PATIENCE_S:
            bar.start()

    try:
        yield report
    finally:
        bar.stop()
