"""Backbones whose tensors are not all matrices of weights."""

from dataclasses import dataclass, field

import torch
from outside.density_net import DensityNet, DensityNetConfig
from torch import nn


class Scaled(DensityNet):
    """Has a weight without an axis, and layers that share their weights."""

    def __init__(self, config=None, **fields):
        super().__init__(config, **fields)
        width = self.feature_dim
        self.factor = nn.Parameter(torch.tensor(1.0))
        self.first, self.second = (nn.Linear(width, width) for _ in range(2))
        self.second.weight = self.first.weight

    def atom_features(self, z, pos, graph):
        features = super().atom_features(z, pos, graph)
        return self.factor * self.second(self.first(features).tanh())


@dataclass(frozen=True)
class CountingConfig(DensityNetConfig):
    total: int = field(init=False, default=7)


class Counting(DensityNet):
    """Its config has a field of its own."""

    config_class = CountingConfig


class Counted(DensityNet):
    """Stores whole numbers."""

    persistent = True

    def __init__(self, config=None, **fields):
        super().__init__(config, **fields)
        self.register_buffer("order", torch.arange(3), persistent=self.persistent)


class Uncounted(Counted):
    """Makes them anew."""

    persistent = False


class Double(DensityNet):
    """Has weights of float64."""

    def __init__(self, config=None, **fields):
        super().__init__(config, **fields)
        self.mlp.double()
