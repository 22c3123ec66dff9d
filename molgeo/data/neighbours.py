"""Neighbour lists of a data set, found once: a batch's graph is gathered, not searched.

Numbers are kept relative to their place, as they are then the same in every batch: the target of an
edge relative to its source, an edge's reverse relative to the edge, and so on. They are small, so
that an edge takes a few bytes: `_narrow` takes the narrowest integers that hold a set's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.graph import Graph
from molgeo.graph.padding import STEP, Capacity, Load
from molgeo.graph.slots import ranked_slots
from molgeo.runtime.device import sent

UNKNOWN: Final = -1
"""Edges of a molecule whose neighbours were not looked for."""


@dataclass(frozen=True)
class Neighbours:
    """Neighbour lists of some molecules of a set.

    What a device needs are tensors. What the host needs are arrays, so that it never waits.

    Attributes:
        cutoff: Å.
        degree: (atoms,) number of neighbours of each atom of the set.
        target: (edges,) target − source of each edge.
        reverse: (edges,) the reverse edge's number − the edge's.
        pair: (edges,) the pair's number − half of the edge's, rounded down.
        forward: (pairs,) the forward edge's number − twice the pair's.
        offset: (edges, 3) Å, as in `Graph`, in the type of the positions; None if no edge crosses
            a periodic boundary.
        first: (molecules,) first edge of each molecule of the set.
        loads: (molecules, entries) the load of each (`molgeo.graph.padding`); its edges are
            `UNKNOWN` if they were not looked for.
    """

    cutoff: float
    degree: Tensor
    target: Tensor
    reverse: Tensor
    pair: Tensor
    forward: Tensor
    offset: Tensor | None
    first: NDArray[np.int64]
    loads: NDArray[np.int32]

    def knows(self, molecules: NDArray[np.int64]) -> bool:
        """Whether the neighbours of all these molecules were looked for."""
        return bool((self.loads[molecules, 1] != UNKNOWN).all())

    def load(self, molecules: NDArray[np.int64]) -> Load:
        """The load of a batch of molecules, all of them known."""
        return self.loads[molecules].sum(0, dtype=np.int64)

    @property
    def n_bytes(self) -> int:
        """Memory that the tensors take."""
        return sum(x.nbytes for x in vars(self).values() if isinstance(x, Tensor))

    def to(self, device: torch.device | str) -> Neighbours:
        """The same lists on another device."""
        moved: dict[str, Any] = {
            name: x.to(device) for name, x in vars(self).items() if isinstance(x, Tensor)
        }
        return dataclasses.replace(self, **moved)

    def graph(
        self,
        molecules: NDArray[np.int64],
        rows: Tensor,
        batch: Tensor,
        is_to_be_padded: bool = False,
    ) -> Graph:
        """The graph of a batch, equal to that which `radius_graph` finds; nothing waits.

        Args:
            molecules: (n,) known ones, in the order wanted.
            rows: (atoms,) int64, their atoms in the set.
            batch: (atoms,) int64, number in the batch of each atom's molecule.
            is_to_be_padded: leave out the slots, which padding makes anew.
        """
        counts = self.loads[molecules, 1].astype(np.int64)
        n_edges = int(counts.sum())
        starts = self.first[molecules] - (counts.cumsum() - counts)
        start, count = sent(torch.from_numpy(np.stack([starts, counts])), rows.device)
        edge = torch.arange(n_edges, device=rows.device)
        place = edge + start.repeat_interleave(count, output_size=n_edges)
        degree = self.degree.index_select(0, rows).long()
        atom = torch.arange(len(rows), device=rows.device)
        source = atom.repeat_interleave(degree, output_size=n_edges)
        ptr = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        slots = None  # on a CPU the ops make them, as large as its cache
        if rows.device.type != "cpu" and not is_to_be_padded:
            blocks = Capacity(tuple(self.load(molecules).tolist())).blocks
            slots = ranked_slots(ptr, n_edges, blocks)
        return Graph(
            source=source,
            target=source + self.target.index_select(0, place),
            reverse=edge + self.reverse.index_select(0, place),
            pair=(edge >> 1) + self.pair.index_select(0, place),
            forward=edge[::2] + self.forward.index_select(0, place[::2] >> 1),
            ptr=ptr,
            batch=batch,
            n_molecules=len(molecules),
            offset=None if self.offset is None else self.offset.index_select(0, place),
            slots=slots,
        )


def neighbours_of(
    graphs: Iterable[tuple[Tensor, Graph]],
    molecules: NDArray[np.int64],
    bounds: NDArray[np.int64],
    cutoff: float,
) -> Neighbours:
    """Keep the graphs of some molecules of a set.

    Args:
        graphs: of batches that hold the molecules in their order: (atoms,) int64, the batch's atoms
            in the set, and its graph.
        molecules: (n,) each once.
        bounds: (molecules + 1,) atoms ``bounds[m]:bounds[m + 1]`` of the set form molecule m.
        cutoff: Å, of all graphs.
    """
    degree = np.zeros(bounds[-1], np.int64)
    parts: dict[str, list[Tensor]] = {name: [] for name in ("target", "reverse", "pair", "forward")}
    offsets: list[Tensor | int] = []  # of a batch, or how many edges have none
    for rows, found in graphs:
        graph = found.to("cpu")
        degree[rows.cpu().numpy()] = graph.degree.numpy()
        edge = torch.arange(graph.n_edges)
        parts["target"].append(_narrow(graph.target - graph.source))
        parts["reverse"].append(_narrow(graph.reverse - edge))
        parts["pair"].append(_narrow(graph.pair - edge // 2))
        parts["forward"].append(_narrow(graph.forward - edge[::2]))
        offsets.append(graph.n_edges if graph.offset is None else graph.offset)

    def in_each(of_atoms: NDArray[Any]) -> NDArray[np.int64]:
        before = np.concatenate([[0], of_atoms.cumsum(dtype=np.int64)])
        return np.diff(before[bounds])

    n_steps = -(-int(degree.max(initial=0)) // STEP)
    beyond = [in_each(degree > k * STEP) for k in range(n_steps)]
    loads = np.stack([np.diff(bounds), in_each(degree), *beyond], axis=1).astype(np.int32)
    counts = loads[molecules, 1].astype(np.int64)
    first = np.zeros(len(loads), np.int64)
    first[molecules] = counts.cumsum() - counts
    is_known = np.zeros(len(loads), bool)
    is_known[molecules] = True
    loads[~is_known, 1] = UNKNOWN
    return Neighbours(
        cutoff=cutoff,
        degree=_narrow(torch.from_numpy(degree)),
        offset=_joined(offsets),
        first=first,
        loads=loads,
        **{name: torch.cat(some) for name, some in parts.items()},
    )


def _narrow(numbers: Tensor) -> Tensor:
    """The same in the narrowest integers that hold them; joined ones take the wider type."""
    largest = int(numbers.abs().max()) if numbers.numel() else 0
    narrow = (torch.int8, torch.int16, torch.int32)
    fitting = [kind for kind in narrow if largest <= torch.iinfo(kind).max]
    return numbers.to(fitting[0]) if fitting else numbers


def _joined(offsets: list[Tensor | int]) -> Tensor | None:
    """Offsets of all edges, zero in batches that have none; None if no batch has any."""
    zero = next((one.new_zeros(1, 3) for one in offsets if isinstance(one, Tensor)), None)
    if zero is None:
        return None
    return torch.cat([zero.expand(x, 3) if isinstance(x, int) else x for x in offsets])
