"""Sums over triplets k→j→i that see both angles of k from the edge j→i.

    m_ji[c] = Σ_{k∈N(j)∖i} x_kj[c] (Σ_l Y_l0(θ) S_kj[l,c]) (Σ_lm Y_lm(θ, φ) T_kj[lm,c])

θ is the angle between j→i and j→k, φ a torsion about j→i. The filters come in two factors each,
``S_kj[l,c] = Σ_b s_kj[l,b] V[c,b]`` and ``T_kj[lm,c] = Σ_b t_kj[lm,b] W[c,b]``.

The torsion needs a reference. There are two forms:

* ``next``: that of SphereNet, the torsion from k to the next neighbour of j, anticlockwise if the
  edge points at who looks. A neighbour that is alone is its own next one, after a whole turn. The
  choice jumps when one neighbour overtakes another. Those that are in one half-plane, to 0.06°, are
  not next to each other, and those on the line of the edge have no torsion.
* ``smooth``: the torsions to all neighbours at once, each weighed by an envelope of its distance:

      sinᵐθ cos mφ  →  Re (x_k + iy_k)ᵐ V̄_m / √(1 + |V_m|²),
      V_m = Σ_{k∈N(j)∖i} u(d_jk) (x_k + iy_k)ᵐ

  with ``x + iy`` in any frame of the edge. All derivatives are continuous. The imaginary parts,
  which change sign in a mirror, are left out.

The first does not factor into sums over neighbours, as the reference is one of each triplet. The
second does, but the product of two filters of L orders has 2L − 1, whose harmonics would have to
be turned into the frame of each edge: some 2,200 products for each channel of an edge if L = 7,
where sixteen neighbours take 600. So triplets are explicit, in padded blocks of atoms whose sizes
the host knows.

Source:
    Liu, Wang, Liu, Lin, Zhang, Oztekin, Ji, ICLR 2022 (SphereNet), section 3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.basis.envelope import PolynomialEnvelope
from molgeo.ops.basis.harmonics import (
    COLLINEAR,
    harmonics,
    normalised_plane,
    orthonormal,
    perpendicular_axes,
    powers,
)
from molgeo.ops.blocks import Block, blocks_of
from molgeo.ops.dense import linear
from molgeo.ops.room import refuse_without_room
from molgeo.ops.segment import expand_pairs, gather, scatter_sum

EDGES_PER_BLOCK = 256
"""Padded edges taken at a time on a CPU: 4,000 triplets of a molecule, 1 MB of 64 channels."""

HALF_PLANE = 1e-3
"""Difference of `_turn` up to which two neighbours are in one half-plane with the edge."""

WHOLE_TURN = 4.0
"""Of `_turn`."""

BYTES_PER_TRIPLET = {True: 4000, False: 300}
"""Kept by a model of the published size in float32, with derivatives and without: by its four
blocks, and by the harmonics alone. Training on forces takes 10,000."""


class TorsionSum:
    """The sum for one geometry; call it for each pair of features and filters.

    Args:
        delta: (pairs, 3) Å, along each pair's forward edge.
        d: (pairs,) Å.
        graph: the edges.
        n_spherical: number of orders l = 0 … n_spherical − 1.
        cutoff: Å, beyond which nothing is a reference.
        smooth: the form, ``smooth`` or ``next``.

    Attributes:
        n_triplets: their number, those of padding included.

    Raises:
        InputError: the triplets are more than the memory of the device could hold.
    """

    def __init__(
        self, delta: Tensor, d: Tensor, graph: Graph, n_spherical: int, cutoff: float, smooth: bool
    ) -> None:
        self.graph = graph
        self.blocks = blocks_of(graph, EDGES_PER_BLOCK)
        self.n_triplets = sum(block.triplets.numel() for block in self.blocks)
        each = BYTES_PER_TRIPLET[torch.is_grad_enabled()]
        refuse_without_room("triplets", self.n_triplets, each, graph.n_atoms, d.device)
        self.orders = [l for l in range(n_spherical) for _ in range(l + 1 if smooth else 2 * l + 1)]
        zonal = [self.orders.index(l) + (0 if smooth else l) for l in range(n_spherical)]
        unit = expand_pairs(delta / d.unsqueeze(-1), graph, sign=-1.0)
        envelope = PolynomialEnvelope(cutoff, divided=False)(d).unsqueeze(-1)  # (pairs, 1)
        self.harmonics, self.zonal = [], []
        for block in self.blocks:
            v = gather(unit, block.edge).view(*block.size, 3)
            weight = gather(envelope, block.pair).view(*block.size, 1)
            y = _harmonics(v, weight, block, n_spherical, smooth)
            self.harmonics.append(y)  # (atoms, k, i, components)
            self.zonal.append(torch.stack([y[..., n] for n in zonal], dim=-1))

    def __call__(self, x: Tensor, s: Tensor, v: Tensor, t: Tensor, w: Tensor) -> Tensor:
        """Sum over triplets.

        Args:
            x: (edges, channels) features x_kj.
            s: (pairs, n_spherical, rank) the first filters' factor, the same in both directions.
            v: (channels, rank) its other factor.
            t: (pairs, components, rank) the second filters' factor.
            w: (channels, rank) its other factor.

        Returns:
            (edges, channels) messages m_ji.
        """
        rows, edges = [x[:0]], [self.graph.source[:0]]
        for block, y, zonal in zip(self.blocks, self.harmonics, self.zonal, strict=True):
            n, k = block.size
            angular = linear(_contract(zonal, gather(s, block.pair)), v)  # (atoms, k, i, channels)
            angular = angular * linear(_contract(y, gather(t, block.pair)), w)
            x_kj = gather(x, block.reverse).view(n, k, 1, -1)
            m = (angular * x_kj).sum(1).flatten(0, 1)  # (atoms · i, channels)
            rows.append(m * block.filled)
            edges.append(block.edge)
        return scatter_sum(torch.cat(rows), torch.cat(edges), x.shape[0])


def _contract(y: Tensor, factor: Tensor) -> Tensor:
    """``Σ_lm Y_lm(k, i) t_k[lm, b]``, (atoms, k, i, rank)."""
    n, k = y.shape[:2]
    return torch.bmm(y.flatten(0, 1), factor).view(n, k, y.shape[2], -1)


def _harmonics(v: Tensor, weight: Tensor, block: Block, n_spherical: int, smooth: bool) -> Tensor:
    """Y_lm of all k as seen from all edges j→i, zero if they are no triplet.

    Args:
        v: (atoms, slots, 3) unit vectors of the outgoing edges.
        weight: (atoms, slots, 1) envelope of their distances.
        block: the slots.
        n_spherical: number of orders.
        smooth: the form.

    Returns:
        (atoms, slots k, slots i, components).
    """
    x, y, z = (torch.bmm(v, axis.mT) for axis in (*perpendicular_axes(v), v))
    kept = block.triplets
    if smooth:
        real = _to_all(x, y, weight * kept, n_spherical)
        imaginary = None
    else:
        real, imaginary = powers(*_to_next(x, y, kept & (weight > 0)), n_spherical)
    return harmonics(z, real, imaginary, orthonormal(n_spherical)) * kept.unsqueeze(-1)


def _to_all(x: Tensor, y: Tensor, weight: Tensor, n_spherical: int) -> list[Tensor]:
    """``Re (x_k + iy_k)ᵐ V̄_m / √(1 + |V_m|²)`` for each m, V_m the weighed sum over k."""
    found = []
    for m, (real, imaginary) in enumerate(zip(*powers(x, y, n_spherical), strict=True)):
        if m == 0:
            found.append(real)
            continue
        v_real = (weight * real).sum(1, keepdim=True)
        v_imaginary = (weight * imaginary).sum(1, keepdim=True)
        norm = (1.0 + v_real.square() + v_imaginary.square()).rsqrt()
        found.append((real * v_real + imaginary * v_imaginary) * norm)
    return found


def _to_next(x: Tensor, y: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """``sin θ_k exp(iφ)``, with φ the turn from k to the next neighbour; zero if there is none."""
    with torch.no_grad():
        has_torsion = kept & (x.square() + y.square() > COLLINEAR)
        turn = _turn(x, y).masked_fill(~has_torsion, math.inf).mT.contiguous()  # over k last
        order = torch.cat([turn, turn + WHOLE_TURN], dim=-1).sort(dim=-1)
        place = torch.searchsorted(order.values, turn + HALF_PLANE)
        place = place.clamp(max=order.indices.shape[-1] - 1)
        following = (order.indices.gather(-1, place) % turn.shape[-1]).mT
    real, imaginary = (part.gather(1, following) * has_torsion for part in normalised_plane(x, y))
    return x * real + y * imaginary, x * imaginary - y * real


def _turn(x: Tensor, y: Tensor) -> Tensor:
    """A number from −2 to 2 that grows with the angle of x + iy from −180° to 180°."""
    size = x.abs() + y.abs()
    return (1.0 - x / size.clamp(min=1e-30)).copysign(y)
