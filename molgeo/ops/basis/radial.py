"""Radial basis functions of one distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molgeo.ops.basis.envelope import PolynomialEnvelope
from molgeo.runtime.errors import SettingError


class GaussianBasis(nn.Module):
    """Gaussians on an even grid: ``g_n(d) = exp(−(d − μ_n)² / 2Δ²)``, Δ the grid spacing.

    Args:
        start: first centre in Å.
        stop: last centre in Å.
        n_gaussians: number of centres, at least 2.

    Raises:
        ValueError: there are fewer.

    Source:
        Schütt et al., NeurIPS 2017 (SchNet), section 4.2; width as in PyG's ``GaussianSmearing``.
    """

    centres: Tensor

    def __init__(self, start: float, stop: float, n_gaussians: int) -> None:
        super().__init__()
        if n_gaussians < 2:
            raise SettingError(f"n_gaussians: expected 2 or more, got {n_gaussians}")
        centres = torch.linspace(start, stop, n_gaussians)
        self.coefficient = -0.5 / (stop / (n_gaussians - 1) - start / (n_gaussians - 1)) ** 2
        self.register_buffer("centres", centres, persistent=False)

    def forward(self, d: Tensor) -> Tensor:
        """Expand (pairs,) distances in Å to (pairs, n_gaussians)."""
        exponent = self.coefficient * (d.unsqueeze(-1) - self.centres).square()  # −(d − μ_n)² / 2Δ²
        # exp is seven times slower if its result is denormal; e⁻⁴⁰ is as good as zero.
        return exponent.clamp(min=-40.0).exp()


class SineBasis(nn.Module):
    """Bessel functions that vanish at the cutoff, j₀: ``e_n(d) = sin(nπd/cutoff)/d``.

    Args:
        n_radial: number of functions, n = 1 … n_radial.
        cutoff: Å.

    Source:
        Schütt, Unke, Gastegger, ICML 2021 (PaiNN), section 3.1.
    """

    frequencies: Tensor

    def __init__(self, n_radial: int, cutoff: float) -> None:
        super().__init__()
        frequencies = torch.arange(1, n_radial + 1) * (math.pi / cutoff)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, d: Tensor) -> Tensor:
        """Expand (pairs,) distances in Å to (pairs, n_radial), 1/Å."""
        d = d.unsqueeze(-1)
        return (d * self.frequencies).sin() / d


class BesselBasis(nn.Module):
    """Sine waves with trainable frequencies: ``e_n(d) = sin(f_n x) · u(x)/x``, ``x = d/cutoff``.

    The frequencies start at ``f_n = nπ``, where they are the zeroth spherical Bessel functions
    that vanish at the cutoff.

    Args:
        n_radial: number of functions.
        cutoff: Å.
        exponent: of the envelope.

    Source:
        Gasteiger, Groß, Günnemann, ICLR 2020 (DimeNet), eq. 7 and 8.

    Deviation:
        Without the paper's constant √(2/cutoff)/cutoff, as in published code and weights.
    """

    def __init__(self, n_radial: int, cutoff: float, exponent: int = 5) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.envelope = PolynomialEnvelope(cutoff, exponent)
        self.frequencies = nn.Parameter(torch.empty(n_radial))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set the frequencies to nπ."""
        with torch.no_grad():
            n = torch.arange(1, self.frequencies.numel() + 1, dtype=torch.float64)
            self.frequencies.copy_(n * math.pi)

    def forward(self, d: Tensor) -> Tensor:
        """Expand (pairs,) distances in Å to (pairs, n_radial)."""
        phase = (d * (1.0 / self.cutoff)).unsqueeze(-1) * self.frequencies
        return self.envelope(d).unsqueeze(-1) * phase.sin()
