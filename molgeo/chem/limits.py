"""Work over many rows: in threads, in order, and with bounds of time and memory for each row.

RDKit lets go of the interpreter lock while it embeds and minimises, so that threads, which need no
pickling and no guarded main module, use all cores. Its calls cannot be stopped from outside. But
each of those that take long is bounded by the number of atoms, and between them a clock is looked
at. What is made does not depend on the clock: time can make a row a bad one, and nothing else.
"""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

MAX_ATOMS: Final = 300
"""Atoms, hydrogens included, up to which conformers are made: each of some seconds there."""

MAX_SECONDS: Final = 60.0

MAX_MEMORY: Final = 1000.0  # MB

_BYTES_PER_PAIR: Final = 300
"""Of memory that RDKit takes to embed and minimise a molecule, per square of its atoms: the most
that was measured, for chains of 287 to 992 atoms."""

_BUSY: Final = 10  # seconds on the wall per second of the processor after which a row is given up

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """``map`` in threads, in order, a bounded number of items ahead.

    Args:
        function: of one item.
        items: may be endless.
        workers: threads; None for one per core, 1 for none.

    Raises:
        Exception: what ``items`` raises, after the values of all items before it.
    """
    workers = workers or n_cores()
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="molgeo-conformers") as pool:

        def submitted() -> Iterator[Future[Result]]:
            try:
                for item in items:
                    yield pool.submit(function, item)
            except Exception as error:
                last: Future[Result] = Future()
                last.set_exception(error)
                yield last

        source, pending = submitted(), deque[Future[Result]]()
        try:
            while True:  # pool.map would take all items at once
                pending.extend(itertools.islice(source, 8 * workers - len(pending)))
                if not pending:
                    return
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def n_cores() -> int:
    """Cores that this process may use, if the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Once(Generic[Result]):
    """A function that is called once for each of its latest keys, though threads ask together.

    Args:
        function: of a key and of what its value does not depend on.
        most: values that are kept.
    """

    def __init__(self, function: Callable[[Any, Any], Result], most: int) -> None:
        self._function = function
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Future[Result]] = OrderedDict()

    def __call__(self, key: Hashable, context: Any) -> Result:
        """The function's value, computed here or waited for; an error is not kept."""
        with self._lock:
            mine = key not in self._values
            value = self._values.setdefault(key, Future())
            self._values.move_to_end(key)
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        if mine:
            try:
                value.set_result(self._function(key, context))
            except BaseException as error:
                with self._lock:
                    self._values.pop(key, None)
                value.set_exception(error)
        return value.result()


@dataclass(frozen=True)
class Limits:
    """Of one row whose conformers are made.

    Attributes:
        atoms: most atoms, hydrogens included.
        seconds: most processor time for its conformers, s.
        memory: most memory for its conformers, MB, which follows from the atoms.
        are_options: of the command, so that messages name them.
    """

    atoms: int = MAX_ATOMS
    seconds: float = MAX_SECONDS
    memory: float = MAX_MEMORY
    are_options: bool = True

    def too_large(self, n_atoms: int, more: str = "") -> str | None:
        """Why no conformers are made of a molecule of this size, or None.

        Args:
            n_atoms: hydrogens included.
            more: such as "more than ", if only some of them were counted.
        """
        needed = _BYTES_PER_PAIR * n_atoms**2 / 1e6
        if n_atoms > self.atoms:
            reason, option = f"conformers are made up to {self.atoms} atoms", "max-atoms"
        elif needed > self.memory:
            reason = f"conformers take some {needed:,.0f} MB, but {self.memory:g} MB are allowed"
            option = "max-memory"
        else:
            return None
        reason += f" (--{option})" if self.are_options else ""
        return (
            f"{more}{n_atoms} atoms with hydrogens: {reason}; give coordinates (xyz, sdf) instead"
        )


DEFAULT_LIMITS: Final = Limits()


class OutOfTimeError(Exception):
    """A row has used up its time; the message says what helps."""


class Clock:
    """The time of one row, of the thread that makes its conformers.

    Processor time is counted: the same row has the same verdict on a busy machine. If that is very
    busy, the time on the wall ends it.

    Args:
        seconds: most of it; None for any.
        is_option: of the command, so that the message names it.
    """

    def __init__(self, seconds: float | None = None, is_option: bool = True) -> None:
        self._more = ", allow more time (--max-seconds)" if is_option else ""
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
                f"no conformers within {self._seconds:g} s: ask for fewer (--conformers 1)"
                f"{self._more}, or give coordinates (xyz, sdf)"
            )

    def left(self) -> int:
        """Whole seconds on the wall, at least one; 0 if they are not counted, as RDKit has it."""
        left = self._end_on_the_wall - time.monotonic()
        return 0 if math.isinf(left) else max(1, math.ceil(left))
