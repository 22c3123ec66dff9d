"""Text of any origin as lines: gzipped or not, in any common encoding, in bounded memory."""

from __future__ import annotations

import codecs
import functools
import gzip
import io
import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TextIO, cast

MAX_LINE: Final = 1_000_000
"""Characters that are kept of a line: a line of as many is cut, and the rest of it is skipped."""

BOMB_SIZE: Final = 20_000_000  # bytes up to which a compressed file may grow to any size

BOMB_RATIO: Final = 200
"""How many times as large a compressed file may become. Tables of molecules reach about 20."""

MAX_RECORD: Final = 50_000_000
"""Bytes of memory that the lines of one record of a file may take: some 400,000 atoms."""

STDIN_NAME: Final = "stdin"  # the origin of rows from standard input
_HEAD: Final = 65_536
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Lines(Iterator[str]):
    """Lines that can be looked at ahead of time, and given back.

    Args:
        source: lines, with or without their ends.

    Attributes:
        number: of the line that was taken last, from 1.
    """

    def __init__(self, source: Iterable[str]) -> None:
        self._source = iter(source)
        self._ahead: deque[str] = deque()
        self.number = 0

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._source)
        self.number += 1
        return line

    def peek(self, n: int) -> list[str]:
        """The next lines, at most ``n``, and not many more characters than `MAX_LINE`."""
        return list(itertools.islice(self.preview(), n))

    def preview(self) -> Iterator[str]:
        """As `peek`, one line at a time: each is read only if it is asked for."""
        size, place = 0, 0
        while size < MAX_LINE:
            if place == len(self._ahead):
                line = next(self._source, None)
                if line is None:
                    return
                self._ahead.append(line)
            line = self._ahead[place]
            size, place = size + len(line), place + 1
            yield line

    def give_back(self, lines: Sequence[str]) -> None:
        """Take lines again that were taken last."""
        self._ahead.extendleft(reversed(lines))
        self.number -= len(lines)


class RecordLines:
    """Lines of one record of a file, up to `MAX_RECORD`, and how many came."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.n = 0
        self._size = 0

    def add(self, line: str) -> None:
        """Take one more line, or count it only if the record is too large."""
        self.n += 1
        self._size += sys.getsizeof(line)
        if self._size <= MAX_RECORD:
            self.lines.append(line)

    @property
    def fault(self) -> str:
        """That the record is too large, or ""."""
        return "" if len(self.lines) == self.n else f"too long: it has {self.n:,} lines"


class TextLines(Iterator[str]):
    """Decoded lines of a stream of bytes, as a context that closes it.

    A byte order mark decides on the encoding; without one it is UTF-8, UTF-16 if every other byte
    is zero, else ``otherwise``. Bytes that make no character become U+FFFD. A gzipped stream is
    known by its first bytes.

    Args:
        stream: is closed with the context.
        otherwise: encoding of text that is not UTF-8.

    Raises:
        OSError: while lines are taken: a stream that cannot be read, or whose compressed content
            grows without bound.
    """

    def __init__(self, stream: BinaryIO, otherwise: str = "cp1252") -> None:
        self._stream = stream
        source = cast(io.BufferedReader, stream)
        if not hasattr(source, "peek"):
            source = io.BufferedReader(cast(io.RawIOBase, stream))
        if source.peek(2)[:2] == b"\x1f\x8b":
            source = io.BufferedReader(_Unzipped(source), _HEAD)
        encoding = _encoding(source.peek(_HEAD)[:_HEAD], otherwise)
        self._text = io.TextIOWrapper(source, encoding=encoding, errors="replace", newline="")

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            rest = line
            while rest and rest[-1] not in "\r\n":
                rest = self._text.readline(MAX_LINE)
        return line

    def __enter__(self) -> TextLines:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def open_text(path: Path) -> TextLines:
    """Lines of a text file, gzipped or not."""
    return TextLines(path.open("rb"))


def is_cut(line: str) -> bool:
    """Whether a line was longer than `MAX_LINE`."""
    return len(line) >= MAX_LINE and line[-1] not in "\r\n"


def stdin_lines() -> Lines:
    """Lines of standard input: the same object each time, as what is read of it is gone."""
    return _lines_of(sys.stdin)


@functools.lru_cache(maxsize=1)
def _lines_of(stdin: TextIO) -> Lines:
    stream = getattr(stdin, "buffer", None)
    # Without a file descriptor of its own it is a text stream that somebody put there.
    return Lines(stdin if stream is None else TextLines(stream, otherwise="utf-8"))


def _encoding(head: bytes, otherwise: str) -> str:
    """The encoding of a text that begins so."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half, other = head[first::2], head[1 - first :: 2]
        if len(half) > 3 and half.count(0) > 0.9 * len(half) and not other.count(0):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return otherwise
    return "utf-8"


class _Counted(io.RawIOBase):
    """A stream of what a function reads, which counts its bytes."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.n = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._read(len(buffer))
        buffer[: len(part)] = part
        self.n += len(part)
        return len(part)


class _Unzipped(_Counted):
    """What a gzipped stream holds, unless that is out of all proportion."""

    def __init__(self, stream: BinaryIO) -> None:
        self._zipped = _Counted(stream.read)
        super().__init__(gzip.GzipFile(fileobj=io.BufferedReader(self._zipped)).read1)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        size = super().readinto(buffer)
        if self.n > max(BOMB_SIZE, BOMB_RATIO * self._zipped.n):
            raise OSError(
                f"it is compressed {self.n / self._zipped.n:.0f} times and longer than "
                f"{BOMB_SIZE / 1e6:.0f} MB; no list of molecules is: unpack it first if it is one"
            )
        return size
