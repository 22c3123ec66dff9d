"""What takes the rows of a run: a stream, or a file that is there whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from molgeo.chem.mol_blocks import mol_block
from molgeo.prediction.journal import Entry, Journal
from molgeo.prediction.layout import Layout, Writer
from molgeo.prediction.output import Target
from molgeo.prediction.row_progress import RowProgress
from molgeo.prediction.rows import STD, Done, Result
from molgeo.prediction.structures import conformers_text
from molgeo.prediction.summary import Tally
from molgeo.prediction.tables import BLOCK
from molgeo.prediction.writers import WRITERS
from molgeo.runtime.errors import InputError, UserError
from molgeo.runtime.whole_file import replacing

if TYPE_CHECKING:
    from molgeo.prediction.report.page import RowPage

Total = Callable[[], int | None]
"""Tells how many rows there will be, None if that is not known."""

_TEXT: Final[dict[str, Any]] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
"""How files are opened; half a character is written as an escape."""


class WriteError(UserError, OSError):
    """Writing failed half-way; the message says how many rows are safe."""


class Sink:
    """Takes windows of rows and counts them.

    Args:
        target: where rows go.
        layout: what they are written as.
        progress: shows how far the run has come.
        page: takes the rows too; None if no page is wanted.

    Attributes:
        tally: counts the rows of the output.
        n_new: rows that this process has made.
        on_screen: rows are shown to someone as they come.
        ready: to be called as each row has its coordinates.
    """

    def __init__(
        self, target: Target, layout: Layout, progress: RowProgress, page: RowPage | None = None
    ) -> None:
        self.tally = Tally(one for one in layout.number_columns if one.endswith(STD))
        self.n_new = 0
        self.on_screen = False
        self.ready = progress.ready
        self._target, self._layout, self._progress = target, layout, progress
        self._page = page

    def done(self) -> Iterable[Done]:
        """Rows at the start that an earlier run has made."""
        return ()

    def write(self, results: Sequence[Result]) -> None:
        """Take the next rows.

        Raises:
            WriteError: writing failed, such as for a full disk.
            BrokenPipeError: the reader of a pipe has gone.
        """
        raise NotImplementedError

    def finish(self, is_whole: bool = True) -> None:
        """Make the output of the rows that are there; errors are those of `write`.

        Args:
            is_whole: these are all rows; else a later run may go on.
        """
        raise NotImplementedError

    def kept(self) -> str:
        """What becomes of the rows of a run that stops early, in one line; "" for nothing."""
        return ""

    def close(self) -> None:
        """Leave the output, whole or not."""
        raise NotImplementedError

    def _safe(self) -> str:
        """How many rows a failure leaves."""
        raise NotImplementedError

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn errors of the system into one line."""
        try:
            yield
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            raise
        except OSError as error:
            name, reason = self._target.path or "standard output", error.strerror or error
            raise WriteError(f"{name}: writing stopped after {self._safe()}: {reason}") from error

    def _writer(self, file: TextIO) -> Writer:
        return WRITERS[self._target.format](file, self._layout)

    def _block(self, result: Result) -> str:
        """The structure, if the format or the page has structures."""
        is_wanted = self._target.has_structures and result.conformers
        return mol_block(result.conformers[0]) if is_wanted else ""

    def _conformers(self, result: Result) -> str:
        """The conformers, if there is a file of them."""
        path = self._target.geometries
        return conformers_text(result, self._layout, path.suffix.lower()) if path else ""

    def _count(self, result: Result) -> None:
        self.n_new += 1
        self._progress.advance(result.row["status"] == "error")


class Stream(Sink):
    """Rows go out as they come: to standard output, a device or a pipe.

    Args:
        target: where they go.
        layout: what they are written as.
        total: how many rows there will be.
        page: as in `Sink`.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(
        self,
        target: Target,
        layout: Layout,
        total: Total = lambda: None,
        page: RowPage | None = None,
    ) -> None:
        self._file = _opened(target.path)
        on_screen = target.path is None and self._file.isatty()
        # On a terminal the rows themselves show progress, but for those that a table waits for.
        shown = 0 if target.format != "table" else BLOCK - 1
        progress = RowProgress(total, until=shown if on_screen else None)
        super().__init__(target, layout, progress, page)
        self.on_screen = on_screen
        self._extra: TextIO | None = None
        if target.geometries is not None:
            self._part = target.geometries.with_name(f"{target.geometries.name}.part")
            self._extra = self._part.open("w", **_TEXT)
        self._out: Writer | None = self._writer(self._file)

    def write(self, results: Sequence[Result]) -> None:
        """Write each row at once."""
        assert self._out is not None
        with self._guard():
            for result in results:
                if self._extra is not None:
                    self._extra.write(self._conformers(result))
                self._progress.make_room()
                block = self._block(result)
                self._out.write(result.row, block)
                if self._page is not None:
                    self._page.add(result.row, block)
                self.tally.add(result.row)
                self._count(result)

    def finish(self, is_whole: bool = True) -> None:
        """Write what is kept back."""
        with self._guard():
            self._end()
            if self._extra is not None and self._target.geometries is not None:
                self._extra.close()
                os.replace(self._part, self._target.geometries)
            if self._page is not None and self._target.report is not None:
                with _new(self._target.report) as file:
                    file.write(self._page.text())

    def close(self) -> None:
        """End what is written, so that it can be read."""
        self._progress.stop()
        with suppress(OSError):  # the same error again, on what is still buffered
            self._end()
            if self._file is not sys.stdout:
                self._file.close()
        if self._extra is not None:
            with suppress(OSError):
                self._extra.close()
            self._part.unlink(missing_ok=True)

    def _end(self) -> None:
        last, self._out = self._out, None
        if last is not None:
            last.close()
            self._file.flush()

    def _safe(self) -> str:
        return f"{self.tally.n:,} rows, which are kept"


class WholeFile(Sink):
    """Rows go to a journal, and the files are made once all are there.

    Args:
        target: the file.
        layout: what rows are written as.
        journal: where they are kept until then.
        total: how many rows there will be.
        page: as in `Sink`.
    """

    def __init__(
        self,
        target: Target,
        layout: Layout,
        journal: Journal,
        total: Total = lambda: None,
        page: RowPage | None = None,
    ) -> None:
        super().__init__(target, layout, RowProgress(total, done=journal.n_rows), page)
        self._journal = journal

    def done(self) -> Iterable[Done]:
        """The rows of the journal."""
        numbers = set(self._layout.number_columns)
        return (entry.done(numbers) for entry in self._journal.entries())

    def write(self, results: Sequence[Result]) -> None:
        """Add a window to the journal."""
        entries = []
        for result in results:
            row = {name: value for name, value in result.row.items() if value is not None}
            known = result.mark, result.key, result.energies
            entries.append(Entry(row, *known, self._block(result), self._conformers(result)))
        with self._guard():
            self._journal.add(entries)
        for result in results:
            self._count(result)

    def finish(self, is_whole: bool = True) -> None:
        """Make the files from the journal, which stays if a later run may go on."""
        with self._guard():
            with ExitStack() as files:
                target = self._target
                paths = (target.path, target.geometries, target.report)
                out, extra, page = (
                    files.enter_context(_new(path)) if path else None for path in paths
                )
                assert out is not None
                writer = self._writer(out)
                for entry in self._journal.entries():
                    row = dict.fromkeys(self._layout.columns) | entry.row
                    writer.write(row, entry.block)
                    self.tally.add(row)
                    if extra is not None:
                        extra.write(entry.conformers)
                    if self._page is not None:
                        self._page.add(row, entry.block)
                writer.close()
                if self._page is not None and page is not None:
                    page.write(self._page.text())
            if is_whole:
                self._journal.remove()

    def kept(self) -> str:
        """How many rows the journal has, and where."""
        n, path = self._journal.n_rows, self._journal.path
        first = "the first row is" if n == 1 else f"the first {n:,} rows are"
        return f"{first} kept in {path}: --resume goes on from there" if n else ""

    def close(self) -> None:
        """Leave the journal, if there still is one, for a run that continues."""
        self._progress.stop()
        self._journal.close()

    def _safe(self) -> str:
        return f"{self._journal.n_rows:,} rows, which are kept in {self._journal.path} for --resume"


@contextmanager
def _new(path: Path) -> Iterator[TextIO]:
    """A file that takes its place once it is whole, and on the disk."""
    part = path.with_name(f"{path.name}.new")  # the journal is locked: one of us
    with replacing(path, part), part.open("w", **_TEXT) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _opened(path: Path | None) -> TextIO:
    if path is None:
        if hasattr(sys.stdout, "reconfigure"):  # whatever its encoding, no name ends the run
            sys.stdout.reconfigure(errors="backslashreplace")
        return sys.stdout
    try:
        return path.open("w", **_TEXT)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
