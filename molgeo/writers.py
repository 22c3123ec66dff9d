"""Rows to text, one at a time: csv, json and jsonl for programs, tables for people.

csv, json and jsonl hand every row to the system before they take the next, so that a run that is
killed loses no row that was written; a table keeps a block of rows back to lay them out.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Timer
from typing import Any, Final, Protocol, TextIO

from molgeo.chem.molecule import InputError
from molgeo.progress import PATIENCE_S
from molgeo.tables import BLOCK, TableWriter

Row = dict[str, Any]

FORMATS: Final = ("table", "csv", "json", "jsonl")
_BY_SUFFIX: Final = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".txt": "table"}


class WriteError(OSError):
    """Writing failed half-way; the message says how many rows are safe."""


class Writer(Protocol):
    """Writes rows to an open text file."""

    def write(self, row: Row) -> None:
        """Write one row, or keep it until there are enough to lay out."""

    def close(self) -> None:
        """Write what is kept, and the end."""


class CsvWriter:
    """Comma-separated values with a header; an empty field where there is no value."""

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        self._writer = csv.DictWriter(file, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, row: Row) -> None:
        """Write one line."""
        self._writer.writerow(row)
        self._file.flush()

    def close(self) -> None:
        """Nothing is kept back."""


class JsonWriter:
    """A list of objects with one key a column; null where there is no value."""

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns
        self._before = "[\n"

    def write(self, row: Row) -> None:
        """Write one object."""
        self._file.write(self._before + _json(row, self._columns))
        self._file.flush()
        self._before = ",\n"

    def close(self) -> None:
        """End the list, also after an error: what was written is valid."""
        self._file.write("\n]\n" if self._before == ",\n" else "[]\n")


class JsonLinesWriter:
    """One JSON object a line."""

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = columns

    def write(self, row: Row) -> None:
        """Write one line."""
        self._file.write(_json(row, self._columns) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing is kept back."""


def _json(row: Row, columns: Sequence[str]) -> str:
    return json.dumps({name: row[name] for name in columns}, ensure_ascii=False, allow_nan=False)


_WRITERS: Final[dict[str, Callable[[TextIO, Sequence[str]], Writer]]] = {
    "table": TableWriter,
    "csv": CsvWriter,
    "json": JsonWriter,
    "jsonl": JsonLinesWriter,
}


def check_output(output: str | None, format: str | None, inputs: Sequence[str] = ()) -> str:
    """Find out before any work starts whether the output can be written, and as what.

    Args:
        output: file to write; None or ``-`` for standard output.
        format: one of `FORMATS`; None takes it from the ending of ``output``; on standard output
            it is a table for a terminal and csv for a pipe or a file.
        inputs: files that must not be overwritten.

    Returns:
        The format.

    Raises:
        InputError: unknown format, a folder that is not there, no permission, or an input's file.
    """
    if format is not None and format not in FORMATS:
        raise InputError(f"unknown format {format!r}: expected one of {', '.join(FORMATS)}")
    if output is None or output == "-":
        return format or ("table" if sys.stdout.isatty() else "csv")
    path = Path(output)
    known = _BY_SUFFIX.get(path.suffix.lower())
    if format is None and known is None:
        raise InputError(
            f"{path}: the ending says no format; end it in {', '.join(_BY_SUFFIX)} or give --format"
        )
    if any(os.path.exists(name) and path.exists() and path.samefile(name) for name in inputs):
        raise InputError(f"{path} is an input too: give another --output")
    is_new = not path.exists()
    try:
        with path.open("a"):
            pass
        if is_new:
            path.unlink()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return format or str(known)


class Output:
    """An open output, as a context: rows go in, progress shows on a terminal.

    Args:
        output: file, which is overwritten; None or ``-`` for standard output.
        format: one of `FORMATS`.
        columns: of the rows, in their order.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, output: str | None, format: str, columns: Sequence[str]) -> None:
        self._path = None if output in (None, "-") else Path(str(output))
        self._file = sys.stdout
        if self._path is not None:
            try:
                self._file = self._path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise InputError(f"{output} cannot be written: {error.strerror}") from error
        on_screen = self._path is None and self._file.isatty()
        # On a terminal the rows themselves show progress, but for those that a table waits for.
        shown = 0 if format != "table" else BLOCK - 1
        self._progress = _Progress(shown if on_screen else None)
        self._writer = _WRITERS[format](self._file, columns)

    def write(self, row: Row) -> None:
        """Write one row.

        Raises:
            WriteError: writing failed, such as for a full disk.
            BrokenPipeError: the reader of standard output has gone.
        """
        self._progress.make_room()
        with self._guard():
            self._writer.write(row)
        self._progress.advance(row["status"] == "error")

    def __enter__(self) -> Output:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._progress.stop()
        try:
            if not isinstance(error, OSError):  # of which no more can be written
                with self._guard():
                    self._writer.close()
                    self._file.flush()
        finally:
            if self._path is not None:
                with suppress(OSError):  # the same error again, on what is still buffered
                    self._file.close()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Turn errors of the system into one line."""
        try:
            yield
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            raise
        except OSError as error:
            where = self._path or "standard output"
            raise WriteError(
                f"{where}: writing stopped after {self._progress.n} rows, which are kept: "
                f"{error.strerror or error}"
            ) from error


class _Progress:
    """A line on standard error, from two seconds on, if it is a terminal.

    Args:
        until: rows after which it goes, as output takes the terminal; None to stay to the end.
    """

    def __init__(self, until: int | None = None) -> None:
        self.n = 0
        self.n_failed = 0
        self._until = until
        self._wanted = sys.stderr.isatty()
        self._bar: Any = None
        self._lock = Lock()
        # By a clock, not by rows: the first ones may be long in coming.
        self._timer = Timer(PATIENCE_S, self._start)
        self._timer.daemon = True
        if self._wanted:
            self._timer.start()

    def make_room(self) -> None:
        """Go where the next row is about to take the terminal."""
        if self._until is not None and self.n >= self._until:
            self.stop()

    def advance(self, failed: bool) -> None:
        """Count one row."""
        self.n += 1
        self.n_failed += failed
        with self._lock:
            if self._bar is not None:
                self._bar.update(0, completed=self.n, failed=self.n_failed)

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

        with self._lock:
            if not self._wanted:  # stopped while the timer struck
                return
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.completed:.0f} molecules, {task.fields[failed]} failed"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=None, completed=self.n, failed=self.n_failed)
            self._bar.start()
