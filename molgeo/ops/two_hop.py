"""GemNet-Q's sum over quadruplets c→a, a–b, b←d as two sums over pairs of neighbours.

    V_ca[lm,f] = Σ_{b∈N(a)∖c} Σ_{d∈N(b)∖{a,c}} Y_lm(φ_cab, θ_cabd) sinᵐφ_abd
                 · x_db[f] Σ_k Y_k0(φ_abd) S_ab[k,f],                                    0 ≤ m ≤ l

φ are angles and θ is the dihedral angle about a–b. In any frame of the axis a–b let p and q be the
parts of û_ac and û_bd across it, as complex numbers. Then ``p̄ᵐ qᵐ = sinᵐφ_cab sinᵐφ_abd e^{imθ}``,
which no turn of the frame changes, and c and d part:

    B_ab[m,f] = Σ_{d∈N(b)∖a} qᵐ x_db[f] Σ_k Y_k0(φ_abd) S_ab[k,f]
    V_ca[lm,f] = Re Σ_{b∈N(a)∖c} N_lm Π_lm(cos φ_cab) p̄ᵐ B_ab[m,f]  −  the same for d = c

``N Π p̄ᵐ`` is the spherical harmonic, a polynomial of unit vectors. What does not part is d ≠ c. The
terms with d = c are triangles, as many as there are pairs of neighbours, and are taken off one by
one. The work grows with the pairs of neighbours of an atom, not with quadruplets, and nothing but
edges stays in memory.

Source:
    Gasteiger, Becker, Günnemann, NeurIPS 2021 (GemNet), two-hop message passing.

Deviation:
    * The factor sinᵐφ_abd. The paper has none, so that its sum jumps if a, b, d pass through a
      line, where there is no dihedral angle. ``smooth=False`` leaves it out.
    * m ≥ 0: terms with sin mθ change their sign in a mirror.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.quadruplets import closing_edges
from molgeo.ops.basis.harmonics import (
    harmonics,
    normalised_plane,
    orthonormal,
    perpendicular_axes,
    powers,
    zonal_harmonics,
)
from molgeo.ops.blocks import Block, blocks_of, joined, widest
from molgeo.ops.recompute import most_edges, recompute_if_large
from molgeo.ops.segment import expand_pairs, gather, scatter_sum
from molgeo.runtime.precision import without_autocast

ROWS_AT_A_TIME = 512
"""Padded edges taken at a time on a CPU: 4 MB of 17 neighbours · 32 float32 channels."""

PAIRS_PER_EDGE = 16
"""Pairs of an atom's neighbours whose tables take the memory of an edge in a block's layers."""

BYTES_PER_PAIR = 5_000
"""Of tables and messages of a pair of an atom's neighbours, for energies and forces; measured."""

BYTES_PER_PAIR_AGAIN = 24_000
"""The same and its gradients, if they are made again for one block of atoms at a time; measured."""

BYTES_PER_EDGE = 66_000
"""Of what all interaction blocks share, and of gradients; measured."""

BYTES_PER_EDGE_AND_BLOCK = 38_000
"""Of what is kept of one interaction block, of which there are four; measured."""


def orders_of(n_spherical: int) -> list[int]:
    """The order l of each column lm, of which m ascends first: 0 … L − 1, 1 … L − 1, and so on."""
    return [l for m in range(n_spherical) for l in range(m, n_spherical)]


def bytes_needed(graph: Graph) -> int:
    """Memory that energies and forces take, of a model of the published size in float32.

    It is 5 to 20% more than was measured, of 40 to 720 atoms, whether layers are kept or not.

    Args:
        graph: all edges a–b.
    """
    blocks, most = blocks_of(graph, ROWS_AT_A_TIME), most_edges(graph.source.device)
    of_pairs = BYTES_PER_PAIR * _pairs(blocks)
    if _pairs(blocks) // PAIRS_PER_EDGE > most:
        of_pairs = BYTES_PER_PAIR_AGAIN * max(_pairs([block]) for block in blocks)
    n_kept = 1 if graph.n_edges > most else 4  # interaction blocks, as `recompute_if_large` does
    return (BYTES_PER_EDGE + BYTES_PER_EDGE_AND_BLOCK * n_kept) * graph.n_edges + of_pairs


def _pairs(blocks: list[Block]) -> int:
    """Pairs of neighbours of one atom, padding included."""
    return sum(n_atoms * n_slots**2 for n_atoms, n_slots in (block.size for block in blocks))


class _Tables(NamedTuple):
    """What one block of atoms o has of the geometry, t and s being slots of their neighbours.

    Attributes:
        angles: (atoms, t, s, n_spherical) Y_k0 of the angle t, o, s; zero if t = s or for padding.
        given: (atoms, t, 2 n_spherical − 1, s) Re qᵐ of all m and Im qᵐ of m > 0.
        taken: for each m, (atoms, s · orders, 2 · t) the harmonics of s in the frame of t.
        closing: (atoms · t · s,) int64, edges s→t.
        closing_angles: (atoms, t, s, n_spherical) Y_k0 of the angle o, t, s; zero without an edge.
        closed: (atoms, s, n_harmonics, t) harmonics of s times sinᵐ of the angle o, t, s.
    """

    angles: Tensor
    given: Tensor
    taken: list[Tensor]
    closing: Tensor
    closing_angles: Tensor
    closed: Tensor


class TwoHopSum:
    """The sum for one geometry; call it for each set of messages.

    Args:
        unit: (pairs, 3) unit vector of each pair along its forward edge.
        graph: all edges a–b. Of those that are too long for c→a or d→b the messages are zero.
        n_spherical: number of orders.
        smooth: with the factor sinᵐφ_abd.

    Attributes:
        size: of the work, in edges of a block's layers.
        kept: the tables of all atoms, made once; None if they are made again for each use, so that
            those of one block of atoms are in memory at a time.
    """

    def __init__(self, unit: Tensor, graph: Graph, n_spherical: int, smooth: bool = True) -> None:
        self.graph, self.n_spherical, self.smooth = graph, n_spherical, smooth
        self.unit = expand_pairs(unit, graph, sign=-1.0)
        across = (gather(axis, graph.pair) for axis in perpendicular_axes(unit))
        self.frames = torch.stack([*across, self.unit], dim=1)  # (edges, 3, 3)
        self.blocks = blocks_of(graph, ROWS_AT_A_TIME)
        self.size = _pairs(self.blocks) // PAIRS_PER_EDGE
        self.kept = None
        if torch.compiler.is_compiling() or self.size <= most_edges(unit.device):
            self.kept = [self._tables(block) for block in self.blocks]

    def __call__(self, x: Tensor, radial: Tensor) -> Tensor:
        """Sum over quadruplets.

        Args:
            x: (edges, channels) messages d→b.
            radial: (pairs, n_spherical, channels) S.

        Returns:
            (edges, n_harmonics, channels) V, columns as `orders_of` says.
        """
        graph, n = self.graph, self.n_spherical
        dtype = widest((self.unit, x, radial))
        x, radial = x.to(dtype), radial.to(dtype)
        if not self.blocks:
            return x.new_zeros(graph.n_edges, n * (n + 1) // 2, x.shape[1])
        # What block k gives belongs to the edges that enter its atoms.
        reverse = joined(self.blocks, "reverse", graph)

        def over_blocks(part: Any, *operands: Tensor) -> Tensor:
            rows = [
                recompute_if_large(part, self.size, operands[0], k, *operands[1:])
                for k in range(len(self.blocks))
            ]
            return scatter_sum(torch.cat(rows), reverse, graph.n_edges)

        with without_autocast(x):
            b = over_blocks(self._give, x, radial)
            return over_blocks(self._take, b, x, radial)

    def _give(self, x: Tensor, k: int, radial: Tensor) -> Tensor:
        """B of block k, of atoms b: (edges a→b in its slots, 2 n_spherical − 1, channels)."""
        block, tables = self._block(k)
        n, slots = block.size
        x_d = block.masked(x, block.reverse).view(n, 1, slots, -1)
        messages = x_d * torch.matmul(tables.angles, _in_slots(radial, block))  # (n, a, d, f)
        return torch.matmul(tables.given, messages).flatten(0, 1)

    def _take(self, b: Tensor, k: int, x: Tensor, radial: Tensor) -> Tensor:
        """V of block k, of atoms a: (edges c→a in its slots, n_harmonics, channels)."""
        block, tables = self._block(k)
        n, slots = block.size
        b_ab = block.masked(b.flatten(1), block.edge).view(n, slots, b.shape[1], -1)
        real, imaginary = b_ab.transpose(1, 2).split(
            [self.n_spherical, self.n_spherical - 1], dim=1
        )
        columns = []
        for m, taken in enumerate(tables.taken):
            parts = [real[:, m], imaginary[:, m - 1]] if m else [real[:, 0]]
            found = torch.bmm(taken, torch.cat(parts, dim=1))  # (n, c · orders, f)
            columns.append(found.view(n * slots, -1, found.shape[-1]))
        x_cb = gather(x, tables.closing).view(n, slots, slots, -1)  # (n, b, c, f)
        closed = x_cb * torch.matmul(tables.closing_angles, _in_slots(radial, block))
        closed = torch.matmul(tables.closed, closed.transpose(1, 2))  # (n, c, lm, f)
        return torch.cat(columns, dim=1) - closed.flatten(0, 1)

    def _block(self, k: int) -> tuple[Block, _Tables]:
        block = self.blocks[k]
        return block, self._tables(block) if self.kept is None else self.kept[k]

    def _tables(self, block: Block) -> _Tables:
        with without_autocast(self.unit):
            return self._made(block)

    def _made(self, block: Block) -> _Tables:
        n, slots = block.size
        frames = block.masked(self.frames.flatten(1), block.edge).view(n, slots, 3, 3)
        unit = frames[:, :, 2]  # û_o→s
        mask = block.triplets
        x, y, z = torch.bmm(frames.flatten(1, 2), unit.mT).view(n, slots, 3, slots).unbind(2)
        columns = self._harmonics(x, y, z, mask).permute(0, 2, 3, 1)  # (n, s, lm ±, t)
        widths = [(2 if m else 1) * (self.n_spherical - m) for m in range(self.n_spherical)]
        taken = columns.split(widths, dim=2)
        # û_t→s, of the edges s→t, in the frame of t, which is that of o→t.
        edge = block.edge.view(n, slots)
        closing, found = closing_edges(self.graph, edge.unsqueeze(1), edge.unsqueeze(2))
        found = found & mask
        way = -gather(self.unit, closing.flatten()).view(n, slots, slots, 3)  # (n, t, s, 3)
        u, v, w = torch.matmul(way, frames.mT).unbind(-1)
        return _Tables(
            angles=zonal_harmonics(z, self.n_spherical) * mask.unsqueeze(-1),
            given=torch.stack(self._powers(x, y), dim=2),
            taken=[
                one.reshape(n, slots * (self.n_spherical - m), -1) for m, one in enumerate(taken)
            ],
            closing=closing.flatten(),
            closing_angles=zonal_harmonics(-w, self.n_spherical) * found.unsqueeze(-1),
            closed=self._closed(taken, [q.mT for q in self._powers(u, v)]),
        )

    def _powers(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Re qᵐ for m = 0 … L − 1, then Im qᵐ for m = 1 … L − 1, of ``q = x + iy``."""
        if not self.smooth:
            x, y = normalised_plane(x, y)
        real, imaginary = powers(x, y, self.n_spherical)
        return [*real, *imaginary[1:]]

    def _harmonics(self, x: Tensor, y: Tensor, z: Tensor, mask: Tensor) -> Tensor:
        """``N Π Re pᵐ`` and ``N Π Im pᵐ`` of each l ≥ m, m after m: (n, t, s, columns)."""
        n = self.n_spherical
        found = harmonics(z, *powers(x, y, n), orthonormal(n)).unbind(-1)  # lm at l² + l + m
        columns = [
            found[l * l + l + sign * m]
            for m in range(n)
            for l in range(m, n)
            for sign in ((1, -1) if m else (1,))
        ]
        return torch.stack(columns, dim=-1) * mask.unsqueeze(-1)

    def _closed(self, taken: tuple[Tensor, ...], q: list[Tensor]) -> Tensor:
        """``N Π Re p̄ᵐ qᵐ``, (n, s, n_harmonics, t)."""
        n, found = self.n_spherical, []
        for m, columns in enumerate(taken):
            if m == 0:
                found.append(columns)
            else:
                real, imaginary = columns.unflatten(2, (n - m, 2)).unbind(3)
                found.append(real * q[m].unsqueeze(2) + imaginary * q[n + m - 1].unsqueeze(2))
        return torch.cat(found, dim=2)


def _in_slots(radial: Tensor, block: Block) -> Tensor:
    """S of the edges in the slots of a block, (atoms, slots, n_spherical, channels)."""
    return gather(radial, block.pair).view(*block.size, *radial.shape[1:])
