"""How many threads a small work takes: one, as the others would only wait for each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

BY_DEFAULT: Final = torch.get_num_threads()
"""Threads that PyTorch takes if nobody says otherwise."""

SET_BY_USERS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of the environment with which a user decides."""


@contextmanager
def one_thread(is_small: bool) -> Iterator[None]:
    """Compute by one thread on a CPU, if the work is small and no user has set another number.

    Args:
        is_small: whether it is. If not, nothing changes.
    """
    n = torch.get_num_threads()
    is_set = n != BY_DEFAULT or any(name in os.environ for name in SET_BY_USERS)
    if not is_small or n == 1 or is_set:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n)
