"""The device to compute on, and how the host keeps a card busy without waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, TypeVar

import torch
from torch import Tensor

from molgeo.runtime.errors import InputError, SettingError

PAIRS: Final = {"cpu": 32_000, "cuda": 2_000_000}
"""Σ n² of the molecules of a batch, a bound on its edges: 100 of QM9's molecules on a CPU."""

BatchSize = int | Literal["auto"]
"""Most items of a batch; "auto" bounds the work of a batch instead."""

T = TypeVar("T")
Arriving = Callable[[], Tensor]
"""Waits for a tensor, and gives it."""


def choose(name: str = "auto") -> torch.device:
    """The named device, or the best there is.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` …

    Returns:
        The device.

    Raises:
        ValueError: the name is no device, or the device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device: expected auto, cpu or cuda, got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SettingError(f"device: {name!r} was asked for, but there is no CUDA device; try cpu")
    return device


def sent(host: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the host on a device; the host does not wait for a card.

    Args:
        host: on a CPU, if it is to be sent to a card without waiting.
        device: the same tensor is returned if it is there already.
    """
    if torch.device(device).type == "cuda" and host.device.type == "cpu":
        return host.pin_memory().to(device, non_blocking=True)
    return host.to(device)


def most_of_batch(batch_size: BatchSize) -> int | None:
    """Most items of a batch; None for "auto".

    Args:
        batch_size: as a user gives it; digits of a text are a number.

    Raises:
        InputError: it is neither.
    """
    if batch_size == "auto":
        return None
    if not (str(batch_size).isdecimal() and int(batch_size) > 0):
        raise InputError(f"batch_size must be 'auto' or at least 1, got {batch_size!r}")
    return int(batch_size)


def for_device(bounds: Mapping[str, int], device: torch.device) -> int:
    """The bound of a kind of device; an unknown one has that of a CPU."""
    return bounds.get(device.type, bounds["cpu"])


def bounded(costs: Sequence[float], most: float) -> Iterator[slice]:
    """Cut a sequence into parts of bounded cost; what costs more is a part of its own.

    Args:
        costs: of each item.
        most: of a part.
    """
    first, spent = 0, 0.0
    for k, cost in enumerate(costs):
        if k > first and spent + cost > most:
            yield slice(first, k)
            first, spent = k, 0.0
        spent += cost
    if first < len(costs):
        yield slice(first, len(costs))


def received(x: Tensor) -> Arriving:
    """Begin to copy a tensor to the host, which may do something else until it asks for it.

    Args:
        x: on any device.
    """
    if x.device.type != "cuda":
        return x.cpu
    host = x.to("cpu", non_blocking=True)  # into pinned memory
    arrival = torch.cuda.Event()
    arrival.record(torch.cuda.current_stream(x.device))

    def wait() -> Tensor:
        arrival.synchronize()
        return host

    return wait


def one_behind(begun: Iterable[T]) -> Iterator[T]:
    """Hand out each work only after the next one was begun, so that a card has always one to do.

    Args:
        begun: begins a work with each step.
    """
    waiting: list[T] = []
    for work in begun:
        yield from waiting
        waiting = [work]
    yield from waiting
