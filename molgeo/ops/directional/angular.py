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

import functools
from typing import Protocol

import torch
from torch import Tensor

from molgeo.ops.directional.legendre import zonal_harmonics, zonal_norm


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


class Gram:
    """Θ as one matrix an atom, from the Gram matrix of its unit vectors.

    The geometry is the unit vectors v of the outgoing edges, hence ``cos α_ik = −v_i·v_k``.

    Args:
        v: (atoms · slots, 3).
        size: atoms and slots.
        y: (atoms, slots i, slots k, n_spherical) Y_l0, zero for k = i and padding.
        dy: the same of its derivative by the cosine; may be None where nothing is differentiated.
        kept: (atoms, slots i, slots k) one where y may differ from zero.
    """

    def __init__(
        self, v: Tensor, size: tuple[int, int], y: Tensor, dy: Tensor | None, kept: Tensor
    ) -> None:
        self.size = size
        self.v = v.view(*size, 3)
        self.y, self.dy, self.kept = y, dy, kept

    def forward(self, z: Tensor) -> Tensor:
        """Θz."""
        n, k = self.size
        return torch.bmm(self.y.flatten(2), z.view(n, -1, z.shape[-1])).view(n * k, -1)

    def transposed(self, g: Tensor) -> Tensor:
        """Θᵀg."""
        n, k = self.size
        v = torch.bmm(self.y.flatten(2).transpose(1, 2), g.view(n, k, -1))
        return v.view(n * k, -1, g.shape[-1])

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """Derivative of ⟨g, Θz⟩ by the geometry."""
        assert self.dy is not None
        return _turn(_contract(self.dy, g, z), self.v)

    def along(self, tangent: Tensor) -> Map:
        """The derivative of Θ along a change of the unit vectors."""
        return _GramTangent(self, tangent.view(*self.size, 3))


class _GramTangent:
    def __init__(self, at: Gram, tangent: Tensor) -> None:
        assert at.dy is not None
        self.at, self.tangent = at, tangent
        cosine = -torch.bmm(at.v, at.v.transpose(1, 2))
        change = torch.bmm(at.v, tangent.transpose(1, 2))
        change = (-(change + change.transpose(1, 2)) * at.kept).unsqueeze(-1)
        y = at.dy * change
        dy = zonal_harmonics(cosine, at.y.shape[-1], derivative=2).mul_(change)
        self.moved = Gram(at.v.flatten(0, 1), at.size, y, dy, at.kept)

    def forward(self, z: Tensor) -> Tensor:
        """Θz."""
        return self.moved.forward(z)

    def transposed(self, g: Tensor) -> Tensor:
        """Θᵀg."""
        return self.moved.transposed(g)

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """Derivative of ⟨g, Θz⟩ by the geometry."""
        assert self.at.dy is not None
        straight = _turn(_contract(self.at.dy, g, z), self.tangent)
        return straight.add_(self.moved.gradient(g, z))


def _contract(dy: Tensor, g: Tensor, z: Tensor) -> Tensor:
    """``D_ik = Σ_l Y_l′(α_ik) Σ_c g_i[c] z_k[l,c]``, (atoms, slots i, slots k)."""
    n, k, _, n_spherical = dy.shape
    g, z = g.view(n, k, -1), z.view(n, k * n_spherical, -1)
    return torch.bmm(g, z.transpose(1, 2)).view(dy.shape).mul_(dy).sum(-1)


def _turn(d: Tensor, v: Tensor) -> Tensor:
    """``−Σ_b (D_ab + D_ba) v_b``, as both ends of a cosine turn, (rows, 3)."""
    return torch.bmm(d + d.transpose(1, 2), v).neg_().flatten(0, 1)


@functools.cache
def _signs(n_spherical: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """``(−1)ˡ`` of each lm, and ``(−1)ˡ Y_l0(0)`` of each l, which is Y_l0 at 180°."""
    signs = [(-1.0) ** l for l in range(n_spherical)]
    parity = [sign for l, sign in enumerate(signs) for _ in range(2 * l + 1)]
    own = [sign * zonal_norm(l) for l, sign in enumerate(signs)]
    return (
        torch.tensor(parity, dtype=dtype, device=device),
        torch.tensor(own, dtype=dtype, device=device),
    )


class Harmonic:
    """Θ by the addition theorem: linear in the number of neighbours.

    ``Y_l0(α_ik) = Σ_m (−1)ˡ H_lm(v_i) H_lm(v_k)``, so that an atom collects all of its neighbours
    once, ``A[lm] = Σ_k (−1)ˡ H_lm(v_k) z_k[l]``, and ``m_i = Σ_lm H_lm(v_i) A[lm]`` less what its
    own reverse edge (k = i, α = 180°) gave.

    The geometry is the harmonics H, hence everything is bilinear.

    Args:
        h: (atoms · slots, n_spherical²) harmonics of the outgoing edges, zero where padded.
        size: atoms and slots.
    """

    def __init__(self, h: Tensor, size: tuple[int, int]) -> None:
        self.size = size
        self.h = h.view(*size, -1)
        self.n_spherical = round(self.h.shape[-1] ** 0.5)
        self.parity, self.own = _signs(self.n_spherical, h.dtype, h.device)

    def forward(self, z: Tensor) -> Tensor:
        """Θz."""
        own = torch.einsum("rlc,l->rc", z, self.own)
        return self._spread(self.h, self._collect(self.h, z)).sub_(own)

    def transposed(self, g: Tensor) -> Tensor:
        """Θᵀg."""
        own = g.unsqueeze(1) * self.own.unsqueeze(-1)
        return self._spread_orders(self.h, self._collect_all(self.h, g)).sub_(own)

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """Derivative of ⟨g, Θz⟩ by the geometry."""
        given = self._project(g, self._collect(self.h, z))
        return given.add_(self._project_orders(z, self._collect_all(self.h, g)))

    def along(self, tangent: Tensor) -> Map:
        """The derivative of Θ along a change of the harmonics."""
        return _HarmonicTangent(self, tangent.view(self.h.shape))

    def _collect(self, h: Tensor, z: Tensor) -> Tensor:
        """``A[lm] = Σ_k (−1)ˡ h_k[lm] z_k[l]``, (atoms, n_spherical², channels)."""
        z = z.view(*self.size, self.n_spherical, -1)
        parts = [
            torch.bmm(h_l.transpose(1, 2), z[:, :, l]) for l, h_l in enumerate(self._orders(h))
        ]
        return torch.cat(parts, dim=1).mul_(self.parity.unsqueeze(-1))

    def _collect_all(self, h: Tensor, g: Tensor) -> Tensor:
        """``B[lm] = Σ_i h_i[lm] g_i``, (atoms, n_spherical², channels)."""
        return torch.bmm(h.transpose(1, 2), g.view(*self.size, -1))

    def _spread(self, h: Tensor, a: Tensor) -> Tensor:
        """``Σ_lm h_i[lm] A[lm]``, (rows, channels)."""
        return torch.bmm(h, a).flatten(0, 1)

    def _spread_orders(self, h: Tensor, b: Tensor) -> Tensor:
        """``(−1)ˡ Σ_m h_k[lm] B[lm]``, (rows, n_spherical, channels)."""
        b = b * self.parity.unsqueeze(-1)
        parts = zip(self._orders(h), self._orders(b, dim=1), strict=True)
        return torch.stack([torch.bmm(h_l, b_l) for h_l, b_l in parts], dim=2).flatten(0, 1)

    def _project(self, g: Tensor, a: Tensor) -> Tensor:
        """``Σ_c g_i[c] A[lm,c]``, (rows, n_spherical²)."""
        return torch.bmm(g.view(*self.size, -1), a.transpose(1, 2)).flatten(0, 1)

    def _project_orders(self, z: Tensor, b: Tensor) -> Tensor:
        """``(−1)ˡ Σ_c z_k[l,c] B[lm,c]``, (rows, n_spherical²)."""
        z = z.view(*self.size, self.n_spherical, -1)
        parts = [
            torch.bmm(z[:, :, l], b_l.transpose(1, 2))
            for l, b_l in enumerate(self._orders(b, dim=1))
        ]
        return torch.cat(parts, dim=2).mul_(self.parity).flatten(0, 1)

    def _orders(self, x: Tensor, dim: int = -1) -> tuple[Tensor, ...]:
        """Split an axis of n_spherical² into the orders l."""
        return x.split([2 * l + 1 for l in range(self.n_spherical)], dim)


class _HarmonicTangent:
    def __init__(self, at: Harmonic, tangent: Tensor) -> None:
        self.at, self.tangent = at, tangent

    def forward(self, z: Tensor) -> Tensor:
        """Θz."""
        at, h, t = self.at, self.at.h, self.tangent
        return at._spread(t, at._collect(h, z)).add_(at._spread(h, at._collect(t, z)))

    def transposed(self, g: Tensor) -> Tensor:
        """Θᵀg."""
        at, h, t = self.at, self.at.h, self.tangent
        first = at._spread_orders(t, at._collect_all(h, g))
        return first.add_(at._spread_orders(h, at._collect_all(t, g)))

    def gradient(self, g: Tensor, z: Tensor) -> Tensor:
        """Derivative of ⟨g, Θz⟩ by the geometry."""
        at, t = self.at, self.tangent
        given = at._project(g, at._collect(t, z))
        return given.add_(at._project_orders(z, at._collect_all(t, g)))
