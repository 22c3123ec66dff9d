"""A function over many items in several processes, in order, even if processes die."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from molgeo.chem.limits import n_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """Why there is no result.

    Attributes:
        reason: one line.
    """

    reason: str


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 0
) -> Iterator[Result | Failure]:
    """``map`` over processes; an item that raises, or kills its process, gives a `Failure`.

    Args:
        function: of one item; both are pickled.
        items: taken as they are needed, a bounded number ahead.
        workers: processes; 0 for one per core. 1 for none: an item may then kill this one.

    Yields:
        A result or a failure for each item, in order.
    """
    workers = workers or n_cores()
    if workers == 1:
        yield from (_guarded(function, item) for item in items)
        return
    pool = _Pool(function, workers)
    pending: deque[tuple[Item, Future[Result | Failure]]] = deque()
    try:
        for item in items:
            pending.append((item, pool.submit(item)))
            if len(pending) >= 4 * workers:
                yield pool.first(pending)
        while pending:
            yield pool.first(pending)
    finally:
        pool.shutdown()


class _Pool(Generic[Item, Result]):
    """Processes that are started anew when one of them dies."""

    def __init__(self, function: Callable[[Item], Result], workers: int) -> None:
        self.function = function
        self.workers = workers
        self.executor = self._start(workers)

    def _start(self, workers: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
        return ProcessPoolExecutor(workers, context, _prepare)

    def submit(self, item: Item) -> Future[Result | Failure]:
        return self.executor.submit(_guarded, self.function, item)

    def first(self, pending: deque[tuple[Item, Future[Result | Failure]]]) -> Result | Failure:
        """The result of the first pending item."""
        item, future = pending.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            pass
        # Some pending item has killed a process. It is not known which one, so this one goes alone.
        self.shutdown()
        alone = self._start(1)
        try:
            result = alone.submit(_guarded, self.function, item).result()
        except BrokenProcessPool:
            result = Failure("its process died, of a crash or because memory ran out")
        finally:
            alone.shutdown(cancel_futures=True)
        self.executor = self._start(self.workers)
        for k, (waiting, _) in enumerate(pending):
            pending[k] = (waiting, self.submit(waiting))
        return result

    def shutdown(self) -> None:
        self.executor.shutdown(cancel_futures=True)


def _prepare() -> None:
    """What a process does first.

    The processes take the cores, for which the threads of their libraries would only compete. Each
    ends with the process that started it: if that one is killed, nobody else tells them.
    """
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _guarded(function: Callable[[Any], Any], item: Any) -> Any:
    try:
        return function(item)
    except Exception as error:  # calculators fail in ways of their own
        text = " ".join(str(error).split())
        return Failure(f"{type(error).__name__}: {text}" if text else type(error).__name__)
