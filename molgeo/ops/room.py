"""Whether there is memory for what is about to be built; its number is known before."""

from __future__ import annotations

import os
from functools import cache

import torch

from molgeo.runtime.errors import InputError


@cache  # a property that the host knows; asked for once, before steps are captured
def memory_of(device: torch.device) -> int | None:
    """Bytes of memory that a device has; None if nobody knows, as of one without values."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "cpu" and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def refuse_without_room(
    what: str, n: int, bytes_each: int, n_atoms: int, device: torch.device
) -> None:
    """Refuse what no memory of the device would hold, before it is built.

    Args:
        what: their name, such as ``triplets``.
        n: their number.
        bytes_each: memory that each takes at the peak.
        n_atoms: that they are of.
        device: on which they would be.

    Raises:
        InputError: there is less memory. The message says how many they are, and what helps.
    """
    if torch.compiler.is_compiling():  # a program must hold for any number
        return
    memory = memory_of(device)
    if memory is not None and n * bytes_each > memory:
        raise InputError(
            f"{n:,} {what} of {n_atoms:,} atoms need some {n * bytes_each / 1e9:,.0f} GB, and "
            f"{device} has {memory / 1e9:,.0f} GB: give fewer atoms at a time (--batch-size, "
            f"batch_size), or take a model with a shorter cutoff or one without {what}"
        )
