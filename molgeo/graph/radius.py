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
    batch, n_molecules = _check(pos, cutoff, batch)
    if pbc is not None:
        cell, pbc = _check_lattice(cell, pbc, n_molecules)
        if bool(pbc.any()):
            return neighbour_list_graph(pos, cutoff, batch, n_molecules, cell, pbc)
    size = torch.bincount(batch, minlength=n_molecules)
    n_pairs = int(size.square().sum())
    if n_pairs > MAX_MEAN_PAIRS * n_molecules or n_pairs > MAX_PAIRS:
        return neighbour_list_graph(pos, cutoff, batch, n_molecules)
    return _all_pairs_graph(pos, cutoff, batch, n_molecules)


def given_or_found(graph: Graph | None, pos: Tensor, cutoff: float, batch: Tensor | None) -> Graph:
    """The graph a caller gave, if it is one of these atoms, else that of all pairs.

    Args:
        graph: given, or None. Who gives one has checked what it is of: beside it only shapes are
            looked at, so that nothing waits for a device.
        pos: (atoms, 3) positions in Å.
        cutoff: Å.
        batch: (atoms,) molecule of each atom; None for one molecule, or for that of a given graph,
            which counts.

    Raises:
        ValueError: the graph is of other atoms or (on a CPU, where a look costs nothing) another
            batch, or as `radius_graph`.
    """
    if graph is None:
        return radius_graph(pos, cutoff, batch)
    if graph.n_atoms != len(pos):
        raise ValueError(f"graph: expected one of {len(pos)} atoms, got {graph.n_atoms}")
    if batch is not None and batch is not graph.batch and not _may_be(batch, graph.batch):
        raise ValueError("graph: expected one of the same batch, got another assignment of atoms")
    return graph


def _may_be(batch: Tensor, other: Tensor) -> bool:
    """Whether two assignments of atoms are the same, as far as can be seen without waiting."""
    if batch.shape != other.shape or batch.device.type != "cpu" or torch.compiler.is_compiling():
        return batch.shape == other.shape
    return torch.equal(batch, other)


def _check(pos: Tensor, cutoff: float, batch: Tensor | None) -> tuple[Tensor, int]:
    """Validate an open system; return its batch and number of molecules."""
    if not (cutoff > 0 and math.isfinite(cutoff)):
        raise ValueError(f"cutoff: expected a finite number of Å above zero, got {cutoff}")
    if pos.dim() != 2 or pos.shape[1] != 3 or not pos.is_floating_point():
        raise ValueError(
            f"pos: expected (atoms, 3) floating point, got {tuple(pos.shape)} {pos.dtype}"
        )
    n_atoms = pos.shape[0]
    if not bool(pos.isfinite().all()):
        atom = int((~pos.isfinite().all(1)).nonzero()[0])
        raise ValueError(
            f"pos: expected finite coordinates, got {pos[atom].tolist()} (atom {atom})"
        )
    if batch is None:
        batch = torch.zeros(n_atoms, dtype=torch.long, device=pos.device)
        return batch, min(n_atoms, 1)
    if batch.shape != (n_atoms,) or batch.dtype != torch.long:
        raise ValueError(
            f"batch: expected ({n_atoms},) int64, got {tuple(batch.shape)} {batch.dtype}"
        )
    if n_atoms == 0:
        return batch, 0
    if int(batch[0]) < 0 or bool((batch.diff() < 0).any()):
        raise ValueError("batch: expected molecules in ascending order from 0, got another order")
    return batch, int(batch[-1]) + 1


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


def _all_pairs_graph(pos: Tensor, cutoff: float, batch: Tensor, n_molecules: int) -> Graph:
    """Edges by testing every ordered pair of every molecule, on the device: Θ(Σ n²)."""
    device = pos.device
    n_atoms = pos.shape[0]
    size = torch.bincount(batch, minlength=n_molecules)  # atoms of each molecule
    first = size.cumsum(0) - size  # first atom of each molecule
    partners = size[batch]  # ordered pairs that start at each atom, itself included
    first_pair = partners.cumsum(0) - partners
    source = torch.repeat_interleave(torch.arange(n_atoms, device=device), partners)
    local = torch.arange(source.numel(), device=device) - first_pair[source]
    target = first[batch[source]] + local

    delta = pos[target] - pos[source]
    within = (delta.square().sum(-1) < cutoff * cutoff) & (source != target)
    position = within.cumsum(0) - 1  # index of the pair among the kept ones
    source, target = source[within], target[within]
    # The pair (i, j) stands at first_pair[i] + (j − first atom of the molecule).
    reverse = position[first_pair[target] + source - first[batch[source]]]
    return assemble(source, target, reverse, batch, n_molecules, offset=None)
