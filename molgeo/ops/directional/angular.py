"""What the angles do in the neighbourhood of an atom: the linear map Θ from Z to the messages.

    m_i[c] = Σ_{k≠i} Σ_l Y_l0(α_ik) Z_k[l,c],    i, k the slots of one atom

For one block of atoms with equally many slots, `Gram` and `Harmonic` offer the same:

* ``forward(z)``: Θz, the messages;
* ``transposed(g)``: Θᵀg;
* ``gradient(g, z)``: derivative of ⟨g, Θz⟩ by the geometry;
* ``along(tangent)``: the same three, differentiated along a change of the geometry.

Shapes: z (rows, n_spherical, channels), g (rows, channels), geometry (rows, width), with rows =
atoms · slots.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from molgeo.ops.basis.harmonics import zonal_harmonics, zonal_norm
from molgeo.ops.blocks import Block
from molgeo.ops.constants import constant


class Map(Protocol):
    """Θ of one block, or its derivative along a change of the geometry."""

    def forward(self, z: Tensor) -> Tensor:
        """(rows, n_spherical, channels) → (rows, channels)."""

    def transposed(self, g: Tensor) -> Tensor:
        """(rows, channels) → (rows, n_spherical, channels)."""

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """Derivative of ⟨g, Θz⟩ by the geometry, (rows, width)."""


class Angular(Map, Protocol):
    """Θ of one block."""

    def along(self, tangent: Tensor) -> Map:
        """Its derivative along a change of the geometry, (rows, width)."""


class _Matrices:
    """Θ as one matrix per atom.

    Args:
        v: (atoms, slots, 3) unit vectors of the outgoing edges.
        y: (atoms, slots i, slots k, n_spherical) Y_l0, zero for k = i and padding.
        dy: the same of its derivative by the cosine; None if nothing is differentiated.
    """

    def __init__(self, v: Tensor, y: Tensor, dy: Tensor | None) -> None:
        self.v, self.y, self.dy = v, y, dy

    def forward(self, z: Tensor) -> Tensor:
        """Θz."""
        z = z.view(self.y.shape[0], -1, z.shape[-1])
        return torch.bmm(self.y.flatten(2), z).flatten(0, 1)

    def transposed(self, g: Tensor) -> Tensor:
        """Θᵀg."""
        g = g.view(*self.y.shape[:2], -1)
        return torch.bmm(self.y.flatten(2).mT, g).view(g.shape[0] * g.shape[1], -1, g.shape[2])

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """Derivative of ⟨g, Θz⟩ by the geometry."""
        assert self.dy is not None
        return _turn(_contract(self.dy, g, z), self.v)


class Gram(_Matrices):
    """Θ from the Gram matrix of an atom's unit vectors, which are the geometry.

    They belong to the outgoing edges, so ``cos α_ik = −v_i·v_k``. ``first`` asks for what
    derivatives need.
    """

    def __init__(self, v: Tensor, block: Block, n_spherical: int, first: bool) -> None:
        v = v.view(*block.size, 3)
        self.kept = block.triplets.unsqueeze(-1)
        self.cosine = -torch.bmm(v, v.mT)  # c_ik = −v_i·v_k
        dy = self._table(n_spherical, 1) if first else None
        super().__init__(v, self._table(n_spherical, 0), dy)

    def _table(self, n_spherical: int, derivative: int) -> Tensor:
        """Y_l0, or a derivative of it by the cosine, of all triplets."""
        return zonal_harmonics(self.cosine, n_spherical, derivative).mul_(self.kept)

    def along(self, tangent: Tensor) -> Map:
        """The derivative of Θ along a change of the unit vectors."""
        return _GramTangent(self, tangent.view(self.v.shape))


class _GramTangent(_Matrices):
    """``dY_ik = Y′(c_ik) dc_ik`` with ``dc_ik = −(dv_i·v_k + v_i·dv_k)``."""

    def __init__(self, at: Gram, tangent: Tensor) -> None:
        assert at.dy is not None
        self.at, self.tangent = at, tangent
        turn = torch.bmm(at.v, tangent.mT)  # v_i·dv_k
        turn = -(turn + turn.mT).unsqueeze(-1)  # dc_ik
        super().__init__(at.v, at.dy * turn, at._table(at.y.shape[-1], 2).mul_(turn))

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """Derivative of ⟨g, Θz⟩ by the geometry."""
        assert self.at.dy is not None
        return super().gradient(g, z).add_(_turn(_contract(self.at.dy, g, z), self.tangent))


def _contract(dy: Tensor, g: Tensor, z: Tensor) -> Tensor:
    """``D_ik = Σ_l Y_l′(α_ik) Σ_c g_i[c] z_k[l,c]``, (atoms, slots i, slots k)."""
    n, k, _, n_spherical = dy.shape
    g, z = g.view(n, k, -1), z.view(n, k * n_spherical, -1)
    return torch.bmm(g, z.transpose(1, 2)).view(dy.shape).mul_(dy).sum(-1)


def _turn(d: Tensor, v: Tensor) -> Tensor:
    """``−Σ_b (D_ab + D_ba) v_b``, as both ends of a cosine turn, (rows, 3)."""
    return torch.bmm(d + d.transpose(1, 2), v).neg_().flatten(0, 1)


def _parity(n_spherical: int) -> Tensor:
    """``(−1)ˡ`` of each lm."""
    signs = [(-1.0) ** l for l in range(n_spherical) for _ in range(2 * l + 1)]
    return torch.tensor(signs, dtype=torch.float64)


def _opposite(n_spherical: int) -> Tensor:
    """``(−1)ˡ Y_l0(0)`` of each l, which is Y_l0 at 180°."""
    values = [(-1.0) ** l * zonal_norm(l) for l in range(n_spherical)]
    return torch.tensor(values, dtype=torch.float64)


class Harmonic:
    """Θ by the addition theorem: linear in the number of neighbours.

    ``Y_l0(α_ik) = Σ_m (−1)ˡ H_lm(v_i) H_lm(v_k)``, so that an atom collects all of its neighbours
    once, ``A[lm] = Σ_k (−1)ˡ H_lm(v_k) z_k[l]``, and ``m_i = Σ_lm H_lm(v_i) A[lm]`` less what its
    own reverse edge (k = i, α = 180°) gave.

    The geometry is the harmonics H. Θ is linear in those of i and in those of k, hence its change
    along a tangent is the same with each of them in turn replaced by the tangent.

    With a ``tangent``, like h, this is the derivative of Θ along it; ``first`` has no meaning.
    """

    def __init__(
        self, h: Tensor, block: Block, n_spherical: int, first: bool, tangent: Tensor | None = None
    ) -> None:
        self.block, self.n_spherical = block, n_spherical
        self.h = h.view(*block.size, -1)
        self.moving = self.h if tangent is None else tangent.view(self.h.shape)
        # Harmonics of i and of k.
        self.pairs = [(self.moving, self.h), (self.h, self.moving)][: 1 if tangent is None else 2]
        self.parity = constant(_parity, n_spherical, like=h)
        self.own = None if tangent is not None else constant(_opposite, n_spherical, like=h)

    def along(self, tangent: Tensor) -> Map:
        """The derivative of Θ along a change of the harmonics."""
        return Harmonic(self.h, self.block, self.n_spherical, True, tangent)

    def forward(self, z: Tensor) -> Tensor:
        """Θz."""
        total = self._over_pairs(self._forward, z)
        if self.own is None:
            return total
        # k = i gave (−1)ˡ Y_l0(0) z_i[l], as Σ_m H_lm² = Y_l0(0).
        return total.sub_(torch.einsum("rlc,l->rc", z, self.own))

    def transposed(self, g: Tensor) -> Tensor:
        """Θᵀg."""
        total = self._over_pairs(self._transposed, g)
        return total if self.own is None else total.sub_(g.unsqueeze(1) * self.own.unsqueeze(-1))

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """``Σ_c g_i[c] A[lm,c] + (−1)ˡ Σ_c z_k[l,c] B[lm,c]``, (rows, n_spherical²)."""
        n, k = self.h.shape[:2]
        b = self._orders(self._collect_all(self.moving, g), dim=1)
        z_l = z.view(n, k, self.n_spherical, -1).unbind(2)
        given = [torch.bmm(z, b_l.mT) for z, b_l in zip(z_l, b, strict=True)]  # Σ_c z_k B
        taken = torch.bmm(g.view(n, k, -1), self._collect(self.moving, z).mT)  # Σ_c g_i A
        return taken.addcmul_(torch.cat(given, dim=2), self.parity).flatten(0, 1)

    def _over_pairs(self, part: Callable[..., Tensor], x: Tensor) -> Tensor:
        """The sum of a bilinear form over `pairs`."""
        first, *others = (part(*pair, x) for pair in self.pairs)
        return first.add_(others[0]) if others else first

    def _forward(self, h_i: Tensor, h_k: Tensor, z: Tensor) -> Tensor:
        """``Σ_lm H_lm(i) A[lm]``, (rows, channels)."""
        return torch.bmm(h_i, self._collect(h_k, z)).flatten(0, 1)

    def _transposed(self, h_i: Tensor, h_k: Tensor, g: Tensor) -> Tensor:
        """``(−1)ˡ Σ_m H_lm(k) B[lm]``, (rows, n_spherical, channels)."""
        b = self._collect_all(h_i, g).mul_(self.parity.unsqueeze(-1))
        parts = zip(self._orders(h_k), self._orders(b, dim=1), strict=True)
        return torch.stack([torch.bmm(h_l, b_l) for h_l, b_l in parts], dim=2).flatten(0, 1)

    def _collect(self, h_k: Tensor, z: Tensor) -> Tensor:
        """``A[lm] = Σ_k (−1)ˡ H_lm(k) z_k[l]``, (atoms, n_spherical², channels)."""
        z_l = z.view(*self.h.shape[:2], self.n_spherical, -1).unbind(2)
        parts = [torch.bmm(h.mT, z) for h, z in zip(self._orders(h_k), z_l, strict=True)]
        return torch.cat(parts, dim=1).mul_(self.parity.unsqueeze(-1))

    def _collect_all(self, h_i: Tensor, g: Tensor) -> Tensor:
        """``B[lm] = Σ_i H_lm(i) g_i``, (atoms, n_spherical², channels)."""
        return torch.bmm(h_i.mT, g.view(*self.h.shape[:2], -1))

    def _orders(self, x: Tensor, dim: int = -1) -> tuple[Tensor, ...]:
        """Split an axis of n_spherical² into the orders l."""
        return x.split([2 * l + 1 for l in range(self.n_spherical)], dim)
