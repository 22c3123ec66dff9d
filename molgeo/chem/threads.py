"""Work over many rows in threads, in order and in bounded memory.

RDKit lets go of the interpreter lock while it embeds and minimises, so that threads, which need no
pickling and no guarded main module, use all cores.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)
Context = TypeVar("Context")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None
) -> Iterator[Result]:
    """``map`` in threads, a bounded number of items ahead.

    Args:
        function: of one item.
        items: may be endless.
        workers: threads; None for one a core, 1 for none.

    Yields:
        The function's values, in order.

    Raises:
        Exception: what ``items`` raises, after the values of all items before it.
    """
    workers = workers or n_cores()
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="molgeo-conformers") as pool:
        yield from _ordered(pool, function, items, ahead=8 * workers)


class Once(Generic[Key, Context, Result]):
    """A function that is called once for each of its latest keys, though threads ask together.

    Args:
        function: of a key and of what its value does not depend on.
        most: values that are kept.
    """

    def __init__(self, function: Callable[[Key, Context], Result], most: int) -> None:
        self._function = function
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Key, Future[Result]] = OrderedDict()

    def __call__(self, key: Key, context: Context) -> Result:
        """The function's value, computed here or waited for; an error is not kept."""
        with self._lock:
            value = self._values.get(key)
            mine = value is None
            if value is None:
                value = self._values[key] = Future()
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


def n_cores() -> int:
    """Cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ordered(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
) -> Iterator[Result]:
    """``pool.map`` in which at most ``ahead`` items wait; the original takes all at once."""
    pending: deque[Future[Result]] = deque()
    failure: Exception | None = None
    source = iter(items)
    try:
        while True:
            try:
                while failure is None and len(pending) < ahead:
                    pending.append(pool.submit(function, next(source)))
            except StopIteration:
                break
            except Exception as error:
                failure = error
            if failure is not None:
                break
            yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
        if failure is not None:
            raise failure
    finally:
        for future in pending:
            future.cancel()
