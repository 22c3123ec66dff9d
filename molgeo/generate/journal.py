"""An extxyz file that grows row by row, and from which a run that was killed goes on."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
from ase import Atoms

from molgeo.generate.workers import Failure
from molgeo.runtime.errors import InputError
from molgeo.runtime.progress import Progress
from molgeo.runtime.whole_file import replacing


class Kept(NamedTuple):
    """What became of the rows.

    Attributes:
        done: rows that have frames.
        failed: rows that have none.
        failed_path: file with the reasons of the latter, if there are any.
    """

    done: int
    failed: int
    failed_path: Path


class FrameJournal:
    """Frames of successive rows, appended in order, and beside them the rows that failed.

    The ``row`` of a frame says which row of the input it belongs to. Whoever opens the file again
    goes on after what is there. The frames of the last row may be torn, so they are made again. No
    row is lost or there twice, and the file in the end is that of an undisturbed run.

    Args:
        path: the extxyz file. ``PATH.failed.jsonl`` holds the failed rows with their reasons,
            ``PATH.run.json`` what the run is.
        run: what makes the run the one it is: plain JSON values.

    Attributes:
        next_row: the row to go on with.
        n_failed: rows that have failed so far.

    Raises:
        InputError: the file is of another run.
    """

    def __init__(self, path: str | Path, run: dict[str, Any]) -> None:
        self.path = Path(path)
        self.failed_path = self.path.with_name(f"{self.path.name}.failed.jsonl")
        self._check_run(run)
        failed = _whole_lines(self.failed_path)
        self.n_failed = len(failed)
        last_failed = max((json.loads(line)["row"] for line in failed), default=-1)
        last, start, end = _last_row(self.path)
        if end is not None:  # the next row is torn, so all of the last one is there
            os.truncate(self.path, end)
            last += 1
        elif last > last_failed:
            os.truncate(self.path, start)
        self.next_row = max(last, last_failed + 1)

    def _check_run(self, run: dict[str, Any]) -> None:
        run = json.loads(json.dumps(run))  # tuples become lists
        about = self.path.with_name(f"{self.path.name}.run.json")
        if not about.exists():
            if self.path.exists() and self.path.stat().st_size:
                raise InputError(f"{self.path} exists, but {about} does not: choose another output")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(about) as part:
                part.write_text(json.dumps(run, indent=2))
        before = json.loads(about.read_text())
        for name in {**before, **run}:
            if before.get(name) != run.get(name):
                raise InputError(
                    f"{self.path} holds another run: {name} was {before.get(name)!r} and is "
                    f"{run.get(name)!r} now; choose another output, or remove it with {about}"
                )

    def add(self, row: int, frames: Sequence[Atoms]) -> None:
        """Append the frames of a row.

        Args:
            row: of the input, larger than those before.
            frames: with labels in their calculator, if any; their ``info`` gains ``row``.
        """
        for atoms in frames:
            atoms.info["row"] = row
        text = io.StringIO()
        ase.io.write(text, list(frames), format="extxyz")
        _append(self.path, text.getvalue())

    def keep(
        self,
        results: Iterable[Sequence[Atoms] | Failure],
        total: int,
        progress: Progress | None = None,
    ) -> Kept:
        """Take the results of all rows from `next_row` on, in order.

        Args:
            results: frames, or why there are none.
            total: rows in all.
            progress: called with (rows done, rows in all).

        Returns:
            How many rows have frames, how many have none, and where the reasons stand.
        """
        for row, result in enumerate(results, self.next_row):
            if isinstance(result, Failure):
                self.fail(row, result.reason)
            else:
                self.add(row, result)
            if progress:
                progress(row + 1, total)
        return Kept(total - self.n_failed, self.n_failed, self.failed_path)

    def fail(self, row: int, reason: str) -> None:
        """Set a row aside with its reason."""
        self.n_failed += 1
        _append(self.failed_path, json.dumps({"row": row, "reason": reason}) + "\n")


def _append(path: Path, text: str) -> None:
    """In one call, so that at most the end of the text is missing if the process is killed."""
    with path.open("ab") as file:
        file.write(text.encode())


def _whole_lines(path: Path) -> list[str]:
    """Lines of a file; a torn last one is cut off."""
    content = path.read_bytes() if path.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return content[:whole].decode().splitlines()


def _last_row(path: Path) -> tuple[int, int, int | None]:
    """The last row in the file, -1 for none, and the byte at which its frames start.

    The third is the byte at which a frame starts that is torn before its row number.
    """
    last, start = -1, 0
    with path.open("rb") if path.exists() else io.BytesIO() as file:
        while count := file.readline():
            here = file.tell() - len(count)
            comment = file.readline()
            if not comment.endswith(b"\n"):
                return last, start, here
            row = next(int(word[4:]) for word in comment.split() if word.startswith(b"row="))
            if row != last:
                last, start = row, here
            for _ in range(int(count)):
                file.readline()
    return last, start, None
