"""Rows that are done, kept on disk until all are: a run that was killed continues from them.

One JSON object per line. The first says which run it is. Rows follow, and after each window of rows
a line with the number of all rows so far; what stands behind the last of those lines may be torn
and is made again. Numbers are exact: the output is made from them, not from rounded ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from molgeo.prediction.rows import BETWEEN, Answer, Done, Row, plain
from molgeo.runtime.errors import InputError

FORMAT_VERSION: Final = 3

_KIND: Final = "molgeo journal"
_START: Final = f'{{"{_KIND}": '.encode()
_COMMIT: Final = b'{"rows": '


class Entry(NamedTuple):
    """A row of the journal.

    Attributes:
        row: columns that have a value.
        mark: as in `molgeo.prediction.rows.Result`, like ``key`` and ``energies``.
        key: equal for molecules that have equal conformers.
        energies: eV, of each conformer.
        block: the structure as a mol block, if the output has structures.
        conformers: text for the file of geometries, if there is one.
    """

    row: Row
    mark: str
    key: str
    energies: list[float]
    block: str = ""
    conformers: str = ""

    def done(self, columns: Container[str]) -> Done:
        """What a run that continues needs to know of it.

        Args:
            columns: of the properties: what else is in the row is its own.
        """
        if self.row["status"] != "ok":
            return Done(self.mark, self.key, None)
        numbers = {name: value for name, value in self.row.items() if name in columns}
        reasons = tuple(filter(None, self.row["domain_reason"].split(BETWEEN)))
        answer = Answer(self.row["model"], numbers, self.energies, reasons)
        return Done(self.mark, self.key, answer)


class Journal:
    """The journal of one output.

    Args:
        output: file that is to be made.
        about: what tells the run from others: plain JSON values.
        resume: continue a journal that is there.
        force: begin anew though one is there.

    Attributes:
        path: ``OUTPUT.part``.
        n_rows: rows that are safe.

    Raises:
        InputError: the file is no journal, belongs to another run or is in use; or there is one
            and neither ``resume`` nor ``force``.
        OSError: it cannot be written.
    """

    def __init__(
        self, output: Path, about: dict[str, Any], resume: bool = False, force: bool = False
    ) -> None:
        self.path = journal_path(output)
        self._file = self.path.open("a+b")
        try:
            self._lock()
            self._begin(json.loads(json.dumps(about, default=str)), resume, force)
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Keep a second process out."""
        try:
            import fcntl
        except ImportError:  # not on this system
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self.path}: another process is writing it") from None

    def _begin(self, about: dict[str, Any], resume: bool, force: bool) -> None:
        about = {_KIND: FORMAT_VERSION, **about}
        before, n_rows, end = _look(self.path)
        if not n_rows or (force and not resume):
            self.n_rows = 0
            self._file.truncate(0)
            self._write(json.dumps(about) + "\n")
            return
        check_started(self.path, n_rows, resume, force)
        for name in {**before, **about}:
            if before.get(name) != about.get(name):
                raise InputError(
                    f"{self.path} is of another run: {name} was {before.get(name)!r} and is "
                    f"{about.get(name)!r} now; --force starts anew"
                )
        self.n_rows = n_rows
        self._file.truncate(end)

    def add(self, entries: Sequence[Entry]) -> None:
        """Append a window of rows; they are on the disk when this returns."""
        n = self.n_rows + len(entries)
        lines = [json.dumps(entry._asdict(), default=plain) for entry in entries]
        self._write("\n".join([*lines, json.dumps({"rows": n})]) + "\n")
        self.n_rows = n

    def entries(self) -> Iterator[Entry]:
        """All rows that are safe."""
        n = 0
        with self.path.open("rb") as file:
            next(file)
            while n < self.n_rows:
                line = next(file)
                if not line.startswith(_COMMIT):
                    n += 1
                    yield Entry(**json.loads(line))

    def close(self) -> None:
        """Leave it where it is."""
        self._file.close()

    def remove(self) -> None:
        """It has served."""
        self.path.unlink()
        self.close()

    def _write(self, text: str) -> None:
        self._file.write(text.encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def journal_path(output: Path) -> Path:
    """Where the journal of an output lies."""
    return output.with_name(f"{output.name}.part")


def check_started(path: Path, n_rows: int, resume: bool, force: bool) -> None:
    """Refuse to lose rows that are safe.

    Raises:
        InputError: neither ``resume`` nor ``force``.
    """
    if n_rows and not (resume or force):
        raise InputError(
            f"{path} holds the first {n_rows:,} rows of a run that was stopped: --resume goes on "
            "with it, --force starts anew"
        )


def n_started(output: Path) -> int:
    """Rows that are safe in an output's journal; 0 if there is none.

    Raises:
        InputError: the file is there, but is no journal.
    """
    path = journal_path(output)
    return _look(path)[1] if path.exists() else 0


def _look(path: Path) -> tuple[dict[str, Any], int, int]:
    """What the run is, rows that are safe, and bytes up to the last of them."""
    with path.open("rb") as file:
        head = file.readline()
        is_torn = len(head) < len(_START) and _START.startswith(head) and not file.read(1)
        if not (head.startswith(_START) or is_torn):
            raise InputError(f"{path} is in the way, and no journal of molgeo: move it")
        if not head.endswith(b"\n"):
            return {}, 0, 0
        n_rows, end = 0, 0
        for line in iter(file.readline, b""):
            if line.startswith(_COMMIT) and line.endswith(b"\n"):
                n_rows, end = json.loads(line)["rows"], file.tell()
    return json.loads(head), n_rows, end
