"""SphereNet: spherical message passing, DimeNet++ with torsions.

    rbf, sbf, tbf ← bases of d_ji
    x_ji ← act(W [h(z_i) ‖ h(z_j) ‖ act(V rbf)])
    x_ji ← x_ji-mixing of act(W_ji x_ji) + act(W_up m_ji),                      n_blocks times
           m_ji = Σ_{k∈N(j)∖i} act(W_down(act(W_kj x_kj) ∘ W_rbf rbf_kj))
                               ∘ W_sbf sbf(d_kj, θ) ∘ W_tbf tbf(d_kj, θ, φ)
    out_i ← Σ over blocks of MLP(Σ_{j∈N(i)} W rbf_ji ∘ x_ji)

    sbf_ln = j_l(z_ln d/c) Y_l0(θ),    tbf_lmn = j_l(z_ln d/c) Y_lm(θ, φ)

θ is the angle k–j–i at atom j. φ is the torsion about the edge j→i from k to the next neighbour of
j, anticlockwise if the edge points at who looks: the torsions of an edge sum to a whole turn, and
cost no more than the triplets. There is no dihedral angle k–j–i–l. The next neighbour jumps when
one overtakes another, and is another one in a mirror. So the energy has steps as published, and
enantiomers are told apart, unless all gaps around each edge are alike.

``smooth`` is for forces and dynamics: the next neighbour is replaced by all neighbours of j,
weighed by an envelope of their distances, and cos mφ alone is used (`molgeo.ops.torsions`). The
energy and its derivatives are then continuous, and the same for mirror images, as in nature. The
second linear layer on tbf has n_spherical (n_spherical + 1)/2 instead of n_spherical² harmonics.

Source:
    Liu, Wang, Liu, Lin, Zhang, Oztekin, Ji, "Spherical Message Passing for 3D Molecular Graphs",
    ICLR 2022, arXiv:2102.05013; the parts that it takes from DimeNet++: Gasteiger, Giri, Margraf,
    Günnemann, arXiv:2011.14115. The default sizes give 1,898,566 weights, the paper's 1.89 million.

Deviation:
    * the paper's figure leaves open which layers have a bias; they are as in DimeNet++, and there
      is one in the layer that widens the output block, with which the number of weights agrees;
    * rbf has DimeNet++'s envelope, which the paper does not mention; sbf and tbf have none;
    * constant factors of the radial functions are left out;
    * neighbours in one half-plane with the edge, to 0.06°, are not next to each other, and those on
      the line of the edge have no torsion: harmonics with m ≠ 0 are zero there. The paper says
      nothing of planar and linear molecules, in which rounding would decide.

    With ``n_out=None`` the output blocks end in ``out_emb`` channels for molgeo's heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from molgeo.graph import Graph
from molgeo.models import dimenet_pp, resolve_config
from molgeo.models._config import AngularOrders, EnvelopeExponent, RadialFunctions
from molgeo.models.dimenet_pp import DirectionalBackbone, _dense
from molgeo.ops.torsions import TorsionSum


@dataclass(frozen=True)
class SphereNetConfig:
    """Hyperparameters of `SphereNet`, by default the published ones.

    Attributes:
        hidden: width of the edge messages.
        n_blocks: interaction blocks.
        int_emb: width of the messages inside the sum over triplets.
        basis_emb: width of the embedded bases.
        out_emb: width of the output blocks.
        n_spherical: angular orders of both spherical bases.
        n_radial: radial functions of all bases.
        cutoff: Å.
        envelope_exponent: of the radial basis.
        n_before_skip: residual layers before the skip connection of a block.
        n_after_skip: residual layers after it.
        n_output_layers: hidden layers of an output block.
        output_init: initial weights of the last layers, ``zeros`` or ``glorot_orthogonal``.
        smooth: torsions to all neighbours in place of the next one, for a smooth energy surface.
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
    output_init: Literal["zeros", "glorot_orthogonal"] = "glorot_orthogonal"
    smooth: bool = False
    n_out: int | None = 1


class SphereNet(DirectionalBackbone):
    """SphereNet, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `SphereNetConfig` that differ from ``config``.
    """

    def __init__(self, config: SphereNetConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: SphereNetConfig = resolve_config(SphereNetConfig, config, fields)
        self.is_smooth = self.config.smooth
        self.tells_mirror_images = not self.config.smooth
        self.assemble(self.config.out_emb, InteractionBlock, OutputBlock)

    def triplet_sum(self, delta: Tensor, d: Tensor, graph: Graph) -> TorsionSum:
        """The sum with harmonics of both angles at atom j."""
        c = self.config
        return TorsionSum(delta, d, graph, c.n_spherical, c.cutoff, c.smooth)

    def size_of(self, triplet_sum: TorsionSum, graph: Graph) -> int:
        """Twelve triplets keep 50 kB, as an edge does."""
        return graph.n_edges + triplet_sum.n_triplets // 12


class InteractionBlock(dimenet_pp.InteractionBlock):
    """Update messages by the messages that arrive at their source atom."""

    def __init__(self, c: SphereNetConfig) -> None:
        super().__init__(c)
        # Of each order l: m = −l … l, or m = 0 … l.
        self.components = [l + 1 if c.smooth else 2 * l + 1 for l in range(c.n_spherical)]
        self.tbf1 = _dense(sum(self.components) * c.n_radial, c.basis_emb, bias=False)
        self.tbf2 = _dense(c.basis_emb, c.int_emb, bias=False)

    def messages(self, x_kj: Tensor, sbf: Tensor, triplet_sum: TorsionSum) -> Tensor:
        """``m_ji``, (edges, int_emb)."""
        angles = self.embed_sbf(sbf), self.sbf2.weight
        return triplet_sum(x_kj, *angles, self.embed_tbf(sbf), self.tbf2.weight)

    def embed_tbf(self, sbf: Tensor) -> Tensor:
        """``t[lm,b] = Σ_n R_ln W₁[b,(lm,n)]`` of each pair, (pairs, components, basis_emb)."""
        orders = self.tbf1.weight.view(self.tbf1.out_features, -1, self.n_radial)
        parts = zip(sbf.unbind(1), orders.split(self.components, dim=1), strict=True)
        return torch.cat([torch.einsum("pn,bmn->pmb", r_l, w_l) for r_l, w_l in parts], dim=1)


class OutputBlock(dimenet_pp.OutputBlock):
    """Messages to atoms; DimeNet++'s with a bias in its first layer."""

    def __init__(self, c: SphereNetConfig) -> None:
        super().__init__(c)
        self.up = _dense(c.hidden, c.out_emb)


MODEL = SphereNet
