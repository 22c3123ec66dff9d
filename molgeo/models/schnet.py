"""SchNet: continuous-filter convolutions over interatomic distances.

    h_i ← embedding(z_i)
    h_i ← h_i + V₂ act(V₁ Σ_{j∈N(i)} W(d_ij) ∘ (U h_j))        n_blocks times
    W(d) = (L₂ act(L₁ g(d))) · ½(1 + cos(πd/cutoff))

with a Gaussian expansion g. The filter is evaluated once for both directions of an edge.

Source:
    Schütt, Kindermans, Sauceda, Chmiela, Tkatchenko, Müller, NeurIPS 2017; defaults as PyG's
    ``SchNet``, which follows SchNetPack.

Deviation:
    The paper has no cosine cutoff (SchNetPack and PyG have). ``activation="silu"`` replaces the
    shifted softplus by a function that is several times cheaper on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.models import Backbone, glorot_uniform, resolve_config
from molgeo.ops.activation import SHIFTED_SOFTPLUS, SILU
from molgeo.ops.basis.envelope import cosine_cutoff
from molgeo.ops.basis.radial import GaussianBasis
from molgeo.ops.dense import ActivatedDense, Dense, by_rows
from molgeo.ops.filter import continuous_filter

ACTIVATIONS = {"ssp": SHIFTED_SOFTPLUS, "silu": SILU}


@dataclass(frozen=True)
class SchNetConfig:
    """Hyperparameters of `SchNet`.

    Attributes:
        n_features: width of the atom features.
        n_filters: width of the convolution.
        n_blocks: interaction blocks.
        n_gaussians: radial basis functions between 0 and the cutoff.
        cutoff: Å.
        activation: ``ssp`` (shifted softplus, published) or ``silu``.
        n_out: channels of the published readout; None leaves it out, for molgeo's heads.
    """

    n_features: int = 128
    n_filters: int = 128
    n_blocks: int = 6
    n_gaussians: int = 50
    cutoff: float = 10.0
    activation: Literal["ssp", "silu"] = "ssp"
    n_out: int | None = 1


class SchNet(Backbone):
    """SchNet, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `SchNetConfig` that differ from ``config``.
    """

    n_elements = 100
    linear_in_edges = True

    def __init__(self, config: SchNetConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: SchNetConfig = resolve_config(SchNetConfig, config, fields)
        c = self.config
        self.cutoff = c.cutoff
        self.feature_dim = c.n_features
        self.embedding = nn.Embedding(self.n_elements, c.n_features, padding_idx=0)
        self.basis = GaussianBasis(0.0, c.cutoff, c.n_gaussians)
        self.blocks = nn.ModuleList(Interaction(c) for _ in range(c.n_blocks))
        if c.n_out is not None:
            f = ACTIVATIONS[c.activation]
            self.readout = nn.Sequential(
                ActivatedDense(c.n_features, c.n_features // 2, activation=f),
                nn.Identity(),  # where the activation was: names of weights count the places
                Dense(c.n_features // 2, c.n_out),
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights and zero biases, as published code; N(0, 1) embeddings."""
        self.embedding.reset_parameters()
        glorot_uniform(self)

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Features of every atom in its surroundings, (atoms, feature_dim)."""
        d = graph.distances(pos)
        rbf = self.basis(d)  # (pairs, n_gaussians)
        envelope = cosine_cutoff(d, self.cutoff).unsqueeze(-1)  # (pairs, 1)
        h = self.embedding(z)  # (atoms, n_features)
        for block in self.blocks:
            h = h + block(h, rbf, envelope, graph)
        return h


class Interaction(nn.Module):
    """One continuous-filter convolution with its dense layers."""

    def __init__(self, c: SchNetConfig) -> None:
        super().__init__()
        f = ACTIVATIONS[c.activation]
        self.filter_in = ActivatedDense(c.n_gaussians, c.n_filters, activation=f)
        self.filter_out = Dense(c.n_filters, c.n_filters)
        self.before = Dense(c.n_features, c.n_filters, bias=False)
        self.after = ActivatedDense(c.n_filters, c.n_features, activation=f)
        self.update = Dense(c.n_features, c.n_features)

    def forward(self, h: Tensor, rbf: Tensor, envelope: Tensor, graph: Graph) -> Tensor:
        """Return the update of ``h``, (atoms, n_features)."""
        filters = by_rows(self.filters, rbf, envelope)  # (pairs, n_filters)
        v = continuous_filter(self.before(h), filters, graph)
        update: Tensor = self.update(self.after(v))
        return update

    def filters(self, rbf: Tensor, envelope: Tensor) -> Tensor:
        """``W(d)``: (rows, n_gaussians) and (rows, 1) → (rows, n_filters)."""
        filters: Tensor = self.filter_out(self.filter_in(rbf)) * envelope
        return filters


MODEL = SchNet
