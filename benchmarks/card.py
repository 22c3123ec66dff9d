"""What a step costs on a card: its time, how long the card works in it, launches, and waits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import sides  # noqa: F401, which makes the tests' modules known
import torch
from measure import Step, peak_memory
from no_waiting import counted_waits
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from traffic import bytes_moved

LAUNCHES = ("LaunchKernel", "GraphLaunch", "MemcpyAsync", "MemsetAsync")
"""Parts of the names of what CUDA's runtime and driver call a launch."""
PROFILED = 3
"""Steps under the profiler."""
GROUPS = 3
"""Groups of steps that are timed; the median counts."""
MOST_STEPS = 100
"""Steps of a group at most."""


class Event(NamedTuple):
    """What the profiler saw: a kernel or copy on the card, or a call of the host."""

    name: str
    on_card: bool
    start_ns: int
    end_ns: int


def measured(
    step: Step, device: torch.device, seconds: float, eager: Step | None = None, per: int = 1
) -> dict[str, float | None]:
    """All figures of a step, but for the memory limit, which needs the rate of the memory.

    Args:
        step: without arguments.
        device: where it computes.
        seconds: that the timing may take, about.
        eager: the same computation operator by operator, if ``step`` is a replay.
        per: steps of which ``step`` consists.
    """
    step_ms = timed_ms(step, device, seconds)
    with counted_waits(device) as waits:
        step()
    busy_ms, launches = profiled(step, device)
    # A replay allocates nothing: its memory is what the recorded step took.
    peak = peak_memory(eager or step, device)
    row = {"step_ms": step_ms, "busy_ms": busy_ms, "launches": launches, "waits": len(waits)}
    row = {name: None if value is None else value / per for name, value in row.items()}
    return row | {"peak_mb": peak / 1e6, "moved_mb": bytes_moved(eager or step) / 1e6 / per}


def timed_ms(step: Step, device: torch.device, seconds: float) -> float:
    """Milliseconds per step, of steps that follow each other without a wait between them."""
    step()
    one = _elapsed(step, device, 1)
    n = max(1, min(MOST_STEPS, int(seconds / GROUPS / one)))
    return 1e3 * statistics.median(_elapsed(step, device, n) / n for _ in range(GROUPS))


def profiled(step: Step, device: torch.device) -> tuple[float | None, float | None]:
    """Milliseconds per step for which a card is busy, and launches; None and None on a CPU."""
    if device.type != "cuda":
        return None, None
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        for _ in range(PROFILED):
            step()
        torch.cuda.synchronize(device)
    found = (
        Event(e.name(), e.device_type() == DeviceType.CUDA, e.start_ns(), e.end_ns())
        for e in recorded.profiler.kineto_results.events()
        if not e.is_user_annotation()  # which lasts from its first kernel to its last
    )
    busy_ns, launches = busy_and_launches(found)
    return busy_ns / 1e6 / PROFILED, launches / PROFILED


def busy_and_launches(events: Iterable[Event]) -> tuple[int, int]:
    """Nanoseconds in which at least one kernel or copy runs, and how often the host launched."""
    busy = end = launches = 0
    for event in sorted(events, key=lambda e: e.start_ns):
        if event.on_card:
            busy += max(0, event.end_ns - max(event.start_ns, end))
            end = max(end, event.end_ns)
        else:
            launches += any(name in event.name for name in LAUNCHES)
    return busy, launches


def _elapsed(step: Step, device: torch.device, n: int) -> float:
    _synchronise(device)
    begin = time.perf_counter()
    for _ in range(n):
        step()
    _synchronise(device)
    return time.perf_counter() - begin


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def with_limit(row: dict[str, Any], rate: float) -> dict[str, Any]:
    """A row with its memory limit.

    Args:
        row: of `measured`.
        rate: bytes per second that the memory reads and writes.
    """
    return row | {"memory_limit_ms": row["moved_mb"] * 1e9 / rate}
