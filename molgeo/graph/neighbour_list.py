"""Edges of large and of periodic systems, in time linear in their number, by vesin's cell lists."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.graph.edges import Graph, assemble


def neighbour_list_graph(
    pos: Tensor,
    cutoff: float,
    batch: Tensor,
    n_molecules: int,
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
) -> Graph:
    """Build the graph molecule by molecule, on the CPU.

    Args:
        pos: (atoms, 3) positions in Å.
        cutoff: Å.
        batch: (atoms,) molecule of each atom, ascending.
        n_molecules: number of molecules.
        cell: (molecules, 3, 3) lattice vectors in Å, as rows; None for open systems.
        pbc: (molecules, 3) bool; None for open systems.

    Returns:
        The graph, on the device of ``pos``.

    Raises:
        ValueError: the periodic lattice vectors of a molecule are linearly dependent.
    """
    device = pos.device
    host = pos.detach().to("cpu", torch.float64)
    sizes = torch.bincount(batch, minlength=n_molecules).tolist()
    sources, targets, shifts = [], [], []
    first = 0
    for molecule, size in enumerate(sizes):
        points = host[first : first + size]
        box, periodic = torch.zeros(3, 3, dtype=torch.float64), [False] * 3
        if cell is not None and pbc is not None:
            periodic = pbc[molecule].tolist()
            box = _complete_cell(cell[molecule].to(box), periodic, points, cutoff, molecule)
        source, target, shift = _neighbours(points, cutoff, box, periodic)
        sources.append(source + first)
        targets.append(target + first)
        shifts.append(shift)
        first += size
    source, target = torch.cat(sources).to(device), torch.cat(targets).to(device)
    shift = torch.cat(shifts).to(device)

    offset = None
    if cell is not None and bool(shift.any()):
        lattice = cell.detach().to(device, torch.float64)[batch[source]]
        offset = torch.einsum("es,esx->ex", shift.double(), lattice).to(pos.dtype)
    # vesin measures in float64; the edges kept are those within the cutoff in pos' own precision.
    delta = pos[target] - pos[source]
    if offset is not None:
        delta = delta + offset
    within = delta.square().sum(-1) < cutoff * cutoff
    source, target, shift = source[within], target[within], shift[within]
    offset = offset[within] if offset is not None else None

    key, reverse_key = _keys(source, target, shift, pos.shape[0])
    key, order = key.sort()
    reverse = torch.searchsorted(key, reverse_key[order])
    offset = offset[order] if offset is not None else None
    return assemble(source[order], target[order], reverse, batch, n_molecules, offset)


def _neighbours(
    points: Tensor, cutoff: float, box: Tensor, periodic: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Source, target and shift of all edges of one molecule, and of a few just beyond."""
    if len(points) == 0:
        empty = torch.empty(0, dtype=torch.long)
        return empty, empty, torch.empty(0, 3, dtype=torch.long)
    from vesin import NeighborList  # only large and periodic systems need it

    found = NeighborList(cutoff=cutoff * (1 + 1e-5), full_list=True).compute(
        points=points.numpy(), box=box.numpy(), periodic=periodic, quantities="ijS"
    )
    source, target, shift = (torch.from_numpy(array.astype("int64")) for array in found)
    return source, target, shift


def _complete_cell(
    cell: Tensor, periodic: list[bool], points: Tensor, cutoff: float, molecule: int
) -> Tensor:
    """Replace what an open direction's lattice vector may be by one clear of the periodic ones."""
    if not any(periodic):
        return torch.zeros_like(cell)
    lattice = cell[torch.tensor(periodic)]  # (periodic directions, 3)
    _, singular, directions = torch.linalg.svd(lattice, full_matrices=True)
    if bool(singular.min() <= 1e-6 * singular.max()):
        raise ValueError(
            f"cell: expected linearly independent lattice vectors if pbc is True, "
            f"got {cell.tolist()} (molecule {molecule})"
        )
    extent = float((points.amax(0) - points.amin(0)).norm()) if len(points) else 0.0
    complete = cell.clone()
    complete[~torch.tensor(periodic)] = directions[len(lattice) :] * (extent + 2 * cutoff)
    return complete


def _keys(source: Tensor, target: Tensor, shift: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Numbers that sort edges by source, target and shift, and those of their reverses."""
    if source.numel() == 0:
        return source, source
    reach = int(shift.abs().max())
    base = 2 * reach + 1
    weight = torch.tensor([base * base, base, 1], device=shift.device)
    code = (shift * weight).sum(-1)
    middle = (base**3 - 1) // 2  # of the zero shift
    images = base**3
    key = (source * n_atoms + target) * images + (middle + code)
    reverse_key = (target * n_atoms + source) * images + (middle - code)
    return key, reverse_key
