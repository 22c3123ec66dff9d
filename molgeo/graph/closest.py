"""Atoms that are close to each other, and the parts that a structure falls into."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Pairs = tuple[Ints, Ints, Floats]
"""Indices of two atoms and their distance in Å, each pair once."""

SEPARATION: Final = 3.5
"""Å. Parts of a structure that are further apart than this are several molecules, not one."""

SMALL: Final = 256
"""Atoms up to which a table of all distances is faster than a tree."""


def pairs_below(pos: Floats, limit: float) -> Pairs:
    """All pairs of atoms closer than a limit.

    Args:
        pos: (atoms, 3) Å, finite; no two atoms so close that the pairs would be too many to hold.
        limit: Å.
    """
    from scipy.spatial import cKDTree

    i, j = cKDTree(pos).query_pairs(limit, output_type="ndarray").astype(np.int64).T
    delta = pos[i] - pos[j]
    distance = np.sqrt(np.einsum("ij,ij->i", delta, delta))
    near = distance < limit
    return i[near], j[near], distance[near]


def closest_pair(pos: Floats, limit: float) -> tuple[float, int, int] | None:
    """The two closest atoms if they are closer than a limit.

    Args:
        pos: (atoms, 3) Å, finite.
        limit: Å.

    Returns:
        Distance in Å and indices, ascending; None if no two atoms are that close.
    """
    from scipy.spatial import cKDTree
    from scipy.spatial.distance import pdist

    if len(pos) < 2:
        return None
    if len(pos) <= SMALL:
        distances = pdist(pos)
        k = int(distances.argmin())
        if not distances[k] < limit:
            return None
        i, j = np.triu_indices(len(pos), 1)
        return float(distances[k]), int(i[k]), int(j[k])
    # A tree of many equal points takes quadratic time, so those are found first.
    _, first, place = np.unique(pos, axis=0, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[place] != np.arange(len(pos)))
    if len(again):
        return 0.0, int(first[place[again[0]]]), int(again[0])
    distance, other = (found[:, 1] for found in cKDTree(pos).query(pos, k=2))
    k = int(distance.argmin())
    first_atom, second = sorted((k, int(other[k])))
    return (float(distance[k]), first_atom, second) if distance[k] < limit else None


def count_fragments(pos: Floats, limit: float) -> int:
    """Parts of a structure that no pair of atoms closer than a limit connects.

    Args:
        pos: as in `pairs_below`.
        limit: Å.
    """
    if 1 < len(pos) <= SMALL:
        from scipy.cluster.hierarchy import single
        from scipy.spatial.distance import pdist

        # Single linkage joins two parts at their shortest distance, until one part is left.
        return 1 + int((single(pdist(pos))[:, 2] >= limit).sum())
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    i, j, distance = pairs_below(pos, limit)
    pairs = coo_array((distance, (i, j)), shape=(len(pos), len(pos)))
    return int(connected_components(pairs, directed=False, return_labels=False))
