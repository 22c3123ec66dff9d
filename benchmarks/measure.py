"""Times, peak memory and the share of dense products, all of callables that do one step."""

from __future__ import annotations

import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

Step = Callable[[], object]
Layout = tuple[torch.Size, tuple[int, ...], torch.dtype]

MATRIX_PRODUCTS = {
    torch.ops.aten.mm.default: (0, 1),
    torch.ops.aten.bmm.default: (0, 1),
    torch.ops.aten.addmm.default: (1, 2),
    torch.ops.aten.baddbmm.default: (1, 2),
}
"""PyTorch's dense products and which of their arguments are multiplied."""

ONEDNN_PRODUCT = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""The product ``x Wᵀ`` of `molgeo.ops.dense`; it has no variant that fills a given buffer."""


class Quartiles(NamedTuple):
    """A median with its spread."""

    median: float
    q1: float
    q3: float

    @classmethod
    def of(cls, values: list[float]) -> Quartiles:
        """Quartiles of at least one value."""
        if len(values) == 1:
            return cls(*values * 3)
        q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, q1, q3)


def alternate(
    steps: dict[str, Step],
    repeats: int,
    device: torch.device,
    clock: str = "wall",
    limit_s: float = float("inf"),
) -> dict[str, list[float]]:
    """Run all steps in turn, A B A B …, so that what else the machine does slows all alike.

    Args:
        steps: by name.
        repeats: rounds that are timed, after two that are not (one where a round is slow).
        device: where the steps compute.
        clock: ``wall``, or ``cpu`` for the seconds that this process was given.
        limit_s: seconds after which there are no further rounds, once there are three.

    Returns:
        Seconds of each round by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    begin = time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for warm_up in range(2):
            if warm_up == 0 or time.perf_counter() - begin < limit_s / 10:
                for step in steps.values():
                    _elapsed(step, device, clock)
        for number in range(repeats):
            if number >= 3 and time.perf_counter() - begin > limit_s:
                break
            for name, step in steps.items():
                seconds[name].append(_elapsed(step, device, clock))
    finally:
        gc.enable()
    return seconds


def peak_memory(step: Step, device: torch.device) -> int:
    """Most bytes of tensors that a step holds beyond those that were there before it."""
    step()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    # Allocations and, negative, releases by PyTorch's CPU allocator, in the order of time.
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def matrix_products(step: Step, device: torch.device) -> Step:
    """A step that does the dense products of another step and nothing else.

    Shapes, strides and types are recorded during one run. The products are replayed by the
    library that did them, into buffers that exist already where it can fill them, so that
    neither elementwise work nor (as a rule) allocation is timed.
    """
    with _Recorder() as recorder:
        step()
    products = []
    for (onednn, *layouts), count in recorder.seen.items():
        a, b = (_buffer(layout, device) for layout in layouts)
        products.append((count, a, b, None if onednn else torch.matmul(a, b)))

    def run() -> None:
        for count, a, b, out in products:
            for _ in range(count):
                if out is None:
                    ONEDNN_PRODUCT(a, b, None, "none", [], "")
                else:
                    torch.matmul(a, b, out=out)

    return run


class _Recorder(TorchDispatchMode):
    """Counts the dense products by library and by the layout of their factors."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[bool, Layout, Layout]] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in MATRIX_PRODUCTS:
            a, b = (args[position] for position in MATRIX_PRODUCTS[func])
            self.seen[False, _layout(a), _layout(b)] += 1
        elif ONEDNN_PRODUCT is not None and func is ONEDNN_PRODUCT.default:
            self.seen[True, _layout(args[0]), _layout(args[1])] += 1
        return func(*args, **(kwargs or {}))


def _layout(x: Tensor) -> Layout:
    return x.shape, x.stride(), x.dtype


def _buffer(layout: Layout, device: torch.device) -> Tensor:
    shape, stride, dtype = layout
    return torch.empty_strided(shape, stride, dtype=dtype, device=device).fill_(0.5)


def _elapsed(step: Step, device: torch.device, clock: str) -> float:
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize(device)
        start.record()
        step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000.0
    now = time.perf_counter if clock == "wall" else time.process_time
    begin = now()
    step()
    return now() - begin
