"""SpectrumNet: SchNet's convolution with spherical harmonics, and their power spectrum.

    h_i ← embedding(z_i)
    A_i,lm ← Σ_{j∈N(i)} C_lm(r̂_ij) W(d_ij) ∘ (U h_j)                   l = 0 … n_spherical − 1
    p_i,l ← Σ_m (Q_l A_i,lm) ∘ (R_l A_i,lm)                             l > 0
    h_i ← h_i + V₂ silu(V₁ [A_i,00 ‖ p_i,1 ‖ p_i,2 ‖ …])               n_blocks times
    W(d) = L g(d) · ½(1 + cos(πd/cutoff))

with a Gaussian expansion g and ``Σ_m C_lm(u) C_lm(v) = P_l(u·v)`` (Racah's normalisation), so

    p_i,l[c] = Σ_{j,k∈N(i)} (Q_l m_ij)[c] (R_l m_ik)[c] P_l(cos ∠jik),   m_ij = W(d_ij) ∘ (U h_j)

a sum over all angles at atom i, j = k included, of a low rank in both neighbours' messages.
With ``charges`` the total charge Q of a molecule is shared out after the first block, by weights
that an atom's surroundings decide; a neutral molecule has none to share:

    h_i ← h_i + q_i v(h_i),   q_i = Q w_i / Σ_j w_j,   w_i = softplus(s·h_i + b)

with v and w of their own for either sign of Q. Before training v is zero.

Triplets are never formed. Features are invariant; harmonics are polynomials of unit vectors, so
that all derivatives are finite wherever no two atoms coincide, at linear angles too.

Source:
    The local interaction of SpookyNet: Unke, Chmiela, Gastegger, Schütt, Sauceda, Müller, Nat.
    Commun. 12, 7273 (2021), which takes p and d orbitals (l ≤ 2) and products of two mixtures of
    each. The convolution is SchNet's (Schütt et al., NeurIPS 2017); the invariants are a learned
    form of SOAP's power spectrum (Bartók, Kondor, Csányi, Phys. Rev. B 87, 184115 (2013)).

Deviation:
    From SpookyNet: orders up to l = 3; one filter and one set of neighbours' features for all of
    them; invariants are concatenated, not added; no residual networks between; Gaussians; neither
    spin, nonlocal interactions nor terms of physics. SpookyNet shares out the charge by elements
    alone; here it is by surroundings, so that an ion far from a molecule need not touch it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Interval
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.models import MOST, Backbone, glorot_uniform, resolve_config
from molgeo.models._config import AngularOrders
from molgeo.ops.basis.envelope import cosine_cutoff
from molgeo.ops.basis.harmonics import racah_harmonics
from molgeo.ops.basis.radial import GaussianBasis
from molgeo.ops.dense import ActivatedDense, Dense
from molgeo.ops.density import NeighbourDensity
from molgeo.ops.segment import expand_pairs, gather, molecule_sum


@dataclass(frozen=True)
class SpectrumNetConfig:
    """Hyperparameters of `SpectrumNet`.

    Attributes:
        n_features: width of the atom features.
        n_filters: width of the convolution.
        n_products: products Q_l A ∘ R_l A of each order l > 0.
        n_blocks: interaction blocks.
        n_gaussians: radial basis functions between 0 and the cutoff.
        n_spherical: angular orders, l = 0 included.
        cutoff: Å.
        charges: take the molecules' total charges as an input.
        all_blocks: give the features after every block, side by side, and not the last ones alone:
            for what is learned from few molecules, which near surroundings tell much of.
        n_out: channels of the readout, a two-layer network per atom; None leaves it out, for
            molgeo's heads.
    """

    n_features: Annotated[int, Interval(ge=2, le=MOST)] = 128
    n_filters: Annotated[int, Interval(ge=1, le=MOST)] = 64
    n_products: Annotated[int, Interval(ge=1, le=MOST)] = 64
    n_blocks: int = 4
    n_gaussians: Annotated[int, Interval(ge=2, le=MOST)] = 48
    n_spherical: AngularOrders = 4
    cutoff: float = 5.0
    charges: bool = False
    all_blocks: bool = False
    n_out: int | None = 1


class SpectrumNet(Backbone):
    """SpectrumNet, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the defaults.
        **fields: fields of `SpectrumNetConfig` that differ from ``config``.
    """

    n_elements = 100
    linear_in_edges = True
    grows_by = ("charges", "all_blocks")

    def __init__(self, config: SpectrumNetConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: SpectrumNetConfig = resolve_config(SpectrumNetConfig, config, fields)
        c = self.config
        self.cutoff = c.cutoff
        self.feature_dim = c.n_features * (c.n_blocks if c.all_blocks else 1)
        self.embedding = nn.Embedding(self.n_elements, c.n_features)
        self.basis = GaussianBasis(0.0, c.cutoff, c.n_gaussians)
        self.blocks = nn.ModuleList(Interaction(c) for _ in range(c.n_blocks))
        self.takes_charge = c.charges
        if c.charges:
            self.charge = ChargeShares(c.n_features)
        if c.n_out is not None:
            self.readout = nn.Sequential(
                ActivatedDense(self.feature_dim, c.n_features // 2),
                Dense(c.n_features // 2, c.n_out),
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights and zero biases; N(0, 1) embeddings."""
        self.embedding.reset_parameters()
        glorot_uniform(self)
        if self.takes_charge:
            nn.init.zeros_(self.charge.value.weight)

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Features of every atom in its surroundings, (atoms, feature_dim)."""
        delta = graph.displacements(pos)  # (pairs, 3), along each pair's forward edge
        d = torch.linalg.vector_norm(delta, dim=-1)
        rbf = self.basis(d) * cosine_cutoff(d, self.cutoff).unsqueeze(-1)  # (pairs, n_gaussians)
        unit = expand_pairs(delta / d.unsqueeze(-1), graph, sign=-1.0)  # (edges, 3)
        density = NeighbourDensity(racah_harmonics(unit, self.config.n_spherical), graph)
        h = self.embedding(z)  # (atoms, n_features)
        found = []
        for n, block in enumerate(self.blocks):
            h = h + block(h, rbf, density)
            if n == 0 and self.takes_charge and graph.charge is not None:
                h = h + self.charge(h, graph)
            found.append(h)
        return torch.cat(found, dim=-1) if self.config.all_blocks else h


class Interaction(nn.Module):
    """One convolution with harmonics, its power spectrum, and dense layers."""

    def __init__(self, c: SpectrumNetConfig) -> None:
        super().__init__()
        self.filter = Dense(c.n_gaussians, c.n_filters, bias=False)
        self.before = Dense(c.n_features, c.n_filters, bias=False)
        self.factors = nn.ModuleList(  # Q_l and R_l, one above the other
            Dense(c.n_filters, 2 * c.n_products, bias=False) for _ in range(1, c.n_spherical)
        )
        n_invariants = c.n_filters + (c.n_spherical - 1) * c.n_products
        self.after = ActivatedDense(n_invariants, c.n_features)
        self.update = Dense(c.n_features, c.n_features)

    def forward(self, h: Tensor, rbf: Tensor, density: NeighbourDensity) -> Tensor:
        """Return the update of ``h``, (atoms, n_features)."""
        a = density(self.before(h), self.filter(rbf))  # (atoms, n_spherical², n_filters)
        orders = a.split([2 * l + 1 for l in range(len(self.factors) + 1)], dim=1)
        invariants = [orders[0].squeeze(1)]
        for a_l, factors in zip(orders[1:], self.factors, strict=True):
            q, r = factors(a_l).chunk(2, dim=-1)  # (atoms, 2 l + 1, n_products) each
            invariants.append((q * r).sum(1))  # (atoms, n_products)
        update: Tensor = self.update(self.after(torch.cat(invariants, dim=-1)))
        return update


class ChargeShares(nn.Module):
    """What its share of the molecule's total charge adds to an atom's features."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.weight = Dense(n_features, 2)  # of positive charges, of negative ones
        self.value = Dense(n_features, 2 * n_features, bias=False)

    def forward(self, h: Tensor, graph: Graph) -> Tensor:
        """Return the change of ``h``, (atoms, n_features); zero in neutral molecules."""
        q = self.shares(h, graph)
        positive, negative = self.value(h).chunk(2, dim=-1)
        return q * negative.where(q < 0, positive)

    def shares(self, h: Tensor, graph: Graph) -> Tensor:
        """Return q, (atoms, 1), of the sign of the molecule's total charge, which is their sum."""
        assert graph.charge is not None
        total = gather(graph.charge.to(h.dtype), graph.batch).unsqueeze(-1)  # Q of the molecule
        positive, negative = nn.functional.softplus(self.weight(h)).chunk(2, dim=-1)
        w = negative.where(total < 0, positive)
        return total * w / gather(molecule_sum(w, graph), graph.batch)


MODEL = SpectrumNet
