"""GemNet-Q: GemNet-T with messages over two hops, which see dihedral angles.

To the update of `molgeo.models.gemnet` one term is added, and the sum is divided by √3:

    Q_ca = W Σ_{b∈N(a)∖c} Σ_{d∈N(b)∖{a,c}} W_SBF e_SBF(d_ca, φ_cab, θ_cabd)
           ⊗ (x_db ∘ W_CBF e_CBF(d_ab, φ_abd))
    x_db = σ(W_down(σ(W m_db) ∘ W_RBF e_RBF(d_db)))

c→a and d→b are edges within ``cutoff``, a and b any two atoms within ``int_cutoff``, and
``e_SBF,lmn(d, φ, θ) = R_ln(d) Y_lm(φ, θ)``. Quadruplets are never built: the sum over them factors
into two sums over pairs of neighbours (`molgeo.ops.two_hop`).

Source:
    Gasteiger, Becker, Günnemann, NeurIPS 2021, arXiv:2106.08903, from the paper's equations and
    sizes. The paper gives GemNet-Q 2.2 M parameters; here are 2,155,462 with one output.

Deviation:
    * Those of GemNet-T.
    * Y_lm of m ≥ 0 alone. Those of m < 0 change their sign in a mirror, in which no energy may
      change. Enantiomers have the same features. That saves 4,032 weights.
    * A factor sinᵐφ_abd on Y_lm, so that the energy is smooth if a, b, d pass through a line, where
      there is no dihedral angle. ``smooth=False`` leaves it out, and the energy jumps there.
    * One scaling factor after the bilinear layer stands for two: what is between them is linear.
    * The graph has all edges within ``int_cutoff``. What is computed for those beyond ``cutoff``
      counts nowhere.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.graph.quadruplets import count_quadruplets
from molgeo.models._config import CUTOFF
from molgeo.models.gemnet import (
    GemNet,
    GemNetConfig,
    Geometry,
    RadialProduct,
    SymmetricUpdate,
    bilinear,
    embedded,
    spherical_basis,
)
from molgeo.ops.keeping_variance import Scaling, plain_dense
from molgeo.ops.room import memory_of, refuse_without_room
from molgeo.ops.segment import gather
from molgeo.ops.two_hop import TwoHopSum, bytes_needed, orders_of


@dataclass(frozen=True)
class GemNetQConfig(GemNetConfig):
    """Hyperparameters of `GemNetQ`, by default the published ones.

    Attributes:
        quad_emb: width of the messages inside the sum over quadruplets.
        quad_out: width of its bilinear layer's output.
        sbf_emb: width of the embedded basis of two angles.
        int_cutoff: Å, between the two atoms in the middle of a quadruplet.
        smooth: a factor sinᵐφ_abd makes the energy smooth at lines of three atoms; false for the
            paper's form, which jumps there.
    """

    quad_emb: int = 32
    quad_out: int = 32
    sbf_emb: int = 32
    int_cutoff: Annotated[float, CUTOFF] = 10.0
    smooth: bool = True


@dataclass(frozen=True)
class QuadrupletGeometry(Geometry):
    """What all blocks share of one geometry.

    Attributes:
        of_quadruplets: (pairs, rbf_emb) radial basis of messages that go into sums over two hops.
        hop: (pairs, n_spherical, cbf_emb) radial part of the basis of d_ab and φ_abd.
        spherical: (pairs, n_harmonics, sbf_emb) radial part of the basis of two angles.
        two_hop: the sum over quadruplets.
    """

    of_quadruplets: Tensor
    hop: Tensor
    spherical: Tensor
    two_hop: TwoHopSum


class GemNetQ(GemNet):
    """GemNet-Q, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `GemNetQConfig` that differ from ``config``.
    """

    config_class = GemNetQConfig

    def __init__(self, config: GemNetQConfig | None = None, **fields: Any) -> None:
        super().__init__(config, **fields)
        c: GemNetQConfig = self.config
        self.cutoff = max(c.cutoff, c.int_cutoff)
        self.is_smooth = c.smooth
        self.of_quadruplets = plain_dense(c.n_radial, c.rbf_emb)
        self.hop_basis = spherical_basis(c, c.int_cutoff)
        self.hop_emb = plain_dense(c.n_spherical * c.n_radial, c.cbf_emb)
        n_harmonics = len(orders_of(c.n_spherical))
        self.spherical_emb = plain_dense(n_harmonics * c.n_radial, c.sbf_emb)

    def passings(self) -> list[nn.Module]:
        """Both kinds of message passing of a block, new."""
        return [*super().passings(), QuadrupletPassing(self.config)]

    def geometry(self, unit: Tensor, d: Tensor, rbf: Tensor, graph: Graph) -> Geometry:
        """What all blocks share."""
        c: GemNetQConfig = self.config
        if not torch.compiler.is_compiling():
            self._check_memory(d, graph)
        base = super().geometry(unit, d, rbf, graph)
        orders = self.spherical(d).unbind(1)
        spherical = torch.stack([orders[l] for l in orders_of(c.n_spherical)], dim=1)
        return QuadrupletGeometry(
            **{field.name: getattr(base, field.name) for field in dataclasses.fields(base)},
            of_quadruplets=self.of_quadruplets(rbf),
            hop=embedded(self.hop_basis(d) * c.int_cutoff**-1.5, self.hop_emb),
            spherical=embedded(spherical * c.cutoff**-1.5, self.spherical_emb),
            two_hop=TwoHopSum(unit, graph, c.n_spherical, c.smooth),
        )

    def _check_memory(self, d: Tensor, graph: Graph) -> None:
        """Refuse what cannot fit, before it is built.

        Raises:
            InputError: the device has less memory than is needed.
        """
        memory, needed = memory_of(d.device), bytes_needed(graph)
        if memory is not None and needed > memory:
            n = count_quadruplets(graph, gather(d, graph.pair) < self.config.cutoff)
            refuse_without_room("quadruplets", n, -(-needed // n), graph.n_atoms, d.device)


class QuadrupletPassing(nn.Module):
    """Two-hop message passing: from d→b to c→a, over the angles at a and b and the dihedral."""

    def __init__(self, c: GemNetQConfig) -> None:
        super().__init__()
        self.source = RadialProduct(c, c.quad_emb)
        self.cbf = plain_dense(c.cbf_emb, c.quad_emb)
        self.bilinear = plain_dense(c.sbf_emb * c.quad_emb, c.quad_out)
        self.scaling = Scaling()
        self.symmetric = SymmetricUpdate(c.quad_out, c.edge_emb)

    def forward(self, m: Tensor, geometry: QuadrupletGeometry) -> Tensor:
        """Return (edges, edge_emb)."""
        graph = geometry.graph
        x = self.source(m, geometry.of_quadruplets, graph)
        v = geometry.two_hop(x, self.cbf(geometry.hop))  # (edges, n_harmonics, quad_emb)
        x = bilinear(gather(geometry.spherical, graph.pair), v, self.bilinear)
        updated: Tensor = self.symmetric(self.scaling(x), graph)
        return updated


MODEL = GemNetQ
