"""DimeNet: directional message passing between edges, with a bilinear layer.

    rbf, sbf ← bases of d_ji
    x_ji ← act(W [h(z_i) ‖ h(z_j) ‖ act(V rbf)])
    x_ji ← x_ji-mixing of act(W_ji x_ji) + m_ji,                                n_blocks times
           m_ji = Σ_{k∈N(j)∖i} (W_sbf sbf(d_kj, α))ᵀ W (act(W_kj x_kj) ∘ W_rbf rbf_kj)
    out_i ← Σ over blocks of MLP(Σ_{j∈N(i)} W rbf_ji ∘ x_ji)

The bilinear weight W, (hidden, n_bilinear, hidden), is applied to edges instead of triplets
(`molgeo.ops.bilinear`).

Source:
    Gasteiger, Groß, Günnemann, ICLR 2020 (DimeNet).

Deviation:
    As in `molgeo.models.dimenet_pp`: exact to the published code in all that differs from the
    paper, in the envelope of the spherical basis (``sbf_envelope="paper"`` mends it), the layer on
    the embedding's radial basis, the distance in the interaction's radial basis and the constant
    factors of both bases.

    Published code, so published weights and PyG, take the angle at atom i, between i→j and i→k,
    which the authors list as an error. ``angle="reference"`` does so; the default is the paper's,
    at atom j.

    With ``n_out=None`` the output blocks end in ``hidden`` channels for molgeo's heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.models import resolve_config
from molgeo.models._config import AngularOrders, EnvelopeExponent, RadialFunctions
from molgeo.models.dimenet_pp import DirectionalBackbone, Residual, _dense, _dense_silu
from molgeo.ops.basis.spherical import EnvelopeForm
from molgeo.ops.bilinear import Angle, BilinearForm, BilinearSum, bilinear_sum
from molgeo.ops.dense import by_rows
from molgeo.ops.segment import scale_pairs, sum_scaled


@dataclass(frozen=True)
class DimeNetConfig:
    """Hyperparameters of `DimeNet`, by default the published ones.

    Attributes:
        hidden: width of the edge messages.
        n_blocks: interaction blocks.
        n_bilinear: width of the embedded spherical basis.
        n_spherical: angular orders of the spherical basis.
        n_radial: radial functions of both bases.
        cutoff: Å.
        envelope_exponent: of both bases.
        n_before_skip: residual layers before the skip connection of a block.
        n_after_skip: residual layers after it.
        n_output_layers: hidden layers of an output block.
        sbf_envelope: ``code`` as published weights need it, or ``paper``.
        output_init: initial weights of the last layers, ``zeros`` or ``glorot_orthogonal``.
        angle: ``paper``, at atom j, or ``reference``, at atom i as published weights need it.
        form: how the sum over triplets is done, ``gram`` or ``reference``; same result.
        n_out: channels of the published readout; None makes a backbone for molgeo's heads.
    """

    hidden: int = 128
    n_blocks: int = 6
    n_bilinear: int = 8
    n_spherical: AngularOrders = 7
    n_radial: RadialFunctions = 6
    cutoff: float = 5.0
    envelope_exponent: EnvelopeExponent = 5
    n_before_skip: int = 1
    n_after_skip: int = 2
    n_output_layers: int = 3
    sbf_envelope: EnvelopeForm = "code"
    output_init: Literal["zeros", "glorot_orthogonal"] = "zeros"
    angle: Angle = "paper"
    form: BilinearForm = "gram"
    n_out: int | None = 1


class DimeNet(DirectionalBackbone):
    """DimeNet, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `DimeNetConfig` that differ from ``config``.
    """

    def __init__(self, config: DimeNetConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: DimeNetConfig = resolve_config(DimeNetConfig, config, fields)
        self.assemble(self.config.hidden, InteractionBlock, OutputBlock)

    def triplet_sum(self, delta: Tensor, d: Tensor, graph: Graph) -> BilinearSum:
        """The sum with a bilinear layer and harmonics of the angle."""
        c = self.config
        return bilinear_sum(delta, graph, c.n_spherical, c.angle, c.form)


class InteractionBlock(nn.Module):
    """Update messages by the messages that arrive at their source atom."""

    def __init__(self, c: DimeNetConfig) -> None:
        super().__init__()
        self.n_spherical, self.n_radial = c.n_spherical, c.n_radial
        self.rbf = _dense(c.n_radial, c.hidden, bias=False)
        self.sbf = _dense(c.n_spherical * c.n_radial, c.n_bilinear, bias=False)
        self.kj = _dense_silu(c.hidden, c.hidden)
        self.ji = _dense_silu(c.hidden, c.hidden)
        self.bilinear = nn.Parameter(torch.empty(c.hidden, c.n_bilinear, c.hidden))
        nn.init.normal_(self.bilinear, std=2.0 / c.hidden)
        self.before_skip = nn.Sequential(*(Residual(c.hidden) for _ in range(c.n_before_skip)))
        self.skip = _dense_silu(c.hidden, c.hidden)
        self.after_skip = nn.Sequential(*(Residual(c.hidden) for _ in range(c.n_after_skip)))

    def forward(
        self, x: Tensor, rbf: Tensor, sbf: Tensor, triplet_sum: BilinearSum, graph: Graph
    ) -> Tensor:
        """Return the updated messages, (edges, hidden)."""
        x_kj = scale_pairs(self.kj(x), self.rbf(rbf), graph)
        m_ji = triplet_sum(x_kj, self.embed_sbf(sbf), self.bilinear)
        return by_rows(self.update, x, m_ji)

    def update(self, x: Tensor, m_ji: Tensor) -> Tensor:
        """Messages and their sums over triplets, both (rows, hidden) → new messages."""
        h = self.before_skip(self.ji(x) + m_ji)
        updated: Tensor = self.after_skip(self.skip(h) + x)
        return updated

    def embed_sbf(self, sbf: Tensor) -> Tensor:
        """``T[l,b] = Σ_n R_ln W[b,(l,n)]`` of each pair, (pairs, n_spherical, n_bilinear)."""
        w = self.sbf.weight.view(-1, self.n_spherical, self.n_radial)
        return torch.einsum("pln,bln->plb", sbf, w)


class OutputBlock(nn.Module):
    """Messages to atoms."""

    def __init__(self, c: DimeNetConfig) -> None:
        super().__init__()
        self.rbf = _dense(c.n_radial, c.hidden, bias=False)
        self.layers = nn.Sequential(
            *(_dense_silu(c.hidden, c.hidden) for _ in range(c.n_output_layers))
        )
        self.last = _dense(c.hidden, c.hidden if c.n_out is None else c.n_out, bias=False)
        # A backbone that started at zero would leave its heads without a signal.
        if c.output_init == "zeros" and c.n_out is not None:
            nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, rbf: Tensor, graph: Graph) -> Tensor:
        """Return (atoms, feature_dim)."""
        features: Tensor = self.last(self.layers(sum_scaled(x, self.rbf(rbf), graph)))
        return features


MODEL = DimeNet
