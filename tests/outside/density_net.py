"""A backbone as a package outside molgeo would write it: atomic densities and their dipoles.

    s_i = Σ_{j∈N(i)} W(d_ij) ∘ e(z_j),   v_i = Σ_{j∈N(i)} r̂_ij ⊗ (V(d_ij) ∘ e(z_j))
    h_i = MLP [e(z_i) ‖ s_i ‖ ‖v_i‖²]

in the spirit of Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from molgeo.models import Backbone, resolve_config


@dataclass(frozen=True)
class DensityNetConfig:
    width: int = 32
    n_radial: int = 16
    cutoff: float = 5.0
    activation: Literal["silu", "tanh"] = "silu"
    n_out: int | None = 1


class DensityNet(Backbone):
    """Elements and distances make densities, densities make features."""

    config_class = DensityNetConfig

    def __init__(self, config=None, **fields):
        super().__init__()
        self.config = c = resolve_config(self.config_class, config, fields)
        self.cutoff, self.feature_dim = c.cutoff, c.width
        self.register_buffer("centres", torch.linspace(0.5, c.cutoff, c.n_radial))
        self.elements = nn.Embedding(119, c.width)
        self.filters = nn.Linear(c.n_radial, 2 * c.width, bias=False)
        activation = nn.SiLU() if c.activation == "silu" else nn.Tanh()
        self.mlp = nn.Sequential(
            nn.Linear(3 * c.width, c.width), activation, nn.Linear(c.width, c.width), activation
        )
        if c.n_out is not None:
            self.readout = nn.Linear(c.width, c.n_out)

    def atom_features(self, z, pos, graph):
        c = self.config
        vector = graph.vectors(pos)  # (edges, 3)
        d = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
        rbf = torch.exp(-(((d - self.centres) * c.n_radial / c.cutoff) ** 2)) * self.envelope(d)
        e = self.elements(z)
        w, v = (self.filters(rbf) * e[graph.source].repeat(1, 2)).chunk(2, dim=-1)
        s = self.sum_to_targets(w, graph)  # (atoms, width)
        dipole = self.sum_to_targets((vector / d).unsqueeze(-1) * v.unsqueeze(1), graph)
        return self.mlp(torch.cat([e, s, dipole.square().sum(1)], dim=-1))

    def envelope(self, d):
        """1 at zero distance, zero with zero slope at the cutoff and beyond."""
        return 0.5 * (1.0 + torch.cos(math.pi * (d / self.cutoff).clamp(max=1.0)))

    def sum_to_targets(self, messages, graph):
        total = messages.new_zeros(graph.n_atoms, *messages.shape[1:])
        return total.index_add(0, graph.target, messages)
