"""Build the graph of all pairs of atoms within a cutoff."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from molgeo.graph.edges import Graph, assemble
from molgeo.graph.neighbour_list import neighbour_list_graph

MAX_MEAN_PAIRS = 250_000
"""Ordered pairs a molecule, on average, above which the O(N) neighbour list is faster."""

MAX_PAIRS = 20_000_000
"""Ordered pairs of a batch above which testing all of them takes too much memory."""


def radius_graph(
    pos: Tensor,
    cutoff: float,
    batch: Tensor | None = None,
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
) -> Graph:
    """All pairs of atoms of one molecule with ``0 ≤ |R_i − R_j + S·cell| < cutoff``.

    Nothing is truncated. Every lattice translation S counts, so that cells may be smaller than the
    cutoff, and an atom may be its own neighbour through the boundary.

    Args:
        pos: (atoms, 3) positions in Å; periodic ones need not lie inside the cell.
        cutoff: Å, greater than zero.
        batch: (atoms,) molecule of each atom, ascending from 0; None for one molecule.
        cell: (molecules, 3, 3) lattice vectors in Å, as rows; ignored if ``pbc`` is False.
        pbc: (molecules, 3) bool, periodic along each lattice vector; None for open systems.

    Returns:
        The graph, on the device of ``pos``. Edges are sorted by source, target and shift.

    Raises:
        ValueError: a shape, type or value is not as above; the message names it.
    """
    pos = pos.detach()
    batch = _check_shapes(pos, cutoff, batch)
    # The first of the atom's molecule, and how many that has: ordered pairs that start at the atom.
    first = torch.searchsorted(batch, batch)
    partners = torch.searchsorted(batch, batch, right=True) - first
    n_molecules, n_pairs = _check_values(pos, batch, partners)
    if pbc is not None:
        cell, pbc = _check_lattice(cell, pbc, n_molecules)
        if bool(pbc.any()):
            return neighbour_list_graph(pos, cutoff, batch, n_molecules, cell, pbc)
    if n_pairs > MAX_MEAN_PAIRS * n_molecules or n_pairs > MAX_PAIRS:
        return neighbour_list_graph(pos, cutoff, batch, n_molecules)
    edges = _close_pairs(pos, cutoff, first, partners, n_pairs)
    return assemble(*edges, batch, n_molecules, offset=None)


def given_or_found(
    graph: Graph | None,
    pos: Tensor,
    cutoff: float,
    batch: Tensor | None,
    charge: Tensor | None = None,
    descriptors: Tensor | None = None,
) -> Graph:
    """The graph a caller gave, if it is one of these atoms, else that of all pairs.

    Args:
        graph: given, or None. Who gives one has checked what it is of: beside it only shapes are
            looked at, so that nothing waits for a device.
        pos: (atoms, 3) positions in Å.
        cutoff: Å.
        batch: (atoms,) molecule of each atom; None for one molecule, or for that of a given graph,
            which counts.
        charge: (molecules,) int64, e; None for that of a given graph, or for neutral molecules.
        descriptors: (molecules, d); None for those of a given graph, or for none.

    Raises:
        ValueError: the graph is of other atoms or (on a CPU, where a look costs nothing) another
            batch, or as `radius_graph`.
    """
    if graph is None:
        return radius_graph(pos, cutoff, batch).with_known(charge, descriptors)
    if graph.n_atoms != pos.shape[0]:
        raise ValueError(f"graph: expected one of {len(pos)} atoms, got {graph.n_atoms}")
    if batch is not None and batch is not graph.batch and not _may_be(batch, graph.batch):
        raise ValueError("graph: expected one of the same batch, got another assignment of atoms")
    return graph.with_known(charge, descriptors)


def _may_be(batch: Tensor, other: Tensor) -> bool:
    """Whether two assignments of atoms are the same, as far as can be seen without waiting."""
    if batch.shape != other.shape or batch.device.type != "cpu" or torch.compiler.is_compiling():
        return batch.shape == other.shape
    return torch.equal(batch, other)


def _check_shapes(pos: Tensor, cutoff: float, batch: Tensor | None) -> Tensor:
    """Validate what needs no look at the device; return the batch."""
    if not (cutoff > 0 and math.isfinite(cutoff)):
        raise ValueError(f"cutoff: expected a finite number of Å above zero, got {cutoff}")
    if pos.dim() != 2 or pos.shape[1] != 3 or not pos.is_floating_point():
        raise ValueError(
            f"pos: expected (atoms, 3) floating point, got {tuple(pos.shape)} {pos.dtype}"
        )
    n_atoms = pos.shape[0]
    if batch is None:
        return torch.zeros(n_atoms, dtype=torch.long, device=pos.device)
    if batch.shape != (n_atoms,) or batch.dtype != torch.long:
        raise ValueError(
            f"batch: expected ({n_atoms},) int64, got {tuple(batch.shape)} {batch.dtype}"
        )
    return batch.contiguous()


def _check_values(pos: Tensor, batch: Tensor, partners: Tensor) -> tuple[int, int]:
    """Validate values and return the numbers of molecules and of ordered pairs, in one look."""
    if not len(pos):
        return 0, 0
    falls = (batch.diff() < 0).any()
    finite = pos.isfinite().all()
    seen = torch.stack([finite.long(), falls.long(), batch[0], batch[-1], partners.sum()])
    is_finite, is_falling, least, last, n_pairs = seen.tolist()
    if not is_finite:
        atom = int((~pos.isfinite().all(1)).nonzero()[0])
        raise ValueError(
            f"pos: expected finite coordinates, got {pos[atom].tolist()} (atom {atom})"
        )
    if least < 0 or is_falling:
        raise ValueError("batch: expected molecules in ascending order from 0, got another order")
    return last + 1, n_pairs


def _check_lattice(cell: Tensor | None, pbc: Tensor, n_molecules: int) -> tuple[Tensor, Tensor]:
    """Validate the lattice of every molecule."""
    if cell is None:
        raise ValueError("pbc: expected together with cell, got pbc alone")
    for name, value, shape in (("cell", cell, (n_molecules, 3, 3)), ("pbc", pbc, (n_molecules, 3))):
        if value.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {tuple(value.shape)}")
    if pbc.dtype != torch.bool:
        raise ValueError(f"pbc: expected bool, got {pbc.dtype}")
    if not bool(cell.isfinite().all()):
        raise ValueError("cell: expected finite lattice vectors, got others")
    return cell.detach(), pbc


def _close_pairs(
    pos: Tensor, cutoff: float, first: Tensor, partners: Tensor, n_pairs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Sources, targets and reverses by testing all ordered pairs, on the device: Θ(Σ n²)."""
    atom = torch.arange(len(pos), device=pos.device)
    source = atom.repeat_interleave(partners, output_size=n_pairs)
    first_pair = partners.cumsum(0) - partners
    pair = torch.arange(n_pairs, device=pos.device)
    target = first[source] + pair - first_pair[source]
    delta = pos.index_select(0, target) - pos.index_select(0, source)
    within = (delta.square().sum(-1) < cutoff * cutoff) & (source != target)
    number = within.cumsum(0) - 1  # of the pair among those that are kept
    kept = within.nonzero().squeeze(1)  # how many they are the host has to wait for
    source, target = source[kept], target[kept]
    # The pair (i, j) stands at first_pair[i] + (j − first atom of the molecule).
    return source, target, number[first_pair[target] + source - first[target]]
