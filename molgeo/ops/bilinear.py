"""The bilinear sum over triplets k→j→i of the original DimeNet, without a triplet's channels.

    m_ji[c] = Σ_{k∈N(j)∖i} Σ_b a_kji[b] Σ_d W[c,b,d] x_kj[d],    a_kji[b] = Σ_l Y_l0(α) T_kj[l,b]

Taken literally, the bilinear weight W meets every triplet. But it acts on x_kj alone, which belongs
to an edge, and a molecule has some fifteen times fewer of them. Hence ``gram`` does, for the whole
neighbourhood of an atom j,

    V_k[b,c] = Σ_d W[c,b,d] x_kj[d]
    Q_ki[b] = Σ_l Y_l0(α) T_kj[l,b]
    m_ji[c] = Σ_k Σ_b Q_ki[b] V_k[b,c]

as three matrix products, in blocks of atoms that stay in a core's cache. Nothing larger than
triplets × bilinear channels is formed. ``reference`` goes over explicit triplets and is the oracle.

The angle enters as its cosine, of which ``Y_l0`` is a polynomial. Its vertex is a choice:

    paper        cos α = û_ji · û_kj                     at atom j
    reference    cos α = û_ij · (R_k − R_i)/|R_k − R_i|   at atom i, as in published code

Source:
    Gasteiger, Groß, Günnemann, ICLR 2020 (DimeNet), eq. 4 and the bilinear layer of its interaction
    block.

Deviation:
    The paper's α = ∠kji is the supplement of the one here, whose cosine has the other sign. That
    turns the sign of odd orders l, which the weights behind T take up.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.graph.triplets import triplets
from molgeo.ops.blocks import Block, blocks_of, joined, widest
from molgeo.ops.dense import linear
from molgeo.ops.directional import zonal_harmonics
from molgeo.ops.directional.mapped import ROWS_PER_BLOCK
from molgeo.ops.segment import expand_pairs, gather, scatter_sum
from molgeo.runtime.precision import without_autocast

Angle = Literal["paper", "reference"]
BilinearForm = Literal["gram", "reference"]


class BilinearSum(Protocol):
    """The sum for one geometry; call it for each set of features and weights."""

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        """Sum over triplets.

        Args:
            x: (edges, c_in) features x_kj.
            radial: (pairs, n_spherical, n_bilinear) T, the same in both directions.
            weight: (c_out, n_bilinear, c_in) W.

        Returns:
            (edges, c_out) messages m_ji, of the widest type of the arguments.
        """


def bilinear_sum(
    delta: Tensor,
    graph: Graph,
    n_spherical: int,
    angle: Angle = "paper",
    form: BilinearForm = "gram",
) -> BilinearSum:
    """Prepare the bilinear sum for one geometry.

    Args:
        delta: (pairs, 3) displacement of each pair along its forward edge in Å.
        graph: the edges.
        n_spherical: number of orders l = 0 … n_spherical − 1.
        angle: ``paper``, at atom j, or ``reference``, at atom i.
        form: ``gram`` or ``reference``; both give the same result.

    Returns:
        The sum, a function of features and weights, differentiable to any order, also if α is 0°
        or 180°.

    Raises:
        ValueError: ``angle`` or ``form`` is unknown.
    """
    if angle not in ("paper", "reference"):
        raise ValueError(f"angle: expected 'paper' or 'reference', got {angle!r}")
    if form == "gram":
        return _Gram(delta, graph, n_spherical, angle)
    if form == "reference":
        return _Reference(delta, graph, n_spherical, angle)
    raise ValueError(f"form: expected 'gram' or 'reference', got {form!r}")


class _Reference:
    """Explicit triplets: Θ(triplets · n_bilinear · c_out) memory."""

    def __init__(self, delta: Tensor, graph: Graph, n_spherical: int, angle: Angle) -> None:
        self.graph = graph
        self.kj, self.ji = triplets(graph)
        v = expand_pairs(delta, graph, sign=-1.0)
        u = expand_pairs(_unit(delta), graph, sign=-1.0)
        if angle == "paper":
            cosine = (u[self.ji] * u[self.kj]).sum(-1)
        else:
            cosine = _cosine_at_target(v[self.kj] + v[self.ji], u[self.ji])
        self.harmonics = zonal_harmonics(cosine, n_spherical)

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        dtype = widest((self.harmonics, x, radial, weight))
        x, radial, weight = x.to(dtype), radial.to(dtype), weight.to(dtype)
        a = torch.einsum("tl,tlb->tb", self.harmonics.to(dtype), radial[self.graph.pair[self.kj]])
        v = torch.einsum("ed,cbd->ebc", x, weight)
        messages = torch.einsum("tb,tbc->tc", a, v[self.kj])
        return messages.new_zeros(x.shape[0], weight.shape[0]).index_add(0, self.ji, messages)


class _Gram:
    """Three matrix products for each atom, over blocks of atoms of similar degree."""

    def __init__(self, delta: Tensor, graph: Graph, n_spherical: int, angle: Angle) -> None:
        self.blocks = blocks_of(graph, ROWS_PER_BLOCK)
        self.edge, self.reverse, self.pair = (
            joined(self.blocks, name, graph) for name in ("edge", "reverse", "pair")
        )
        self.rows = [block.edge.numel() for block in self.blocks]
        v, u = (
            self._in_blocks(expand_pairs(x, graph, sign=-1.0), self.edge)
            for x in (delta, _unit(delta))
        )
        with without_autocast(delta):  # angles need all their digits
            self.harmonics = [
                _block_harmonics(*parts, n_spherical, angle)
                for parts in zip(v, u, self.blocks, strict=True)
            ]

    def __call__(self, x: Tensor, radial: Tensor, weight: Tensor) -> Tensor:
        if not self.harmonics:
            return x.new_zeros(x.shape[0], weight.shape[0])
        dtype = widest((self.harmonics[0], x, radial, weight))
        with without_autocast(x):
            x, radial, weight = x.to(dtype), radial.to(dtype), weight.to(dtype)
            w = weight.transpose(0, 1).flatten(0, 1)  # (n_bilinear · c_out, c_in)
            x_kj = self._in_blocks(x, self.reverse)
            t_kj = self._in_blocks(radial, self.pair)
            sums = [_block_sum(*parts, w) for parts in zip(self.harmonics, x_kj, t_kj, strict=True)]
            # Messages of padded slots are zero, as their harmonics are.
            return scatter_sum(torch.cat(sums), self.edge, x.shape[0])

    def _in_blocks(self, x: Tensor, index: Tensor) -> tuple[Tensor, ...]:
        """Rows in the slots of each block."""
        return gather(x, index).split(self.rows)


def _block_sum(y: Tensor, x: Tensor, t: Tensor, w: Tensor) -> Tensor:
    """Messages j→i of a block, (atoms · slots, c_out), from harmonics, x_kj, T_kj and W."""
    atoms, slots = y.shape[:2]
    y = y.flatten(0, 1).to(x.dtype)
    q = torch.bmm(t.transpose(1, 2), y.transpose(1, 2))  # (atoms · slots k, n_bilinear, slots i)
    q = q.view(atoms, -1, slots)  # (atoms, slots k · n_bilinear, slots i)
    v = linear(x, w).view(*q.shape[:2], -1)  # (atoms, slots k · n_bilinear, c_out)
    return torch.bmm(q.transpose(1, 2), v).flatten(0, 1)


def _block_harmonics(v: Tensor, u: Tensor, block: Block, n_spherical: int, angle: Angle) -> Tensor:
    """Y_l0(α) of a block, (atoms, slots k, slots i, n_spherical); zero for k = i and padding."""
    v, u = v.view(*block.size, 3), u.view(*block.size, 3)
    if angle == "paper":
        cosine = -torch.bmm(u, u.transpose(1, 2))  # û_kj = −û_jk
    else:
        cosine = _cosine_at_target(v.unsqueeze(1) - v.unsqueeze(2), u.unsqueeze(1))
    return zonal_harmonics(cosine, n_spherical) * block.triplets.unsqueeze(-1)


def _cosine_at_target(path: Tensor, u_ji: Tensor) -> Tensor:
    """Cosine of ∠(i→j, i→k) from ``path``, R_i − R_k along k→j→i: the same images."""
    # Zero, with finite derivatives, if the path is: k = i, or atoms that coincide.
    squared = path.square().sum(-1)
    return (path * u_ji).sum(-1) / torch.sqrt(squared + (squared == 0))


def _unit(delta: Tensor) -> Tensor:
    return delta / torch.linalg.vector_norm(delta, dim=-1, keepdim=True)
