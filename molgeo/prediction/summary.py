"""Two lines about a whole run: rows outside the domain and why; rows, failures, rate."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

from molgeo.prediction.rows import BETWEEN, Row
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
_EVIDENCE: Final = re.compile(r" \([^()]*\)$")
_KIND: Final = re.compile(r"(?:[^A-Z0-9\s]+(?:\s+|$))*")
_REPEATED: Final = re.compile(r"…(?:(?:,| and| and other)? ?…)+")


class Tally:
    """Counts rows and why some of them failed.

    Args:
        errors: columns of standard errors. A row that has none of them is counted.
    """

    def __init__(self, errors: Iterable[str] = ()) -> None:
        self._errors = tuple(errors)
        self._without_bars: Counter[str] = Counter()
        self.n = 0
        self.reasons: Counter[str] = Counter()
        self.n_outside = 0
        self._kinds: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._models: dict[str, None] = {}

    def add(self, row: Row) -> None:
        """Count one row."""
        self.n += 1
        if row["status"] == "error":
            self.reasons[reason(row["message"])] += 1
            return
        if self._errors and all(row[name] is None for name in self._errors):
            self._without_bars[row["geometry"]] += 1
        if not row["in_domain"]:
            self.n_outside += 1
            self._models[row["model"]] = None
            parts = [kind_and_example(one) for one in row["domain_reason"].split(BETWEEN)]
            self._kinds.update({kind for kind, _ in parts})
            for kind, example in parts:
                self._examples.setdefault(kind, example)

    def outside(self) -> str:
        """How many rows are outside the domain, and the commonest reason; "" if none is."""
        if not self.n_outside:
            return ""
        ((kind, n),) = self._kinds.most_common(1)
        example = f", such as {self._examples[kind]}" if self._examples[kind] else ""
        are, its = ("is", "its") if self.n_outside == 1 else ("are", "their")
        row = "row" if n == 1 else "rows"
        why = f"commonest reason ({n:,} {row})" if n < self.n_outside else "reason"
        rows = f"{self.n_outside:,} of {self.n:,} row{'s' * (self.n != 1)}"
        return (
            f"{rows} {are} outside the domain of {' and '.join(self._models)}, so {its} "
            f"numbers may be far off; {why}: {kind}{example}"
        )

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
        if not self.n_outside and self.n_failed < self.n:
            parts.append("none outside the domain")
        if n := self._without_bars.total():
            ((geometry, _),) = self._without_bars.most_common(1)
            parts.append(
                f"{n:,} without error bars, as none were measured for such coordinates ({geometry})"
            )
        if n_new < self.n:
            parts.append(f"{self.n - n_new:,} of them from before")
        rate = f"; {n_new / seconds:.3g} molecules/s" if n_new and seconds > 0 else ""
        return ", ".join(parts) + rate


def kind_and_example(phrase: str) -> tuple[str, str]:
    """Of a phrase of ``domain_reason``: the kind, and what it is of this molecule.

    The kind ends before the first word with a capital letter or a digit; what stands in
    parentheses at the end is evidence.
    """
    what = _EVIDENCE.sub("", phrase)
    kind = _KIND.match(what)
    assert kind is not None
    return (kind[0].strip() or what, what[kind.end() :].strip() if kind[0].strip() else "")


def reason(message: str) -> str:
    """The kind of a failure: its message without the numbers, names and advice of one row."""
    kind = _QUOTED.sub("…", _BRACKETS.sub("", one_line(message, 1000)))
    kind = _NUMBER.sub("…", _SYMBOL.sub(r"\1 …", kind))
    kind = _REPEATED.sub("…", kind)
    kind = _END.split(kind, maxsplit=1)[0].strip()
    return one_line(kind or "unknown reason", _REASON_LENGTH)
