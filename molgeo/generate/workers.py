"""A function over many items in several processes, in order, even if processes die."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, TypeVar

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


def map_in_processes(
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
    left, pending = iter(items), deque[tuple[Item, Future[Result | Failure]]]()
    pool = _start(workers)
    try:
        while True:
            for item in itertools.islice(left, 4 * workers - len(pending)):
                pending.append((item, _submit(pool, function, item)))
            if not pending:
                return
            item, future = pending.popleft()
            try:
                result = future.result()
            except BrokenProcessPool:
                # Some pending item has killed a process, which one is not known: this goes alone.
                pool.shutdown(cancel_futures=True)
                result = _alone(function, item)
                pool = _start(workers)
                pending = deque((one, _submit(pool, function, one)) for one, _ in pending)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _start(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # threads of libraries do not survive a fork
    return ProcessPoolExecutor(workers, context, _prepare)


def _submit(pool: ProcessPoolExecutor, function: Callable[[Any], Any], item: Any) -> Future[Any]:
    """The future of an item; if a process has died already, one that says so."""
    try:
        return pool.submit(_guarded, function, item)
    except BrokenProcessPool as error:
        failed: Future[Any] = Future()
        failed.set_exception(error)
        return failed


def _alone(function: Callable[[Any], Any], item: Any) -> Any:
    with _start(1) as pool:
        try:
            return pool.submit(_guarded, function, item).result()
        except BrokenProcessPool:
            return Failure("its process died, of a crash or because memory ran out")


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
