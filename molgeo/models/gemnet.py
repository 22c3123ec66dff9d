"""GemNet-T: geometric message passing between edges, over angles.

    m_ca ← σ(W [h_c ‖ h_a ‖ e_RBF(d_ca)])
    x_ca ← (σ(W m_ca) + sym σ(W_out T_ca)) / √2                                  n_blocks times
           T_ca = W Σ_{b∈N(a)∖c} W_CBF e_CBF(d_ca, φ_cab) ⊗ x_ba
           x_ba = σ(W_down(σ(W m_ba) ∘ W_RBF e_RBF(d_ba)))
    m_ca ← residual layers of (m_ca + residual layers of x_ca) / √2
    h_a  ← (h_a + MLP(Σ_c m_ca ∘ W_RBF e_RBF(d_ca))) / √2
    m_ca ← (m_ca + residual layers of σ(W [h_c ‖ h_a ‖ m_ca])) / √2
    out_a ← Σ over blocks of W MLP(Σ_c m_ca ∘ W_RBF e_RBF(d_ca))
    F_a   ← Σ_c ½(F_ca + F_ac) r̂_ca,  F_ca = Σ over blocks of W (MLP(m_ca) ∘ W_RBF e_RBF(d_ca))

F_a are the forces of GemNet-dT, ``direct_forces: true``. They take no derivative by positions, so
that a step of training costs half. They are not the gradient of the energy, which dynamics then
does not conserve. Without them forces are the gradient.

Messages are symmetric: both directions of an edge take part in the update of each,
``sym σ(W x_ca) = (σ(W x_ca) + σ(W′ x_ac)) / √2``. σ is SiLU/0.6. The first layer of each basis is
shared by all blocks. After each sum, and each product with a radial basis, stands a factor that
`GemNet.fit_factors` sets once before a training, so that its output has a variance of one.

The basis of the angle is ``e_CBF,ln(d, φ) = R_ln(d) Y_l0(φ)``. The distance is that of the edge
that receives, so that the sum over b comes first and the bilinear layer acts on edges: there are
never triplets (`molgeo.ops.directional.zonal`).

Source:
    Gasteiger, Becker, Günnemann, NeurIPS 2021, arXiv:2106.08903, from the paper's equations and
    sizes. The paper gives GemNet-T 1.9 M parameters; here are 1,893,318 with one output.

Deviation:
    * Direct forces are those of pairs, whose atoms pull at each other alike, so that momentum and
      angular momentum do not change. The layer that they end in starts at zero.
    * The factors make the variance over all rows and channels one, on one batch.
    * An embedding of 100 elements.

    With ``n_out=None`` the output blocks end in ``atom_emb`` channels for molgeo's heads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.models import Backbone, resolve_config
from molgeo.models._config import AngularOrders, EnvelopeExponent, RadialFunctions
from molgeo.ops.activation import SCALED_SILU
from molgeo.ops.basis.radial import BesselBasis
from molgeo.ops.basis.spherical import SphericalBesselBasis
from molgeo.ops.dense import Dense, by_rows, linear
from molgeo.ops.directional.zonal import ZonalSum, zonal_sum
from molgeo.ops.keeping_variance import (
    HALF,
    Scaling,
    active_dense,
    plain_dense,
    residual_layers,
)
from molgeo.ops.recompute import recompute_if_large
from molgeo.ops.segment import expand_pairs, fold_pairs, gather, scale_pairs, scatter_sum


@dataclass(frozen=True)
class GemNetConfig:
    """Hyperparameters of `GemNet`, by default the published ones.

    Attributes:
        atom_emb: width of the atoms' features.
        edge_emb: width of the messages.
        n_blocks: interaction blocks.
        triplet_emb: width of the messages inside the sum over angles.
        triplet_out: width of the bilinear layer's output.
        rbf_emb: width of the embedded radial bases.
        cbf_emb: width of the embedded basis of the angle.
        n_spherical: angular orders.
        n_radial: radial functions of all bases.
        cutoff: Å.
        envelope_exponent: of all bases.
        n_before_skip: residual layers before the skip connection of a block.
        n_after_skip: residual layers after it.
        n_concat: residual layers after messages meet atoms.
        n_atom_layers: residual layers of atoms, in blocks and outputs.
        direct_forces: give forces from the messages, in place of the energy's gradient.
        n_out: channels of the published readout; None makes a backbone for molgeo's heads.
    """

    atom_emb: int = 128
    edge_emb: int = 128
    n_blocks: int = 4
    triplet_emb: int = 64
    triplet_out: int = 64
    rbf_emb: int = 16
    cbf_emb: int = 16
    n_spherical: AngularOrders = 7
    n_radial: RadialFunctions = 6
    cutoff: float = 5.0
    envelope_exponent: EnvelopeExponent = 5
    n_before_skip: int = 1
    n_after_skip: int = 1
    n_concat: int = 1
    n_atom_layers: int = 2
    direct_forces: bool = False
    n_out: int | None = 1


@dataclass(frozen=True)
class Geometry:
    """What all blocks share of one geometry.

    Attributes:
        graph: the edges.
        unit: (pairs, 3) along each pair's forward edge.
        rbf: (pairs, n_radial) radial basis.
        of_triplets: (pairs, rbf_emb) radial basis of messages that go into sums over angles.
        of_atoms: (pairs, rbf_emb) of messages to atoms.
        of_outputs: (pairs, rbf_emb) of messages to outputs.
        circular: (pairs, n_spherical, cbf_emb) radial part of the angle's basis.
        angles: the sum over angles.
    """

    graph: Graph
    unit: Tensor
    rbf: Tensor
    of_triplets: Tensor
    of_atoms: Tensor
    of_outputs: Tensor
    circular: Tensor
    angles: ZonalSum


class GemNet(Backbone):
    """GemNet-T, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `GemNetConfig` that differ from ``config``.
    """

    config_class: type[GemNetConfig] = GemNetConfig

    def __init__(self, config: GemNetConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: Any = resolve_config(self.config_class, config, fields)
        c = self.config
        self.cutoff = c.cutoff
        self.feature_dim = c.atom_emb if c.n_out is None else c.n_out
        self.radial = BesselBasis(c.n_radial, c.cutoff, c.envelope_exponent)
        self.spherical = spherical_basis(c, c.cutoff)
        self.of_triplets, self.of_atoms, self.of_outputs = (
            plain_dense(c.n_radial, c.rbf_emb) for _ in range(3)
        )
        self.circular = plain_dense(c.n_spherical * c.n_radial, c.cbf_emb)
        self.elements = nn.Embedding(self.n_elements, c.atom_emb)
        nn.init.uniform_(self.elements.weight, -math.sqrt(3.0), math.sqrt(3.0))
        self.embedding = EdgeUpdate(c, c.n_radial)
        self.interactions = nn.ModuleList(
            InteractionBlock(c, self.passings()) for _ in range(c.n_blocks)
        )
        self.outputs = nn.ModuleList(OutputBlock(c) for _ in range(c.n_blocks + 1))
        n_forces = c.n_blocks + 1 if c.direct_forces else 0
        self.forces = nn.ModuleList(ForceBlock(c) for _ in range(n_forces))

    def passings(self) -> list[nn.Module]:
        """The kinds of message passing of a block, new."""
        return [TripletPassing(self.config)]

    def geometry(self, unit: Tensor, d: Tensor, rbf: Tensor, graph: Graph) -> Geometry:
        """What all blocks share.

        Args:
            unit: (pairs, 3) unit vector of each pair along its forward edge.
            d: (pairs,) Å.
            rbf: (pairs, n_radial) of d.
            graph: edges within `cutoff`.
        """
        return Geometry(
            graph,
            unit,
            rbf,
            self.of_triplets(rbf),
            self.of_atoms(rbf),
            self.of_outputs(rbf),
            embedded(self.spherical(d) * self.config.cutoff**-1.5, self.circular),
            zonal_sum(unit, graph, self.config.n_spherical),
        )

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Output of every atom: features for heads, or the published readout's summands."""
        geometry = self._geometry_at(pos, graph)
        return _total(self.outputs, self.messages(z, geometry), geometry)

    def features_and_forces(
        self, z: Tensor, pos: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor | None]:
        """The same, with the direct forces if there are any."""
        if not self.direct_forces:
            return self.atom_features(z, pos, graph), None
        geometry = self._geometry_at(pos, graph)
        messages = [*self.messages(z, geometry)]
        along = fold_pairs(_total(self.forces, messages, geometry), graph)  # (pairs, 1)
        on_edges = expand_pairs(0.5 * along * geometry.unit, graph, sign=-1.0)
        forces = scatter_sum(on_edges, graph.target, graph.n_atoms)
        return _total(self.outputs, messages, geometry), forces

    @torch.no_grad()
    def scale_forces(self, factor: float) -> None:
        """Multiply the direct forces, if there are any."""
        blocks: Any = self.forces
        for block in blocks:
            block.last.weight *= factor

    def messages(self, z: Tensor, geometry: Geometry) -> Iterator[Tensor]:
        """Messages after the embedding and after each block, (edges, edge_emb)."""
        graph = geometry.graph
        h = self.elements(z)
        m = self.embedding(h, gather(geometry.rbf, graph.pair), graph)
        yield m
        blocks: Any = self.interactions
        for block in blocks:
            m = recompute_if_large(block.messages, graph.n_edges, m, geometry)
            h = block.atoms(h, m, geometry)
            m = recompute_if_large(block.edges, graph.n_edges, m, h, graph)
            yield m

    def _geometry_at(self, pos: Tensor, graph: Graph) -> Geometry:
        delta = graph.displacements(pos)
        d = torch.linalg.vector_norm(delta, dim=-1)
        rbf = self.radial(d) * math.sqrt(2.0 / self.config.cutoff**3)
        return self.geometry(delta / d.unsqueeze(-1), d, rbf, graph)

    def fit_factors(self, z: Tensor, pos: Tensor, graph: Graph) -> None:
        """Set the scaling factors, so that what they give has a variance of one.

        Args:
            z: (atoms,) int64 atomic numbers of a batch of training molecules.
            pos: (atoms, 3) Å.
            graph: of the batch.
        """
        factors = [module for module in self.modules() if isinstance(module, Scaling)]
        try:
            for one in factors:
                one.is_fitted = False
            with torch.no_grad():
                self.features_and_forces(z, pos, graph)
        finally:
            for one in factors:
                one.is_fitted = True


class InteractionBlock(nn.Module):
    """Update messages by messages, atoms by messages, and messages by atoms.

    Args:
        c: hyperparameters.
        passings: what is added to the messages, each a module of messages and `Geometry`.
    """

    def __init__(self, c: GemNetConfig, passings: Sequence[nn.Module]) -> None:
        super().__init__()
        self.own = active_dense(c.edge_emb, c.edge_emb)
        self.passings = nn.ModuleList(passings)
        self.before_skip = residual_layers(c.edge_emb, c.n_before_skip)
        self.after_skip = residual_layers(c.edge_emb, c.n_after_skip)
        self.to_atoms = AtomSum(c)
        self.concat = EdgeUpdate(c, c.edge_emb)
        self.after_concat = residual_layers(c.edge_emb, c.n_concat)

    def messages(self, m: Tensor, geometry: Geometry) -> Tensor:
        """Messages from messages, (edges, edge_emb)."""
        terms = [passing(m, geometry) for passing in self.passings]

        def update(m: Tensor, *terms: Tensor) -> Tensor:
            x = self.own(m)
            for term in terms:
                x = x + term
            x = self.before_skip(x * (1 + len(terms)) ** -0.5)
            updated: Tensor = self.after_skip((m + x) * HALF)
            return updated

        return by_rows(update, m, *terms)

    def atoms(self, h: Tensor, m: Tensor, geometry: Geometry) -> Tensor:
        """Atoms from messages, (atoms, atom_emb)."""
        return (h + self.to_atoms(m, geometry.of_atoms, geometry.graph)) * HALF

    def edges(self, m: Tensor, h: Tensor, graph: Graph) -> Tensor:
        """Messages from atoms, (edges, edge_emb)."""
        return (m + by_rows(self.after_concat, self.concat(h, m, graph))) * HALF


class TripletPassing(nn.Module):
    """One-hop message passing: from b→a to c→a, over the angle at a."""

    def __init__(self, c: GemNetConfig) -> None:
        super().__init__()
        self.source = RadialProduct(c, c.triplet_emb)
        self.bilinear = plain_dense(c.cbf_emb * c.triplet_emb, c.triplet_out)
        self.scaling = Scaling()
        self.symmetric = SymmetricUpdate(c.triplet_out, c.edge_emb)

    def forward(self, m: Tensor, geometry: Geometry) -> Tensor:
        """Return (edges, edge_emb)."""
        graph = geometry.graph
        x = self.source(m, geometry.of_triplets, graph)
        v = geometry.angles(x)  # (edges, n_spherical, triplet_emb)
        x = bilinear(gather(geometry.circular, graph.pair), v, self.bilinear)
        updated: Tensor = self.symmetric(self.scaling(x), graph)
        return updated


class RadialProduct(nn.Module):
    """``σ(W_down(σ(W m) ∘ W_RBF e_RBF))``: messages that are zero at the cutoff, and narrower."""

    def __init__(self, c: GemNetConfig, width: int) -> None:
        super().__init__()
        self.dense = active_dense(c.edge_emb, c.edge_emb)
        self.rbf = plain_dense(c.rbf_emb, c.edge_emb)
        self.scaling = Scaling()
        self.down = active_dense(c.edge_emb, width)

    def forward(self, m: Tensor, rbf: Tensor, graph: Graph) -> Tensor:
        """Return (edges, width)."""
        x = self.scaling(scale_pairs(self.dense(m), self.rbf(rbf), graph))
        narrow: Tensor = self.down(x)
        return narrow


class SymmetricUpdate(nn.Module):
    """``(σ(W x_ca) + σ(W′ x_ac)) / √2``."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.along, self.against = active_dense(n_in, n_out), active_dense(n_in, n_out)

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        """Return (edges, n_out)."""
        return (self.along(x) + gather(self.against(x), graph.reverse)) * HALF


class EdgeUpdate(nn.Module):
    """``σ(W [h_c ‖ h_a ‖ x_ca])``, with atoms multiplied before they are copied to edges."""

    def __init__(self, c: GemNetConfig, width: int) -> None:
        super().__init__()
        self.widths = c.atom_emb, c.atom_emb, width
        self.dense = plain_dense(sum(self.widths), c.edge_emb)

    def forward(self, h: Tensor, x: Tensor, graph: Graph) -> Tensor:
        """Return (edges, edge_emb)."""
        weights = (w.contiguous() for w in self.dense.weight.split(self.widths, dim=1))
        at_source, at_target, own = (linear(y, w) for y, w in zip((h, h, x), weights, strict=True))
        ends = gather(at_source, graph.source) + gather(at_target, graph.target)
        return SCALED_SILU.value(ends + own)


class AtomSum(nn.Module):
    """``MLP(Σ_c m_ca ∘ W_RBF e_RBF)``."""

    def __init__(self, c: GemNetConfig) -> None:
        super().__init__()
        self.rbf = plain_dense(c.rbf_emb, c.edge_emb)
        self.scaling = Scaling()
        self.dense = active_dense(c.edge_emb, c.atom_emb)
        self.layers = residual_layers(c.atom_emb, c.n_atom_layers)

    def forward(self, m: Tensor, rbf: Tensor, graph: Graph) -> Tensor:
        """Return (atoms, atom_emb)."""
        x = scatter_sum(scale_pairs(m, self.rbf(rbf), graph), graph.target, graph.n_atoms)
        features: Tensor = self.layers(self.dense(self.scaling(x)))
        return features


class OutputBlock(nn.Module):
    """Messages to outputs of atoms."""

    def __init__(self, c: GemNetConfig) -> None:
        super().__init__()
        self.sum = AtomSum(c)
        self.last = plain_dense(c.atom_emb, c.atom_emb if c.n_out is None else c.n_out)

    def forward(self, m: Tensor, geometry: Geometry) -> Tensor:
        """Return (atoms, feature_dim)."""
        out: Tensor = self.last(self.sum(m, geometry.of_outputs, geometry.graph))
        return out


class ForceBlock(nn.Module):
    """Messages to what pulls along each edge, ``W (MLP(m_ca) ∘ W_RBF e_RBF(d_ca))``."""

    def __init__(self, c: GemNetConfig) -> None:
        super().__init__()
        self.dense = active_dense(c.edge_emb, c.edge_emb)
        self.layers = residual_layers(c.edge_emb, c.n_atom_layers)
        self.rbf = plain_dense(c.rbf_emb, c.edge_emb)
        self.scaling = Scaling()
        self.last = Dense(c.edge_emb, 1, bias=False)
        nn.init.zeros_(self.last.weight)

    def forward(self, m: Tensor, geometry: Geometry) -> Tensor:
        """Return (edges, 1)."""
        x = by_rows(lambda m: self.layers(self.dense(m)), m)
        x = self.scaling(scale_pairs(x, self.rbf(geometry.of_outputs), geometry.graph))
        along: Tensor = self.last(x)
        return along


def _total(blocks: nn.ModuleList, messages: Iterable[Tensor], geometry: Geometry) -> Tensor:
    """The sum over output or force blocks of what each makes of its messages."""
    total: Tensor = sum(block(m, geometry) for block, m in zip(blocks, messages, strict=True))
    return total


def bilinear(basis: Tensor, v: Tensor, dense: Dense) -> Tensor:
    """``Σ_if W[·,i,f] Σ_l T[l,i] V[l,f]``, the efficient bilinear layer.

    Args:
        basis: (edges, orders, basis channels) T, of the edge that receives.
        v: (edges, orders, channels) V, sums over neighbours.
        dense: of basis channels · channels.

    Returns:
        (edges, n_out).
    """
    out: Tensor = dense(torch.bmm(basis.mT, v).flatten(1))
    return out


def embedded(basis: Tensor, dense: Dense) -> Tensor:
    """``T[l,i] = Σ_n R_ln W[i,(l,n)]`` of each pair, (pairs, n_spherical, width)."""
    weight = dense.weight.view(-1, *basis.shape[1:])
    return torch.einsum("pln,iln->pli", basis, weight)


def spherical_basis(c: GemNetConfig, cutoff: float) -> SphericalBesselBasis:
    """R_ln with the paper's envelope."""
    exponent = c.envelope_exponent
    return SphericalBesselBasis(c.n_spherical, c.n_radial, cutoff, exponent, "paper")


MODEL = GemNet
