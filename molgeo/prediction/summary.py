"""One line about a whole run: rows, failures by reason, rate."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from molgeo.prediction.rows import Row
from molgeo.runtime.plain_text import one_line

_MOST_REASONS: Final = 5
_REASON_LENGTH: Final = 60

_BRACKETS: Final = re.compile(r"\s*\([^()]*\)")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_END: Final = re.compile(r"[:;,](?=\s|$)|\.(?=\s|$)|\s[–—]\s")
_SYMBOL: Final = re.compile(
    r"\b(elements?|atoms?|bonds?) [A-Z][a-z]?(?:[–-][A-Z][a-z]?)*\b(?! row)"
)
_NUMBER: Final = re.compile(r"(?<![A-Za-z_])[+-]?\d[\d,.]*(?:[eE][+-]?\d+)?%?(?![A-Za-z_])")
_REPEATED: Final = re.compile(r"…(?:(?:,| and| and other)? ?…)+")


class Tally:
    """Counts rows and why some of them failed."""

    def __init__(self) -> None:
        self.n = 0
        self.reasons: Counter[str] = Counter()

    def add(self, row: Row) -> None:
        """Count one row."""
        self.n += 1
        if row["status"] == "error":
            self.reasons[reason(row["message"])] += 1

    @property
    def n_failed(self) -> int:
        """Rows without a prediction."""
        return self.reasons.total()

    def line(self, n_new: int, seconds: float) -> str:
        """What there is to say at the end.

        Args:
            n_new: rows that this process has made; an earlier one has made the others.
            seconds: that it took.
        """
        parts = [f"{self.n:,} row{'s' * (self.n != 1)}"]
        if self.n_failed:
            common = self.reasons.most_common(_MOST_REASONS)
            shown = [f"{n:,} {why}" for why, n in common]
            others = self.n_failed - sum(n for _, n in common)
            shown += [f"{others:,} for other reasons"] if others else []
            parts.append(f"{self.n_failed:,} failed ({'; '.join(shown)})")
        else:
            parts.append("none failed")
        if n_new < self.n:
            parts.append(f"{self.n - n_new:,} of them from before")
        rate = f"; {n_new / seconds:.3g} molecules/s" if n_new and seconds > 0 else ""
        return ", ".join(parts) + rate


def reason(message: str) -> str:
    """The kind of a failure: its message without the numbers, names and advice of one row."""
    kind = _QUOTED.sub("…", _BRACKETS.sub("", one_line(message, 1000)))
    kind = _NUMBER.sub("…", _SYMBOL.sub(r"\1 …", kind))
    kind = _REPEATED.sub("…", kind)
    kind = _END.split(kind, maxsplit=1)[0].strip()
    return one_line(kind or "unknown reason", _REASON_LENGTH)
