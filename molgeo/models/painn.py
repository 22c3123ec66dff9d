"""PaiNN: messages of scalars and of vectors, which turn with the molecule.

    s_i ← embedding(z_i),   v_i ← 0
    φ_j = W₂ silu(W₁ s_j),   W(d) = (L e(d)) · ½(1 + cos(πd/cutoff))
    s_i ← s_i + Σ_{j∈N(i)} φ^s_j ∘ W^s(d_ij)                                    n_blocks times
    v_i ← v_i + Σ_{j∈N(i)} v_j ∘ φ^v_j ∘ W^v(d_ij) + r̂_ij (φ^r_j ∘ W^r(d_ij))
    a_i = V₂ silu(V₁ [s_i ‖ |Q v_i|])
    s_i ← s_i + a^s_i + a^p_i ∘ ⟨P v_i, Q v_i⟩
    v_i ← v_i + a^v_i ∘ P v_i

with ``e_n(d) = sin(nπd/cutoff)/d``, r̂_ij from i to j, and sums of the three components in | | and
⟨ ⟩. φ, W and a have three parts each. Vectors are mixed and scaled, never changed by a function of
their components, so that they turn with the molecule, and scalars do not change. Scalar products
of the sums v_i are sums over pairs of neighbours, of cos ∠jik; a vector that has come from a
neighbour takes its surroundings along, so that two blocks see dihedral angles too.

Source:
    Schütt, Unke, Gastegger, "Equivariant message passing for the prediction of tensorial properties
    and molecular spectra", ICML 2021, arXiv:2102.03150, eq. 7 to 9. The default sizes give 589,057
    weights, 600 thousand in the paper.

Deviation:
    * |x| is √(|x|² + δ²), δ = 0.05, since |x| has a kink at zero, where the vectors of an atom in a
      symmetrical place are: forces would jump there;
    * molgeo's heads take s, also for dipoles; the paper's readout of tensors is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Interval
from torch import Tensor, nn

from molgeo.graph import Graph
from molgeo.models import MOST, Backbone, glorot_uniform, resolve_config
from molgeo.models._config import RadialFunctions
from molgeo.ops.basis.envelope import cosine_cutoff
from molgeo.ops.basis.radial import SineBasis
from molgeo.ops.dense import ActivatedDense, Dense, by_rows
from molgeo.ops.density import NeighbourDensity
from molgeo.ops.filter import continuous_filter
from molgeo.ops.segment import expand_pairs

LEAST_LENGTH = 0.05
"""δ, the length that a vector of zero has."""


@dataclass(frozen=True)
class PaiNNConfig:
    """Hyperparameters of `PaiNN`, by default the published ones.

    Attributes:
        n_features: width of the scalars and of the vectors of an atom.
        n_blocks: interaction blocks.
        n_radial: radial basis functions.
        cutoff: Å.
        n_out: channels of the readout, a two-layer network per atom; None leaves it out, for
            molgeo's heads.
    """

    n_features: Annotated[int, Interval(ge=2, le=MOST)] = 128
    n_blocks: int = 3
    n_radial: RadialFunctions = 20
    cutoff: float = 5.0
    n_out: int | None = 1


class PaiNN(Backbone):
    """PaiNN, called as ``model(z, pos, batch)``.

    Args:
        config: hyperparameters; None for the published ones.
        **fields: fields of `PaiNNConfig` that differ from ``config``.
    """

    n_elements = 100
    linear_in_edges = True

    def __init__(self, config: PaiNNConfig | None = None, **fields: Any) -> None:
        super().__init__()
        self.config: PaiNNConfig = resolve_config(PaiNNConfig, config, fields)
        c = self.config
        self.cutoff, self.feature_dim = c.cutoff, c.n_features
        self.embedding = nn.Embedding(self.n_elements, c.n_features)
        self.basis = SineBasis(c.n_radial, c.cutoff)
        self.messages = nn.ModuleList(Message(c, n > 0) for n in range(c.n_blocks))
        self.updates = nn.ModuleList(Update(c) for _ in range(c.n_blocks))
        if c.n_out is not None:
            self.readout = nn.Sequential(
                ActivatedDense(c.n_features, c.n_features // 2),
                Dense(c.n_features // 2, c.n_out),
            )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Glorot-uniform weights and zero biases; N(0, 1) embeddings."""
        self.embedding.reset_parameters()
        glorot_uniform(self)

    def atom_features(self, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Scalars of every atom in its surroundings, (atoms, feature_dim)."""
        return self.scalars_and_vectors(z, pos, graph)[0]

    def scalars_and_vectors(self, z: Tensor, pos: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
        """Scalars s and vectors v of every atom in its surroundings.

        Returns:
            (atoms, n_features), the same however the molecule is turned, and
            (atoms, 3, n_features), which turn with it.
        """
        delta = graph.displacements(pos)  # (pairs, 3), along each pair's forward edge
        d = torch.linalg.vector_norm(delta, dim=-1)
        rbf, envelope = self.basis(d), cosine_cutoff(d, self.cutoff).unsqueeze(-1)
        unit = expand_pairs(delta / d.unsqueeze(-1), graph, sign=-1.0)  # (edges, 3)
        directions = NeighbourDensity(unit, graph)
        s = self.embedding(z)
        v = s.new_zeros(s.shape[0], 3, s.shape[1])
        for message, update in zip(self.messages, self.updates, strict=True):
            s, v = message(s, v, rbf, envelope, directions)
            s, v = update(s, v)
        return s, v


class Message(nn.Module):
    """What the neighbours add to an atom's scalars and vectors.

    Args:
        c: of the model.
        carries: the neighbours' vectors too, which are zero before the first block.
    """

    def __init__(self, c: PaiNNConfig, carries: bool) -> None:
        super().__init__()
        self.carries = carries
        self.hidden = ActivatedDense(c.n_features, c.n_features)
        self.parts = Dense(c.n_features, 3 * c.n_features)
        self.filter = Dense(c.n_radial, 3 * c.n_features)

    def forward(
        self, s: Tensor, v: Tensor, rbf: Tensor, envelope: Tensor, directions: NeighbourDensity
    ) -> tuple[Tensor, Tensor]:
        """Return s and v with their messages; the shapes stay."""
        of_s, of_v, of_r = self.parts(self.hidden(s)).chunk(3, dim=-1)  # (atoms, n_features) each
        filters = by_rows(self.filters, rbf, envelope)  # (pairs, 3 n_features)
        w_s, w_v, w_r = filters.chunk(3, dim=-1)
        new_s = s + continuous_filter(of_s, w_s, directions.graph)
        new_v = v + directions(of_r, w_r)
        if self.carries:
            components = (v * of_v.unsqueeze(1)).unbind(1)  # x, y and z, (atoms, n_features) each
            carried = [continuous_filter(x, w_v, directions.graph) for x in components]
            new_v = new_v + torch.stack(carried, dim=1)
        return new_s, new_v

    def filters(self, rbf: Tensor, envelope: Tensor) -> Tensor:
        """``W(d)``: (rows, n_radial) and (rows, 1) → (rows, 3 n_features)."""
        filters: Tensor = self.filter(rbf) * envelope
        return filters


class Update(nn.Module):
    """What an atom's scalars and vectors do to each other."""

    def __init__(self, c: PaiNNConfig) -> None:
        super().__init__()
        self.mixtures = Dense(c.n_features, 2 * c.n_features, bias=False)  # P above Q
        self.hidden = ActivatedDense(2 * c.n_features, c.n_features)
        self.parts = Dense(c.n_features, 3 * c.n_features)

    def forward(self, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return s and v with their changes; the shapes stay."""
        p, q = self.mixtures(v).chunk(2, dim=-1)  # (atoms, 3, n_features) each
        length = (q.square().sum(1) + LEAST_LENGTH**2).sqrt()
        a_s, a_p, a_v = self.parts(self.hidden(torch.cat([s, length], dim=-1))).chunk(3, dim=-1)
        return s + a_s + a_p * (p * q).sum(1), v + a_v.unsqueeze(1) * p


MODEL = PaiNN
