"""DimeNet++: directional message passing between edges.

    rbf, sbf ← bases of d_ji
    x_ji ← act(W [h(z_i) ‖ h(z_j) ‖ act(V rbf)])
    x_ji ← x_ji-mixing of act(W_ji x_ji) + act(W_up m_ji),                      n_blocks times
           m_ji = Σ_{k∈N(j)∖i} act(W_down(act(W_kj x_kj) ∘ W_rbf rbf_kj)) ∘ W_sbf sbf(d_kj, α)
    out_i ← Σ over blocks of MLP(Σ_{j∈N(i)} W rbf_ji ∘ x_ji)

What depends on a distance alone is computed once for both directions of an edge, and the sum over
triplets never forms a triplet (`molgeo.ops.directional`).

Source:
    Gasteiger, Giri, Margraf, Günnemann, arXiv:2011.14115 (DimeNet++); Gasteiger, Groß, Günnemann,
    ICLR 2020 (DimeNet).

Deviation:
    Exact to the published code, so with published weights, in all that differs from the paper:

    * the envelope is divided by d in the spherical basis too, which the authors list as an error
      (``sbf_envelope="paper"`` mends it);
    * the embedding's layer on the radial basis has a bias and an activation, the paper's has not;
    * the interaction weights x_kj by the radial basis of d_kj, as the paper's equation; the
      authors note that their text describes d_ji;
    * constant factors of both bases are left out;
    * the angle is the one between û_ji and û_kj at atom j, as in the paper.

    With ``n_out=None`` the output blocks end in ``out_emb`` channels for molgeo's heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molgeo.graph import Graph
from molgeo.models import Backbone, resolve_config
from molgeo.models._config import AngularOrders, EnvelopeExponent, RadialFunctions
from molgeo.ops.basis.radial import BesselBasis
from molgeo.ops.basis.spherical import EnvelopeForm, SphericalBesselBasis
from molgeo.ops.dense import ActivatedDense, Dense, by_rows, linear
from molgeo.ops.directional import DirectionalSum, Form, directional_sum
from molgeo.ops.recompute import recompute_if_large
from molgeo.ops.segment import scale_pairs, sum_scaled, to_edges

if TYPE_CHECKING:
    from molgeo.models.spherenet import SphereNetConfig

N_ELEMENTS = 95


@dataclass(frozen=True)
class DimeNetPlusPlusConfig:
    """Hyperparameters of `DimeNetPlusPlus`, by default the published ones.

    Attributes:
        hidden: width of the edge messages.
        n_blocks: interaction blocks.
        int_emb: width of the messages inside the sum over triplets.
        basis_emb: width of the embedded bases.
        out_emb: width of the output blocks.
        n_spherical: angular orders of the spherical basis.
        n_radial: radial functions of both bases.
        cutoff: Å.
        envelope_exponent: of both bases.
        n_before_skip: residual layers before the skip connection of a block.
        n_after_skip: residual layers after it.
        n_output_layers: hidden layers of an output block.
        sbf_envelope: ``code`` as published weights need it, or ``paper``.
        output_init: initial weights of the last layers, ``zeros`` or ``glorot_orthogonal``.
        form: how the sum over triplets is done, all with the same result.
        n_out: channels of the published readout; None makes a backbone for molgeo's heads.
    """

    hidden: int = 128
    n_blocks: int = 4
    int_emb: int = 64
    basis_emb: int = 8
    out_emb: int = 256
    n_spherical: AngularOrders = 7
    n_radial: RadialFunctions = 6
    cutoff: float = 5.0
    envelope_exponent: EnvelopeExponent = 5
    n_before_skip: int = 1
    n_after_skip: int = 2
    n_output_layers: int = 3
    sbf_envelope: EnvelopeForm = "code"
    output_init: Literal["zeros", "glorot_orthogonal"] = "zeros"
    form: Form = "auto"
    n_out: int | None = 1


class DirectionalBackbone(Backbone):
    """The way through DimeNet, DimeNet++ and SphereNet: messages on edges, updated by triplets."""

    n_elements = N_ELEMENTS

    @property
    def sbf_envelope(self) -> EnvelopeForm | None:
        """The envelope of the spherical basis."""
        form: EnvelopeForm | None = getattr(self.config, "sbf_envelope", None)
        return form

    def assemble(self, width: int, interaction: type[nn.Module], output: type[nn.Module]) -> None:
        """Make bases and blocks from the config, of which all have the same fields.

        Args:
            width: of the output blocks.
            interaction: class of the interaction blocks.
            output: class of the output blocks.
        """
        c = self.config
        self.cutoff = c.cutoff
        self.feature_dim = width if c.n_out is None else c.n_out
        self.radial = BesselBasis(c.n_radial, c.cutoff, c.envelope_exponent)
        self.spherical = SphericalBesselBasis(
            c.n_spherical, c.n_radial, c.cutoff, c.envelope_exponent, self.sbf_envelope
        )
        self.embedding = EmbeddingBlock(c)
        self.interactions = nn.ModuleList(interaction(c) for _ in range(c.n_blocks))
        self.outputs = nn.ModuleList(output(c) for _ in range(c.n_blocks + 1))

    def triplet_sum(self, delta: Tensor, d: Tensor, graph: Graph) -> Any:
        """The sum over triplets that all blocks share.

        Args:
            delta: (pairs, 3) Å, along each pair's forward edge.
            d: (pairs,) Å.
            graph: edges within `cutoff`.
        """
        raise NotImplementedError

    def size_of(self, triplet_sum: Any, graph: Graph) -> int:
        """The number of DimeNet++'s edges that would keep as much memory as this model's."""
        return graph.n_edges

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Output of every atom: features for heads, or the published readout's summands."""
        delta = graph.displacements(pos)
        d = torch.linalg.vector_norm(delta, dim=-1)
        rbf = self.radial(d)  # (pairs, n_radial)
        sbf = self.spherical(d)  # (pairs, n_spherical, n_radial)
        triplet_sum = self.triplet_sum(delta, d, graph)

        x = self.embedding(z, rbf, graph)  # (edges, hidden), x_ji for each edge j→i
        out: Tensor = self.outputs[0](x, rbf, graph)  # (atoms, feature_dim)
        for interaction, output in zip(self.interactions, self.outputs[1:], strict=True):
            inputs = (x, rbf, sbf, triplet_sum, graph)
            x = recompute_if_large(interaction, self.size_of(triplet_sum, graph), *inputs)
            out = out + output(x, rbf, graph)
        return out


class DimeNetPlusPlus(DirectionalBackbone):
    """DimeNet++, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `DimeNetPlusPlusConfig` that differ from ``config``.
    """

    def __init__(self, config: DimeNetPlusPlusConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: DimeNetPlusPlusConfig = resolve_config(DimeNetPlusPlusConfig, config, fields)
        self.assemble(self.config.out_emb, InteractionBlock, OutputBlock)

    def triplet_sum(self, delta: Tensor, d: Tensor, graph: Graph) -> DirectionalSum:
        """The sum with harmonics of the angle at atom j."""
        c = self.config
        return directional_sum(delta / d.unsqueeze(-1), graph, c.n_spherical, c.form)


class EmbeddingBlock(nn.Module):
    """Initial messages from the atoms at both ends and their distance."""

    def __init__(self, c: DimeNetPlusPlusConfig) -> None:
        super().__init__()
        self.hidden = c.hidden
        self.elements = nn.Embedding(N_ELEMENTS, c.hidden)
        nn.init.uniform_(self.elements.weight, -math.sqrt(3.0), math.sqrt(3.0))
        self.rbf = ActivatedDense(c.n_radial, c.hidden)
        self.dense = Dense(3 * c.hidden, c.hidden)

    def forward(self, z: Tensor, rbf: Tensor, graph: Graph) -> Tensor:
        """Return (edges, hidden)."""
        h = self.elements(z)
        # One dense layer on [h_i ‖ h_j ‖ rbf], with atoms and pairs multiplied before they are
        # copied to edges.
        # oneDNN is hundreds of times slower on strided weights.
        w_i, w_j, w_rbf = (w.contiguous() for w in self.dense.weight.split(self.hidden, dim=1))
        at_target, at_source = linear(h, w_i, self.dense.bias), linear(h, w_j)
        of_pair = linear(self.rbf(rbf), w_rbf)
        return F.silu(to_edges(at_target, at_source, of_pair, graph))


class InteractionBlock(nn.Module):
    """Update messages by the messages that arrive at their source atom."""

    def __init__(self, c: DimeNetPlusPlusConfig | SphereNetConfig) -> None:
        super().__init__()
        self.n_spherical, self.n_radial = c.n_spherical, c.n_radial
        self.rbf1 = _dense(c.n_radial, c.basis_emb, bias=False)
        self.rbf2 = _dense(c.basis_emb, c.hidden, bias=False)
        self.sbf1 = _dense(c.n_spherical * c.n_radial, c.basis_emb, bias=False)
        self.sbf2 = _dense(c.basis_emb, c.int_emb, bias=False)
        self.kj = _dense_silu(c.hidden, c.hidden)
        self.ji = _dense_silu(c.hidden, c.hidden)
        self.down = _dense_silu(c.hidden, c.int_emb, bias=False)
        self.up = _dense_silu(c.int_emb, c.hidden, bias=False)
        self.before_skip = nn.Sequential(*(Residual(c.hidden) for _ in range(c.n_before_skip)))
        self.skip = _dense_silu(c.hidden, c.hidden)
        self.after_skip = nn.Sequential(*(Residual(c.hidden) for _ in range(c.n_after_skip)))

    def forward(
        self, x: Tensor, rbf: Tensor, sbf: Tensor, triplet_sum: Any, graph: Graph
    ) -> Tensor:
        """Return the updated messages, (edges, hidden)."""
        scale = self.rbf2(self.rbf1(rbf))  # (pairs, hidden)
        x_kj = self.down(scale_pairs(self.kj(x), scale, graph))  # (edges, int_emb)
        return by_rows(self.update, x, self.messages(x_kj, sbf, triplet_sum))

    def messages(self, x_kj: Tensor, sbf: Tensor, triplet_sum: Any) -> Tensor:
        """``m_ji``, (edges, int_emb), the sum over triplets that `DirectionalBackbone` prepared."""
        m_ji: Tensor = triplet_sum(x_kj, self.embed_sbf(sbf), self.sbf2.weight)
        return m_ji

    def update(self, x: Tensor, m_ji: Tensor) -> Tensor:
        """Messages (rows, hidden) and their sums over triplets (rows, int_emb) → new messages."""
        h = self.ji(x) + self.up(m_ji)
        h = self.skip(self.before_skip(h)) + x
        updated: Tensor = self.after_skip(h)
        return updated

    def embed_sbf(self, sbf: Tensor) -> Tensor:
        """``T[l,b] = Σ_n R_ln W₁[b,(l,n)]`` of each pair, (pairs, n_spherical, basis_emb)."""
        w1 = self.sbf1.weight.view(-1, self.n_spherical, self.n_radial)
        return torch.einsum("pln,bln->plb", sbf, w1)


class OutputBlock(nn.Module):
    """Messages to atoms."""

    def __init__(self, c: DimeNetPlusPlusConfig | SphereNetConfig) -> None:
        super().__init__()
        self.rbf = _dense(c.n_radial, c.hidden, bias=False)
        self.up = _dense(c.hidden, c.out_emb, bias=False)
        self.layers = nn.Sequential(
            *(_dense_silu(c.out_emb, c.out_emb) for _ in range(c.n_output_layers))
        )
        self.last = _dense(c.out_emb, c.out_emb if c.n_out is None else c.n_out, bias=False)
        # A backbone that started at zero would leave its heads without a signal.
        if c.output_init == "zeros" and c.n_out is not None:
            nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, rbf: Tensor, graph: Graph) -> Tensor:
        """Return (atoms, feature_dim)."""
        h = self.up(sum_scaled(x, self.rbf(rbf), graph))
        return self.last(self.layers(h))


class Residual(nn.Module):
    """``x + act(W₂ act(W₁ x))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense1 = _dense_silu(width, width)
        self.dense2 = _dense_silu(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor like ``x``."""
        return x + self.dense2(self.dense1(x))


def _dense(n_in: int, n_out: int, *, bias: bool = True) -> Dense:
    """A linear layer with the published initial weights."""
    return _initialised(Dense(n_in, n_out, bias=bias))


def _dense_silu(n_in: int, n_out: int, *, bias: bool = True) -> ActivatedDense:
    """The same with an activation."""
    return _initialised(ActivatedDense(n_in, n_out, bias=bias))


Layer = TypeVar("Layer", bound=nn.Linear)


def _initialised(layer: Layer) -> Layer:
    """Orthogonal weights of Glorot's variance, zero biases."""
    n_out, n_in = layer.weight.shape
    nn.init.orthogonal_(layer.weight)
    if layer.weight.numel() > 1:
        variance = 2.0 / (n_in + n_out)
        with torch.no_grad():
            layer.weight *= torch.sqrt(variance / layer.weight.var())
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


MODEL = DimeNetPlusPlus
