"""Columns of numbers in widths from what is usual among training molecules."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

LEAST_SPREAD: Final = 1e-5
"""Standard deviation below which a column is the same for all training molecules."""


def usual(columns: Tensor) -> tuple[Tensor, Tensor]:
    """What is usual, so that ``(x - centre) * factor`` is a number of widths.

    Args:
        columns: (molecules, …) of training molecules.

    Returns:
        Means, and one over the standard deviations, (…) float64; 0 for a column that is the same
        for all, as it tells nothing.
    """
    columns = columns.double()
    spread = columns.std(0) if len(columns) > 1 else torch.zeros_like(columns[0])
    return columns.mean(0), torch.where(spread > LEAST_SPREAD, 1.0 / spread, 0.0)
