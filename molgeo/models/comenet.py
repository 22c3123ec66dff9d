"""ComENet: messages between neighbours that see how each lies about the nearest atoms of both.

    e_ij = (j_l(z_ln d/c) Y_lm(θ_ij, φ_ij)),    t_ij = (j_l(z_ln d/c) Y_l0(τ_ij))
    x_i ← act(W x_i)                                                           n_blocks times
    a_i = act(W (U Σ_j W₂W₁ e_ij ∘ x_j + V x_i)),    b_i likewise with t_ij
    h_i = x_i + W [a_i ‖ b_i];    h_i ← h_i + act(W h_i), n_residual times
    x_i ← W norm(h_i)
    out = Σ_i MLP(x_i)

The frame of atom i has the way to its nearest neighbour f_i as its axis and to its second one s_i
as the direction of φ = 0. θ and φ are the two angles of j in it. τ is the dihedral angle about the
edge, f_i–i–j–f_j; if j is f_i, or i is f_j, the second neighbour takes the place of the first.
There are no triplets, and the geometry is complete all the same: (d, θ, φ) give the surroundings of
each atom, and τ how those of two atoms are turned.

Which atom is nearest jumps, and rounding decides if two are equally near, as in a symmetrical
molecule. φ has a sign, so that enantiomers are told apart.

``smooth`` is for forces and dynamics. All neighbours together are the references, weighed by an
envelope u and an exponential of the distance, the first of which makes much of the nearest:

    F_i = Σ_j u(d_ij) exp(2 − 2 d_ij/Å) r̂_ij,    S_i = Σ_j u(d_ij) exp(1 − d_ij/Å) r̂_ij

Both are divided by √(|·|² + δ²) instead of their lengths, as are the parts of F_i and F_j that are
perpendicular to an edge, whose product stands for cos τ. δ = 0.05. With n = F × S the coordinates
of r̂ in the frame are r̂·(n × F), r̂·n and r̂·F. Of Y_lm cos mφ alone is used, so that mirror images
are the same, and the radial functions have an envelope. All derivatives are then continuous, linear
and symmetrical molecules included.

Source:
    Wang, Liu, Lin, Liu, Ji, "ComENet: Towards Complete and Efficient Message Passing for 3D
    Molecular Graphs", NeurIPS 2022, arXiv:2206.08515. The default sizes give 4.2 million weights,
    as the paper says.

Deviation:
    * the features of an atom are normalised by themselves. To normalise over the atoms of a
      molecule, as the published program does, lets an atom depend on others at any distance, and
      leaves an atom that is alone without features;
    * the width between both layers on a basis, ``middle``, is chosen so that the number of weights
      is the paper's;
    * an embedding has no activation after it, which the published program has, and starts at
      N(0, 1);
    * constant factors of the radial functions are left out;
    * a torsion is zero if it has no reference, because there is no second neighbour or it is on the
      line of the axis to 0.06°: harmonics with m ≠ 0, and cos τ, are zero then.

    W₂W₁ is multiplied first, as nothing is between both. With ``n_out=None`` there is no MLP, and
    molgeo's heads take x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.models import Backbone, glorot_uniform, resolve_config
from molgeo.models._config import AngularOrders, RadialFunctions
from molgeo.ops.basis.envelope import PolynomialEnvelope
from molgeo.ops.basis.harmonics import (
    COLLINEAR,
    harmonics,
    orthonormal,
    powers,
    zonal_harmonics,
)
from molgeo.ops.basis.spherical import SphericalBesselBasis
from molgeo.ops.blocks import blocks_of
from molgeo.ops.dense import ActivatedDense, Dense, linear
from molgeo.ops.recompute import recompute_if_large
from molgeo.ops.segment import expand_pairs, gather, scatter_sum

EDGES_PER_BLOCK = 2048
"""Padded edges among which nearest neighbours are looked for at a time on a CPU."""

SOFTENING = 0.05
"""δ, the length of a reference of which half the square is left."""


@dataclass(frozen=True)
class ComENetConfig:
    """Hyperparameters of `ComENet`, by default the published ones.

    Attributes:
        hidden: width of the atom features.
        middle: width between both layers on a basis.
        n_blocks: interaction blocks.
        n_residual: residual layers of a block.
        n_output_layers: hidden layers of the readout.
        n_spherical: angular orders.
        n_radial: radial functions of each order.
        cutoff: Å.
        smooth: all neighbours as references in place of the nearest, for a smooth energy surface.
        n_out: channels of the published readout; None makes a backbone for molgeo's heads.
    """

    hidden: int = 256
    middle: int = 256
    n_blocks: int = 4
    n_residual: int = 3
    n_output_layers: int = 3
    n_spherical: AngularOrders = 2
    n_radial: RadialFunctions = 3
    cutoff: float = 8.0
    smooth: bool = False
    n_out: int | None = 1


class ComENet(Backbone):
    """ComENet, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `ComENetConfig` that differ from ``config``.
    """

    n_elements = 95
    linear_in_edges = True

    def __init__(self, config: ComENetConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: ComENetConfig = resolve_config(ComENetConfig, config, fields)
        c = self.config
        self.cutoff, self.feature_dim = c.cutoff, c.hidden
        self.is_smooth, self.tells_mirror_images = c.smooth, not c.smooth
        self.embedding = nn.Embedding(self.n_elements, c.hidden)
        self.radial = SphericalBesselBasis(
            c.n_spherical, c.n_radial, c.cutoff, envelope="paper" if c.smooth else None
        )
        self.blocks = nn.ModuleList(Interaction(c) for _ in range(c.n_blocks))
        if c.n_out is not None:
            layers = [ActivatedDense(c.hidden, c.hidden) for _ in range(c.n_output_layers)]
            self.readout = nn.Sequential(*layers, Dense(c.hidden, c.n_out))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights and zero biases; N(0, 1) embeddings."""
        self.embedding.reset_parameters()
        glorot_uniform(self)

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Features of every atom in its surroundings, (atoms, feature_dim)."""
        delta = graph.displacements(pos)
        d = torch.linalg.vector_norm(delta, dim=-1)
        local, torsion = self.features(delta / d.unsqueeze(-1), d, graph)
        x = self.embedding(z)
        for block in self.blocks:
            x = recompute_if_large(block, graph.n_edges, x, local, torsion, graph)
        return x

    def features(self, unit: Tensor, d: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """What an edge i→j tells: e_ij and t_ij, (edges, functions) each.

        Args:
            unit: (pairs, 3) along each pair's forward edge.
            d: (pairs,) Å.
            graph: edges within `cutoff`, or more of them.
        """
        n = self.config.n_spherical
        v = expand_pairs(unit, graph, sign=-1.0)  # (edges, 3), r̂_ij
        found = (_weighed if self.config.smooth else _nearest)(v, d, graph, self.cutoff)
        x, y, z = ((v * axis).sum(-1) for axis in found.frame)
        real, imaginary = powers(x, y, n)
        y_lm = harmonics(z, real, None if self.config.smooth else imaginary, orthonormal(n))
        r_ln = gather(self.radial(d), graph.pair)  # (edges, n_spherical, n_radial)
        orders = y_lm.split([l + 1 if self.config.smooth else 2 * l + 1 for l in range(n)], dim=-1)
        local = [
            (y_l.unsqueeze(-1) * r_l.unsqueeze(-2)).flatten(1)
            for y_l, r_l in zip(orders, r_ln.unbind(1), strict=True)
        ]
        torsion = zonal_harmonics(found.cosine, n).unsqueeze(-1) * r_ln
        return torch.cat(local, dim=-1), torsion.flatten(1)


class References(NamedTuple):
    """What the directions of edges are compared with.

    Attributes:
        frame: three (edges, 3) axes x, y, z of the atom that an edge leaves.
        cosine: (edges,) cos τ of the references of both ends.
    """

    frame: tuple[Tensor, Tensor, Tensor]
    cosine: Tensor


def _nearest(v: Tensor, d: Tensor, graph: Graph, cutoff: float) -> References:
    """By the two nearest neighbours of each atom."""
    first, second = _nearest_edges(d, graph, cutoff)
    # One row more is that of no edge.
    directions = torch.cat([v, v.new_zeros(1, 3)])
    f, s = gather(directions, first), gather(directions, second)  # (atoms, 3)
    across = _unit(_perpendicular(s, f))
    frame = across, torch.linalg.cross(f, across), f

    edge = torch.arange(graph.n_edges, device=v.device)
    ends = ((graph.source, edge), (graph.target, graph.reverse))
    a, b = (
        _unit(_perpendicular(torch.where((first[i] == own)[:, None], s[i], f[i]), v))
        for i, own in ends
    )
    return References(_at_source(frame, graph), (a * b).sum(-1))


@torch.no_grad()
def _nearest_edges(d: Tensor, graph: Graph, cutoff: float) -> tuple[Tensor, Tensor]:
    """The edges from each atom to its nearest and its second neighbour; n_edges for none."""
    found = [graph.batch.new_full((graph.n_atoms,), graph.n_edges) for _ in range(2)]
    for block in blocks_of(graph, EDGES_PER_BLOCK):
        edge, distance = block.edge.view(block.size), d[block.pair].view(block.size)
        is_none = ~block.filled.view(block.size) | (distance >= cutoff)
        distance = distance.masked_fill(is_none, math.inf)
        for result in found:
            slot = distance.argmin(dim=1, keepdim=True)
            is_any = distance.gather(1, slot) < math.inf
            nearest = edge.gather(1, slot).where(is_any, graph.n_edges)
            result.index_copy_(0, block.atoms, nearest.squeeze(1))
            distance = distance.scatter(1, slot, math.inf)
    return found[0], found[1]


def _weighed(v: Tensor, d: Tensor, graph: Graph, cutoff: float) -> References:
    """By all neighbours, weighed by their distances."""
    envelope = PolynomialEnvelope(cutoff, divided=False)(d)

    def total(rate: float) -> Tensor:
        weight = gather(envelope * torch.exp(rate * (1.0 - d)), graph.pair)
        return scatter_sum(weight.unsqueeze(-1) * v, graph.source, graph.n_atoms)

    sums = total(2.0)  # (atoms, 3)
    f, s = _softened(sums), _softened(total(1.0))
    normal = torch.linalg.cross(f, s)
    frame = torch.linalg.cross(normal, f), normal, f
    ends = (graph.source, graph.target)
    a, b = (_softened(_perpendicular(gather(sums, i), v)) for i in ends)
    return References(_at_source(frame, graph), (a * b).sum(-1))


def _at_source(frame: tuple[Tensor, ...], graph: Graph) -> tuple[Tensor, Tensor, Tensor]:
    x, y, z = (gather(axis, graph.source) for axis in frame)
    return x, y, z


def _perpendicular(a: Tensor, axis: Tensor) -> Tensor:
    """The part of a that is perpendicular to unit vectors."""
    return a - (a * axis).sum(-1, keepdim=True) * axis


def _unit(a: Tensor) -> Tensor:
    """Vectors of unit length; zero if they were as good as zero."""
    square = a.square().sum(-1, keepdim=True)
    is_any = square > COLLINEAR
    return a * square.where(is_any, 1.0).rsqrt() * is_any


def _softened(a: Tensor) -> Tensor:
    """Vectors no longer than 1: ``a / √(|a|² + δ²)``."""
    return a * (a.square().sum(-1, keepdim=True) + SOFTENING**2).rsqrt()


class Interaction(nn.Module):
    """Self-atom layer, local layer, layer of torsions, and residual layers."""

    def __init__(self, c: ComENetConfig) -> None:
        super().__init__()
        n = c.n_spherical
        components = n * (n + 1) // 2 if c.smooth else n * n
        self.itself = ActivatedDense(c.hidden, c.hidden)
        self.local = Convolution(c, components * c.n_radial)
        self.torsion = Convolution(c, n * c.n_radial)
        self.both = Dense(2 * c.hidden, c.hidden)
        self.residual = nn.ModuleList(
            ActivatedDense(c.hidden, c.hidden) for _ in range(c.n_residual)
        )
        self.norm = nn.LayerNorm(c.hidden)
        self.last = Dense(c.hidden, c.hidden)

    def forward(self, x: Tensor, local: Tensor, torsion: Tensor, graph: Graph) -> Tensor:
        """Return new features, (atoms, hidden)."""
        x = self.itself(x)
        h = torch.cat([self.local(x, local, graph), self.torsion(x, torsion, graph)], dim=-1)
        h = self.both(h) + x
        for layer in self.residual:
            h = h + layer(h)
        new: Tensor = self.last(self.norm(h))
        return new


class Convolution(nn.Module):
    """``act(W (U Σ_j W₂W₁ e_ij ∘ x_j + V x_i))``."""

    def __init__(self, c: ComENetConfig, n_functions: int) -> None:
        super().__init__()
        self.first = Dense(n_functions, c.middle, bias=False)
        self.second = Dense(c.middle, c.hidden, bias=False)
        self.neighbours = Dense(c.hidden, c.hidden)
        self.own = Dense(c.hidden, c.hidden, bias=False)
        self.after = ActivatedDense(c.hidden, c.hidden)

    def forward(self, x: Tensor, functions: Tensor, graph: Graph) -> Tensor:
        """Features (atoms, hidden) and functions of edges to (atoms, hidden)."""
        filters = linear(functions, self.second.weight @ self.first.weight)  # (edges, hidden)
        total = scatter_sum(filters * gather(x, graph.target), graph.source, graph.n_atoms)
        after: Tensor = self.after(self.neighbours(total) + self.own(x))
        return after


MODEL = ComENet
