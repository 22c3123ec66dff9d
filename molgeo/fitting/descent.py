"""The way down to a minimum of few parameters, by L-BFGS."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def minimum(
    loss: Callable[[Tensor], Tensor], start: Tensor, steps: int, tolerance: float = 1e-9
) -> Tensor:
    """Where a function is least, as far as one finds from a start.

    Args:
        loss: of the parameters, a number.
        start: the parameters to begin with.
        steps: at most.
        tolerance: change of the loss or of the parameters below which it ends.
    """
    found = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [found], max_iter=steps, tolerance_change=tolerance, line_search_fn="strong_wolfe"
    )

    def value() -> Tensor:
        optimiser.zero_grad()
        own = loss(found)
        own.backward()
        return own

    with torch.enable_grad():
        optimiser.step(value)
    return found.detach()
