"""Which kinds of bonds a data set holds: each end's element with the other atoms bonded to it.

The environments of single atoms are few and small molecules share them: diazene, HN=NH, has no
atom that is new to QM9, but its bond is. A kind of bond says both ends, such as ``N(H)-N(H)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS
from molgeo.graph.closest import Ints, Pairs
from molgeo.graph.environments import bonds, clear_bonds, neighbourhoods

MOST_NEEDED: Final = 10
"""Molecules that make a kind of bond known, of a large set."""

FLAGGED: Final = 0.01
"""Part of its own molecules that a set may call strange, each judged by the others."""

MOST_KINDS: Final = 5000
"""Kinds that a record keeps, the most frequent ones."""


@dataclass(frozen=True)
class BondKinds:
    """Kinds of bonds of the training molecules.

    Attributes:
        molecules: how many there were.
        needed: molecules that have to hold a kind before it counts as known. A set of few
            molecules needs less; 0 if it is too varied to call any kind strange.
        counts: kind, such as ``C(C,H)-F`` → molecules that held it.
    """

    molecules: int
    needed: int
    counts: Mapping[str, int] = field(default_factory=dict)

    def joined(self, other: BondKinds) -> BondKinds:
        """The kinds of two sets together."""
        counts = dict(self.counts)
        for kind, count in other.counts.items():
            counts[kind] = counts.get(kind, 0) + count
        frequent = sorted(counts.items(), key=lambda item: -item[1])[:MOST_KINDS]
        return BondKinds(
            molecules=self.molecules + other.molecules,
            needed=max(self.needed, other.needed),
            counts=dict(frequent),
        )

    def strange(self, z: Ints, pairs: Pairs) -> list[tuple[str, int]]:
        """Kinds of bonds of a molecule that the training data hardly held.

        Args:
            z: (atoms,) atomic numbers.
            pairs: of atoms, all those that may be bonded and any others.

        Returns:
            Kinds with the number of training molecules that held them, the rarest first. Of the
            two readings of bonds, the wide and the strict, it is the more familiar one.
        """
        readings = [bonds(z, pairs), clear_bonds(z, pairs)[0]]
        same = len(readings[0][0]) == len(readings[1][0])
        found = [self._unknown(z, each) for each in readings[: 1 if same else 2]]
        return min(found, key=len)

    def _unknown(self, z: Ints, bonded: Pairs) -> list[tuple[str, int]]:
        kinds = sorted(set(names_of_kinds(z, bonded)))
        known = [(kind, self.counts.get(kind, 0)) for kind in kinds]
        return sorted((one for one in known if one[1] < self.needed), key=lambda one: one[1])


def bond_kinds_of(z: Ints, ptr: Ints, pairs: Pairs) -> BondKinds:
    """Count the kinds of bonds of many molecules.

    Args:
        z: (atoms,) atomic numbers of all molecules, one after the other.
        ptr: (molecules + 1,) atoms ``ptr[m]:ptr[m + 1]`` form molecule m.
        pairs: of atoms of the same molecule, as `molgeo.graph.environments.near_pairs` finds them.
    """
    n = len(ptr) - 1
    (i, j, d), _ = clear_bonds(z, pairs)
    molecule = np.repeat(np.arange(n), np.diff(ptr))[i]
    code = neighbourhoods(z, (i, j, d))
    mixed = code * np.uint64(0x9E3779B97F4A7C15)  # so that a bond is not the sum of its atoms
    mixed ^= mixed >> np.uint64(29)
    _, example, kind = np.unique(mixed[i] + mixed[j], return_index=True, return_inverse=True)
    held = np.unique(molecule * len(example) + kind)  # each kind once per molecule
    count = np.bincount(held % max(1, len(example)), minlength=len(example))
    frequent = np.argsort(-count, kind="stable")[:MOST_KINDS]
    names = names_of_kinds(z, (i, j, d), example[frequent])
    return BondKinds(
        molecules=n,
        needed=_needed(count, held, n),
        counts={name: int(count[k]) for name, k in zip(names, frequent, strict=True)},
    )


def names_of_kinds(z: Ints, bonded: Pairs, which: Ints | None = None) -> list[str]:
    """The kinds of bonds, such as ``C(C,H)-F``: in parentheses, what else an end is bonded to.

    Args:
        z: (atoms,) atomic numbers.
        bonded: pairs of bonded atoms.
        which: of the bonds to name; None for all.
    """
    i, j, _ = bonded
    ends, others = np.concatenate([i, j]), np.concatenate([j, i])
    order = np.argsort(ends, kind="stable")
    ends, others = ends[order], others[order]
    first = np.searchsorted(ends, np.arange(len(z) + 1)) if which is None else None

    def end(atom: int, other: int) -> str:
        low, high = (
            first[atom : atom + 2] if first is not None else np.searchsorted(ends, [atom, atom + 1])
        )
        beside = sorted(SYMBOLS[z[k]] for k in others[low:high].tolist() if k != other)
        return SYMBOLS[z[atom]] + (f"({','.join(beside)})" if beside else "")

    wanted = range(len(i)) if which is None else which.tolist()
    both = ((int(i[k]), int(j[k])) for k in wanted)
    return ["-".join(sorted((end(a, b), end(b, a)))) for a, b in both]


def _needed(count: NDArray[np.int64], held: Ints, n: int) -> int:
    """As in `BondKinds`: as many as call at most the part `FLAGGED` of the molecules strange.

    Args:
        count: (kinds,) molecules that hold each.
        held: molecule · kinds + kind of all that are held.
        n: molecules.
    """
    if not len(held):
        return 0
    rarest = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(rarest, held // len(count), count[held % len(count)])
    others = rarest - 1  # molecules that hold the rarest kind of this one, beside itself
    fitting = [k for k in range(1, MOST_NEEDED + 1) if (others < k).mean() <= FLAGGED]
    return max(fitting, default=0)
