"""Sums over the angles at an atom by the map Θ of each block of atoms, and their derivatives.

What is common to the sums of `molgeo.ops.directional.factored` and `zonal`: Θ is made once per
geometry, and each block adds its rows to those of all. Nothing larger than a block outlives it but
the results.

The products are small, and on a CPU in full precision: PyTorch's conversion of small float32
factors to bfloat16 takes longer than the products do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molgeo.graph.edges import Graph
from molgeo.ops.basis.harmonics import real_harmonics
from molgeo.ops.blocks import Block, blocks_of, widest
from molgeo.ops.derivatives import Dual, NeighbourSum, change, neighbour_sum, value
from molgeo.ops.directional.angular import Angular, Gram, Harmonic
from molgeo.runtime.precision import full_on_cpu, without_autocast

ROWS_PER_BLOCK = 1024
"""Padded edges taken at a time on a CPU: 2 MB of 7 · 64 float32, the L2 of two cores."""

ANGULAR: dict[str, type[Gram] | type[Harmonic]] = {"gram": Gram, "harmonic": Harmonic}

Maps = list[tuple[Block, Angular]]
"""Each block of atoms with its map Θ."""


class Wanted(NamedTuple):
    """What is asked of the derivatives of F = ⟨grad, sum⟩.

    Attributes:
        of: each operand, whether the derivative by it.
        along: changes of the operands along a tangent; None for the derivatives themselves.
    """

    of: Sequence[bool]
    along: Sequence[Tensor | None] | None

    @property
    def outcome(self) -> Callable[..., Tensor | None]:
        """A bilinear function itself, or its change along the tangent."""
        return value if self.along is None else change

    @property
    def tangents(self) -> Sequence[Tensor | None]:
        """Of the operands but the geometry."""
        return (None,) * (len(self.of) - 1) if self.along is None else self.along[1:]


class MappedSum(ABC):
    """A `NeighbourSum` of the geometry and other operands, of which the first has a row per edge.

    Args:
        form: ``gram`` or ``harmonic``.
        geometry: (edges, 3) unit vectors for ``gram``, (edges, n_spherical²) harmonics else.
        graph: the edges.
        n_spherical: number of orders.
    """

    def __init__(self, form: str, geometry: Tensor, graph: Graph, n_spherical: int) -> None:
        self.form, self.graph, self.n_spherical = form, graph, n_spherical
        with torch.no_grad():
            self.maps = self._made(geometry)

    def value(self, geometry: Tensor, *operands: Tensor) -> Tensor:
        """The sum."""
        return self.of_maps(self.maps, operands)

    def definition(self, geometry: Tensor, *operands: Tensor) -> Tensor:
        """The sum with all that PyTorch needs to differentiate it."""
        return self.of_maps(self._made(geometry), operands)

    def gradients(
        self,
        need: Sequence[bool],
        grad: Tensor,
        *operands: Tensor,
        tangents: Sequence[Tensor | None] | None = None,
    ) -> Sequence[Tensor | None]:
        """Derivatives of F = ⟨grad, sum⟩ by the operands, or theirs along tangents."""
        needed = tangents is not None, *need
        totals = [
            torch.zeros_like(x) if asked else None
            for x, asked in zip((grad, *operands), needed, strict=True)
        ]
        wanted = Wanted(need, tangents)
        of_geometry = tangents[0] if tangents else None
        # A backward pass may run inside the caller's autocast.
        with without_autocast(operands[1]), full_on_cpu(operands[1]):
            for block, angular in self.maps:
                theta = Dual(angular)
                if of_geometry is not None:
                    theta = Dual(angular, angular.along(block.masked(of_geometry, block.edge)))
                found = self.of_block(block, theta, wanted, grad, operands[1:])
                for total, (place, rows) in zip(totals, found, strict=True):
                    if total is None or rows is None:
                        continue
                    if place is None:
                        total += rows
                    else:
                        total.index_add_(0, place, rows)
        return totals

    @abstractmethod
    def of_maps(self, maps: Maps, operands: tuple[Tensor, ...]) -> Tensor:
        """The sum by given maps."""

    @abstractmethod
    def of_block(
        self,
        block: Block,
        theta: Dual,
        wanted: Wanted,
        grad: Tensor,
        operands: tuple[Tensor, ...],
    ) -> Sequence[tuple[Tensor | None, Tensor | None]]:
        """What `gradients` returns, for one block: places and rows; no place stands for all rows.

        Args:
            block: of atoms.
            theta: its map, and the change of that.
            wanted: which of them.
            grad: of all rows of the sum.
            operands: all but the geometry.
        """

    def _made(self, geometry: Tensor) -> Maps:
        make, first = ANGULAR[self.form], geometry.requires_grad
        with without_autocast(geometry):
            return [
                (block, make(block.masked(geometry, block.edge), block, self.n_spherical, first))
                for block in blocks_of(self.graph, ROWS_PER_BLOCK)
            ]


class Prepared:
    """A sum for one geometry, by a form that never sees a triplet; call it for other operands.

    Args:
        form: ``harmonic`` depends on harmonics of the unit vectors, others on these themselves.
        unit: (edges, 3).
        n_spherical: number of orders.
        terms: makes the sum of what it depends on.
    """

    def __init__(
        self, form: str, unit: Tensor, n_spherical: int, terms: Callable[[Tensor], NeighbourSum]
    ) -> None:
        self.form = form
        self.geometry = real_harmonics(unit, n_spherical) if form == "harmonic" else unit
        self.make = terms
        self.terms = terms(self.geometry)

    def __call__(self, *operands: Tensor) -> Tensor:
        """The sum, of the widest type of the operands and the geometry."""
        dtype = widest((self.geometry, *operands))
        geometry = self.geometry.to(dtype)
        terms = self.terms if geometry is self.geometry else self.make(geometry)
        return neighbour_sum(terms, geometry, *(x.to(dtype) for x in operands))
