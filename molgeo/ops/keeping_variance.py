"""Layers of GemNet, whose outputs have the variance of their inputs.

Source:
    Gasteiger, Becker, Günnemann, NeurIPS 2021, arXiv:2106.08903.

Deviation:
    Orthogonal weights are scaled, and the mean of each row, which is small, is left in them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molgeo.ops.activation import SCALED_SILU
from molgeo.ops.dense import ActivatedDense, Dense

HALF = math.sqrt(0.5)
"""Of a sum of two, so that its variance stays that of each."""


class Scaling(nn.Module):
    """Times a factor that is fitted to data, and kept in the checkpoint."""

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.ones(()))
        self.is_fitted = True

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor like ``x``."""
        if not self.is_fitted:
            counted = x[(x != 0).any(-1)]  # not what lies beyond a cutoff
            deviation = counted.std() if counted.shape[0] > 1 else x.new_zeros(())
            # What does not vary has no scale, such as atoms without neighbours.
            usable = (deviation > 1e-6) & deviation.isfinite()
            self.factor.copy_(torch.where(usable, 1 / deviation, 1.0))
        return x * self.factor


class ScaledResidual(nn.Module):
    """``(x + σ(W₂ σ(W₁ x))) / √2``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense1, self.dense2 = active_dense(width, width), active_dense(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor like ``x``."""
        return (x + self.dense2(self.dense1(x))) * HALF


def residual_layers(width: int, n: int) -> nn.Sequential:
    """Several of these, one after another."""
    return nn.Sequential(*(ScaledResidual(width) for _ in range(n)))


def plain_dense(n_in: int, n_out: int) -> Dense:
    """A linear layer."""
    layer = Dense(n_in, n_out, bias=False)
    _initialise(layer)
    return layer


def active_dense(n_in: int, n_out: int) -> ActivatedDense:
    """The same with its activation."""
    layer = ActivatedDense(n_in, n_out, bias=False, activation=SCALED_SILU)
    _initialise(layer)
    return layer


@torch.no_grad()
def _initialise(layer: nn.Linear) -> None:
    """Orthogonal weights with the variance 1/n_in, which keeps that of the inputs."""
    nn.init.orthogonal_(layer.weight)
    layer.weight *= layer.weight.square().mean().mul(layer.weight.shape[1]).rsqrt()
