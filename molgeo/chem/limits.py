"""How much of time and memory one row may take: beyond, it is a bad row.

RDKit's calls cannot be stopped from outside. But each of those that take long is bounded by the
number of atoms, and between them a clock is looked at. What is made does not depend on the clock:
all that time can do to a row is to make it a bad one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

MAX_ATOMS: Final = 300
"""Atoms, hydrogens included, up to which conformers are made: each of some seconds there."""

MAX_SECONDS: Final = 60.0

MAX_MEMORY: Final = 1000.0
"""MB."""

_BYTES_PER_PAIR: Final = 300
"""Of memory that RDKit takes to embed and minimise a molecule, per square of its atoms: measured
for chains of 287 to 992 atoms, the most."""

_BUSY: Final = 10
"""Seconds on the wall per second of the processor after which a row is given up."""


@dataclass(frozen=True)
class Limits:
    """Of one row whose conformers are made.

    Attributes:
        atoms: most atoms, hydrogens included.
        seconds: most processor time for its conformers, s.
        memory: most memory for its conformers, MB, which follows from the atoms.
    """

    atoms: int = MAX_ATOMS
    seconds: float = MAX_SECONDS
    memory: float = MAX_MEMORY

    def too_large(self, n_atoms: int, more: str = "") -> str | None:
        """Why no conformers are made of a molecule of this size, or None.

        Args:
            n_atoms: hydrogens included.
            more: such as "more than ", if only some of them were counted.
        """
        counted = f"{more}{n_atoms} atoms with hydrogens"
        if n_atoms > self.atoms:
            return (
                f"{counted}: conformers are made up to {self.atoms} atoms (--max-atoms); "
                "give coordinates (xyz, sdf) instead"
            )
        needed = _BYTES_PER_PAIR * n_atoms**2 / 1e6
        if needed > self.memory:
            return (
                f"{counted}: conformers take some {needed:,.0f} MB, but {self.memory:g} MB are "
                "allowed (--max-memory); give coordinates (xyz, sdf) instead"
            )
        return None


DEFAULT_LIMITS: Final = Limits()


class OutOfTimeError(Exception):
    """A row has used up its time; the message says what helps."""


class Clock:
    """The time of one row, of the thread that makes its conformers.

    Processor time is counted: the same row has the same verdict on a busy machine. If that is very
    busy, the time on the wall ends it.

    Args:
        seconds: most of it; None for any.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = math.inf if seconds is None else seconds
        self._end = time.thread_time() + self._seconds
        self._end_on_the_wall = time.monotonic() + _BUSY * self._seconds

    def check(self) -> None:
        """Go on.

        Raises:
            OutOfTimeError: the time is over.
        """
        if time.thread_time() > self._end or time.monotonic() > self._end_on_the_wall:
            raise OutOfTimeError(
                f"no conformers within {self._seconds:g} s: ask for fewer (--conformers 1), allow "
                "more time (--max-seconds), or give coordinates (xyz, sdf)"
            )

    def left(self) -> int:
        """Whole seconds on the wall, at least one; 0 if they are not counted, as RDKit has it."""
        left = self._end_on_the_wall - time.monotonic()
        return 0 if math.isinf(left) else max(1, math.ceil(left))
