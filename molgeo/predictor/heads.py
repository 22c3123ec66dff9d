"""From atom features to properties, each by the physics of its kind.

| kind | property of a molecule |
|---|---|
| sum | Σ_i s_i |
| mean | (1/n) Σ_i s_i |
| dipole | ‖Σ_i q_i r_i‖, with charges made neutral: q_i ← q_i − mean(q) |
| extent | Σ_i s_i + Σ_i q_i r_i² |

where r_i is taken from the centre of mass, and s_i, q_i come from a small network of atom i's
features, one for each property. The dipole is exactly zero if symmetry demands it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from molgeo.elements import MASSES
from molgeo.graph import Graph
from molgeo.models import MOST
from molgeo.ops.constants import constant
from molgeo.ops.dense import Dense
from molgeo.ops.segment import molecule_sum
from molgeo.properties import Property, check_properties
from molgeo.runtime.errors import SettingError

SQUARED_DISTANCE_UNIT = 10.0
"""Å²; r² of the extent head is divided by it, so that its charges are of the size of the others."""


def centred(z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
    """Positions from each molecule's centre of mass, (atoms, 3) Å."""
    mass = constant(_masses, like=pos)[z].unsqueeze(-1)
    centre = molecule_sum(mass * pos, graph) / molecule_sum(mass, graph)
    return pos - centre.index_select(0, graph.batch)


def _masses() -> Tensor:
    return torch.tensor(MASSES, dtype=torch.float64)


class Heads(nn.Module):
    """One two-layer network per property, evaluated together.

    Args:
        feature_dim: width of the backbone's atom features.
        properties: what is predicted.
        hidden: width of each property's hidden layer.

    Raises:
        ValueError: the properties cannot be together, or the width is out of range.
    """

    def __init__(self, feature_dim: int, properties: Sequence[Property], hidden: int = 64) -> None:
        super().__init__()
        self.properties = check_properties(properties)
        if not 1 <= hidden <= MOST:
            raise SettingError(f"head_features: expected 1 to {MOST}, got {hidden}")
        self.kinds = [one.head for one in self.properties]
        self.hidden = hidden
        self.in_layer = Dense(feature_dim, len(self.properties) * hidden)
        # The extent has two outputs per atom, s and q; every other property has one.
        self.extents = [k for k, kind in enumerate(self.kinds) if kind == "extent"]
        n_outputs = len(self.properties) + len(self.extents)
        self.out_weight = nn.Parameter(torch.empty(n_outputs, hidden))
        self.out_bias = nn.Parameter(torch.zeros(n_outputs))
        nn.init.normal_(self.out_weight, std=0.1 / hidden**0.5)

    def forward(self, features: Tensor, z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        """Properties of every molecule, in each property's standardised unit.

        Args:
            features: (atoms, feature_dim).
            z: (atoms,) int64 atomic numbers.
            pos: (atoms, 3) Å.
            graph: of these atoms.

        Returns:
            (molecules, properties) float32 or wider.
        """
        return pool(*self.per_atom(features), self.kinds, z, pos, graph)

    def per_atom(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is pooled: s_i, or q_i of a dipole, and the extents' q_i.

        Args:
            features: (atoms, feature_dim).

        Returns:
            (atoms, properties) and (atoms, extents), None without any; float32 or wider.
        """
        n = len(self.properties)
        h = F.silu(self.in_layer(features)).view(-1, n, self.hidden)
        h = h.to(torch.promote_types(h.dtype, torch.float32))
        atoms = (h * self.out_weight[:n]).sum(-1) + self.out_bias[:n]  # (atoms, properties)
        if not self.extents:
            return atoms, None
        second = torch.stack([h[:, k] for k in self.extents], dim=1)
        return atoms, (second * self.out_weight[n:]).sum(-1) + self.out_bias[n:]


def pool(
    atoms: Tensor,
    charges: Tensor | None,
    kinds: Sequence[str],
    z: Tensor,
    pos: Tensor,
    graph: Graph,
) -> Tensor:
    """Pool per-atom outputs to molecules, each column by its kind (see the module's table).

    Args:
        atoms: (atoms, properties) s_i, or q_i of a dipole.
        charges: (atoms, extents) q_i of the extents, in their order; None without any.
        kinds: kind of each property.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        graph: of these atoms.

    Returns:
        (molecules, properties).
    """
    size = graph.atoms_per_molecule.to(atoms.dtype).unsqueeze(-1)
    total = molecule_sum(atoms, graph)
    r = centred(z, pos.to(atoms.dtype), graph) if {"dipole", "extent"} & set(kinds) else None
    extents = iter(() if charges is None else charges.unbind(-1))
    columns = []
    for k, kind in enumerate(kinds):
        column = total[:, k]
        if kind == "mean":
            column = column / size[:, 0]
        elif kind == "dipole":
            assert r is not None
            column = _norm(moment(atoms[:, k], r, graph))
        elif kind == "extent":
            assert r is not None
            r2 = r.square().sum(-1) / SQUARED_DISTANCE_UNIT
            column = column + molecule_sum(next(extents) * r2, graph)
        columns.append(column)
    return torch.stack(columns, dim=-1)


def moment(charges: Tensor, pos: Tensor, graph: Graph) -> Tensor:
    """First moment of charges that are made neutral: Σ_i (q_i − mean(q)) r_i.

    Args:
        charges: (atoms,) q_i.
        pos: (atoms, 3) r_i from any origin, as neutral charges have none.
        graph: of these atoms.

    Returns:
        (molecules, 3), in the charges' unit times that of ``pos``.
    """
    mean = molecule_sum(charges, graph) / graph.atoms_per_molecule.to(charges.dtype)
    neutral = charges - mean.index_select(0, graph.batch)
    return molecule_sum(neutral.unsqueeze(-1) * pos, graph)


def _norm(vector: Tensor) -> Tensor:
    """‖vector‖ over the last axis, zero below 1e-10, at which only rounding is left.

    There its derivatives are zero, and not the NaN that a norm's second derivative has at zero: it
    would reach the forces of every symmetric molecule in a batch, as all heads are one tensor.
    """
    square = vector.square().sum(-1)
    tiny = square < 1e-20
    return square.masked_fill(tiny, 1.0).sqrt().masked_fill(tiny, 0.0)
