"""The exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Average = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]


def warmed_up_decay(decay: float, updates: int) -> float:
    """Decay that does not cling to the first weights: ``min(decay, (1 + t)/(10 + t))``.

    Args:
        decay: reached in the end.
        updates: t, weights that the average has taken in.

    Returns:
        The decay of the next update.
    """
    return min(decay, (1.0 + updates) / (10.0 + updates))


def exponential_average(decay: float) -> Average:
    """An update of torch's ``AveragedModel``: ``a ← d_t a + (1 − d_t) w``, all weights at once.

    It depends on the number of updates alone, which is saved with the averages, so that a resumed
    run averages as an uninterrupted one.

    Args:
        decay: reached in the end.

    Returns:
        ``update(averages, weights, updates)``, in place.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], updates: Tensor) -> None:
        d = warmed_up_decay(decay, int(updates))
        torch._foreach_lerp_(list(averages), list(weights), 1.0 - d)

    return update
