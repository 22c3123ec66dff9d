"""Radial basis functions of one distance."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GaussianBasis(nn.Module):
    """Gaussians on an even grid: ``g_n(d) = exp(−(d − μ_n)² / 2Δ²)``, Δ the grid spacing.

    Args:
        start: first centre in Å.
        stop: last centre in Å.
        n_gaussians: number of centres, at least 2.

    Source:
        Schütt et al., NeurIPS 2017 (SchNet), section 4.2; width as in PyG's ``GaussianSmearing``.
    """

    centres: Tensor

    def __init__(self, start: float, stop: float, n_gaussians: int) -> None:
        super().__init__()
        centres = torch.linspace(start, stop, n_gaussians)
        self.coefficient = -0.5 / (stop / (n_gaussians - 1) - start / (n_gaussians - 1)) ** 2
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, d: Tensor) -> Tensor:
        """Expand (pairs,) distances in Å to (pairs, n_gaussians)."""
        return torch.exp(self.coefficient * (d.unsqueeze(-1) - self.centres).square())
