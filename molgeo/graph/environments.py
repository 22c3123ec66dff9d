"""Which environments of atoms a data set holds: each atom's element with those it is bonded to.

Off equilibrium no single distance tells bonds from contacts. So what a data set holds is counted
from atoms whose neighbours all are clearly bonded or clearly not, and a structure is unfamiliar if
neither the strict nor the wide reading of its bonds is among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import COVALENT_RADII, SYMBOLS, formula
from molgeo.graph.closest import Ints, Pairs, pairs_below

BOND: Final = 1.3
"""A bond is shorter than this many sums of covalent radii."""

CLEAR: Final = ((1.15, 1.4), (1.2, 1.6))
"""Distances between these, in sums of covalent radii, are neither a bond nor none: of heavy atoms,
and of hydrogen, whose bonds stretch further and whose next neighbours are further away."""

CLEAR_PART: Final = 0.2
"""Part of an element's atoms that has to be clear; else the element is not judged, as in metals."""

FEWEST: Final = 20
"""Configurations that have to hold an environment before it counts as known. Two molecules pushed
into each other are one of another kind, and a set of 200,000 has some of each."""

ALONE: Final = 0.01
"""Part of the configurations that has to hold an atom bonded to nothing before it counts as known:
hot molecules lose some, which tells a model nothing of a free atom or of a long bond."""

KEPT: Final = 2000
"""Environments that a record keeps, the most frequent ones."""

FEW_FORMULAS: Final = 10
"""So many different formulas are listed; a set of more is one of molecules in general."""

QUANTILES: Final = (0.001, 0.999)
"""Of the lengths of bonds between two elements; what lies outside is a bond about to break."""

SLACK: Final = 0.05
"""Part of its length by which a bond may lie outside the range seen."""

_RADII: Final = np.array(COVALENT_RADII)
_PAIR_NAMES: Final = np.array([[f"{a}-{b}" for b in SYMBOLS] for a in SYMBOLS])
_BLOCK: Final = 2**22
"""Distances computed at once."""


@dataclass(frozen=True)
class Environments:
    """What the training configurations of a model held.

    Attributes:
        configurations: how many there were.
        periodic: how many of them were periodic.
        counts: environment, such as ``C(C,H,H,H)`` → configurations that clearly held it. Elements
            whose neighbours are rarely clear, such as metals, have none and are not judged.
        bonds: pair of elements, such as ``C-H`` → shortest and longest bond in Å, but for one in
            a thousand at each end.
        formulas: of the configurations, if all were open and their formulas few; else empty.
    """

    configurations: int
    periodic: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    bonds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    formulas: tuple[str, ...] = ()

    def joined(self, other: Environments) -> Environments:
        """What two sets held together."""
        counts, bonds = dict(self.counts), dict(self.bonds)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        for name, (low, high) in other.bonds.items():
            mine = bonds.get(name, (low, high))
            bonds[name] = min(low, mine[0]), max(high, mine[1])
        both = {*self.formulas, *other.formulas}
        are_few = self.formulas and other.formulas and len(both) <= FEW_FORMULAS
        return Environments(
            configurations=self.configurations + other.configurations,
            periodic=self.periodic + other.periodic,
            counts=dict(sorted(counts.items(), key=lambda item: -item[1])[:KEPT]),
            bonds=bonds,
            formulas=tuple(sorted(both)) if are_few else (),
        )

    @property
    def fewest(self) -> int:
        """Configurations that make an environment known: `FEWEST`, of small sets a tenth of all."""
        return min(FEWEST, math.ceil(self.configurations / 10))

    def unfamiliar(self, z: Ints, pairs: Pairs) -> list[str]:
        """What of a structure the training data never held, or hardly ever.

        Args:
            z: (atoms,) atomic numbers.
            pairs: of atoms, all those that may be bonded and any others.

        Returns:
            One phrase each, such as ``N bonded to N alone (in 2 of 226,682 training
            configurations)``; none if all is familiar.
        """
        rare = self.rare(z, pairs, self.fewest)
        found = [
            f"{words} (in {count or 'none'} of {self.configurations:,} training configurations)"
            for words, count in rare.items()
        ]
        found += self.unusual_lengths(z, bonds(z, pairs))
        return [*found, *self.another_formula(z)]

    def rare(self, z: Ints, pairs: Pairs, least: int) -> dict[str, int]:
        """Environments of a structure that too few of the training configurations held.

        Args:
            z: (atoms,) atomic numbers.
            pairs: as in `unfamiliar`.
            least: configurations that make an environment known.

        Returns:
            Such as ``N bonded to N alone`` → configurations that held it.
        """
        names = environments(z, bonds(z, pairs))
        strange = np.flatnonzero(self.strange(z, pairs, least))
        return {_words(one): self.counts.get(one, 0) for one in sorted({names[k] for k in strange})}

    def another_formula(self, z: Ints) -> list[str]:
        """One phrase if training held few formulas and none is this structure's; else none."""
        if not self.formulas or (wanted := formula(z)) in self.formulas:
            return []
        return [f"the formula {wanted} (training held {', '.join(self.formulas)} alone)"]

    def strange(self, z: Ints, pairs: Pairs, least: int | None = None) -> NDArray[np.bool_]:
        """Which atoms have an environment that the training data hardly held.

        Args:
            z: (atoms,) atomic numbers.
            pairs: as in `unfamiliar`.
            least: as in `rare`; None for `fewest`.

        Returns:
            (atoms,), true if neither reading of an atom's bonds is known.
        """
        least = self.fewest if least is None else least
        judged = {name.partition("(")[0] for name in self.counts}
        readings = bonds(z, pairs), clear_bonds(z, pairs)[0]
        both = zip(*(environments(z, each) for each in readings), strict=True)
        return np.array(
            [
                wide.partition("(")[0] in judged
                and not (self._knows(wide, least) or self._knows(strict, least))
                for wide, strict in both
            ],
            dtype=bool,
        )

    def _knows(self, environment: str, least: int) -> bool:
        if environment.endswith("()"):
            least = max(least, math.ceil(ALONE * self.configurations))
        return self.counts.get(environment, 0) >= least

    def unusual_lengths(self, z: Ints, bonded: Pairs) -> list[str]:
        """The worst bond of each pair of elements whose length is outside the range seen."""
        worst: dict[str, tuple[float, float]] = {}
        for name, length in zip(_pair_names(z, bonded), bonded[2].tolist(), strict=True):
            low, high = self.bonds.get(name, (0.0, math.inf))  # unknown pairs are environments
            excess = max(low / length, length / high)
            if excess > max(1.0 + SLACK, worst.get(name, (0.0, 0.0))[0]):
                worst[name] = excess, length
        return [
            f"a bond {name} of {length:.2f} Å "
            f"({self.bonds[name][0]:.2f} to {self.bonds[name][1]:.2f} Å in training)"
            for name, (_, length) in sorted(worst.items())
        ]


def environments_of(z: Ints, ptr: Ints, pairs: Pairs, periodic: int = 0) -> Environments:
    """Count the environments of many configurations.

    Args:
        z: (atoms,) atomic numbers of all configurations, one after the other.
        ptr: (configurations + 1,) atoms ``ptr[m]:ptr[m + 1]`` form configuration m.
        pairs: of atoms of the same configuration, as `near_pairs` finds them.
        periodic: how many of the configurations are periodic.
    """
    n = len(ptr) - 1
    bonded = bonds(z, pairs)
    strict, is_clear = clear_bonds(z, pairs)
    clear_part = np.bincount(z[is_clear], minlength=int(z.max()) + 1) / np.bincount(z).clip(1)
    atoms = np.flatnonzero(is_clear & (clear_part[z] > CLEAR_PART))
    code = neighbourhoods(z, strict)
    _, example, kind = np.unique(code[atoms], return_index=True, return_inverse=True)
    configuration = np.repeat(np.arange(n), np.diff(ptr))[atoms]
    held = np.unique(configuration * len(example) + kind) % max(1, len(example))
    count = np.bincount(held, minlength=len(example))
    frequent = np.argsort(-count, kind="stable")[:KEPT]
    names = environments(z, strict, atoms[example[frequent]])
    pair = _pair_names(z, bonded)
    ranges = {
        str(name): np.quantile(bonded[2][pair == name], QUANTILES).round(3).tolist()
        for name in np.unique(pair)
    }
    return Environments(
        configurations=n,
        periodic=periodic,
        counts={name: int(count[k]) for name, k in zip(names, frequent, strict=True)},
        bonds={name: (low, high) for name, (low, high) in ranges.items()},
        formulas=() if periodic else _few_formulas(z, ptr),
    )


def neighbourhoods(z: Ints, bonded: Pairs) -> NDArray[np.uint64]:
    """(atoms,) codes that are equal for equal elements with equal neighbours.

    A sum of random 64-bit numbers, one per element, stands for a set of neighbours.

    Args:
        z: (atoms,) atomic numbers.
        bonded: pairs of bonded atoms.
    """
    i, j, _ = bonded
    weight = np.random.RandomState(0).randint(0, 2**63, (2, len(SYMBOLS)), np.int64)
    code = weight[0][z].astype(np.uint64)
    np.add.at(code, i, weight[1][z[j]].astype(np.uint64))
    np.add.at(code, j, weight[1][z[i]].astype(np.uint64))
    return code


def environments(z: Ints, bonded: Pairs, atoms: Ints | None = None) -> list[str]:
    """The environments of atoms, such as ``C(C,H,H,H)`` and ``O(C,H)``.

    Args:
        z: (atoms,) atomic numbers.
        bonded: pairs of bonded atoms.
        atoms: which to name; None for all.
    """
    ends = np.concatenate([bonded[0], bonded[1]])
    order = np.argsort(ends, kind="stable")
    others = np.concatenate([bonded[1], bonded[0]])[order]
    wanted = np.arange(len(z)) if atoms is None else atoms
    first = np.searchsorted(ends[order], wanted, "left")
    last = np.searchsorted(ends[order], wanted, "right")
    named = []
    for atom, a, b in zip(wanted, first, last, strict=True):
        neighbours = sorted(SYMBOLS[number] for number in z[others[a:b]])
        named.append(f"{SYMBOLS[z[atom]]}({','.join(neighbours)})")
    return named


def bonds(z: Ints, pairs: Pairs) -> Pairs:
    """Those pairs of atoms that are close enough for a bond."""
    return _near(z, pairs, BOND)


def clear_bonds(z: Ints, pairs: Pairs) -> tuple[Pairs, NDArray[np.bool_]]:
    """The pairs that are bonds without doubt, and the atoms of which no pair is doubtful.

    Args:
        z: (atoms,) atomic numbers.
        pairs: of atoms, all those closer than `longest_pair`.

    Returns:
        The pairs, and (atoms,) bool.
    """
    i, j, distance = pairs
    ratio = distance / (_RADII[z[i]] + _RADII[z[j]])
    low, high = np.array(CLEAR)[((z[i] == 1) | (z[j] == 1)).astype(int)].T
    doubtful = (ratio > low) & (ratio < high)
    is_clear = np.ones(len(z), bool)
    is_clear[i[doubtful]] = is_clear[j[doubtful]] = False
    near = ratio <= low
    return (i[near], j[near], distance[near]), is_clear


def longest_pair(z: Ints) -> float:
    """Å, beyond which no two of these elements are neighbours in any reading."""
    return 2.0 * max(map(max, CLEAR)) * float(_RADII[z].max(initial=0.0))


def near_pairs(z: Ints, pos: NDArray[Any], ptr: Ints) -> Pairs:
    """All pairs of many open configurations that may be bonds.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
        ptr: (configurations + 1,) atoms ``ptr[m]:ptr[m + 1]`` form configuration m.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    size = np.diff(ptr)
    for n in np.unique(size[size > 1]).tolist():
        firsts = ptr[:-1][size == n]
        if n * n > _BLOCK:  # one at a time, linear in its atoms
            for first in firsts.tolist():
                one = z[first : first + n], pos[first : first + n].astype(np.float64)
                i, j, distance = _near(one[0], pairs_below(one[1], longest_pair(one[0])))
                found.append((first + i, first + j, distance))
            continue
        i, j = np.triu_indices(n, 1)
        for chunk in np.array_split(firsts, math.ceil(len(firsts) * n * n / _BLOCK)):
            a, b = (chunk[:, None] + i).ravel(), (chunk[:, None] + j).ravel()
            delta = pos[a] - pos[b]
            distance = np.sqrt(np.einsum("ij,ij->i", delta, delta)).astype(np.float64)
            found.append(_near(z, (a, b, distance)))
    i, j, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return i, j, distance


def _near(z: Ints, pairs: Pairs, limit: float = max(map(max, CLEAR))) -> Pairs:
    i, j, distance = pairs
    near = distance < limit * (_RADII[z[i]] + _RADII[z[j]])
    return i[near], j[near], distance[near]


def _few_formulas(z: Ints, ptr: Ints) -> tuple[str, ...]:
    weight = np.random.RandomState(1).randint(0, 2**63, len(SYMBOLS), np.int64)
    total = np.append(np.uint64(0), np.cumsum(weight[z].astype(np.uint64)))
    code = total[ptr[1:]] - total[ptr[:-1]]
    _, example = np.unique(code, return_index=True)
    if len(example) > FEW_FORMULAS:
        return ()
    return tuple(sorted(formula(z[ptr[k] : ptr[k + 1]]) for k in example))


def _pair_names(z: Ints, bonded: Pairs) -> NDArray[np.str_]:
    """(bonds,) such as ``C-O`` and ``O-H``: by atomic number, hydrogen last."""
    heavy, light = np.maximum(z[bonded[0]], z[bonded[1]]), np.minimum(z[bonded[0]], z[bonded[1]])
    first, last = (np.where(light == 1, x, y) for x, y in ((heavy, light), (light, heavy)))
    return np.asarray(_PAIR_NAMES[first, last])


def _words(environment: str) -> str:
    """``C(O,O)`` → ``C bonded to O, O alone``."""
    atom, _, neighbours = environment.rstrip(")").partition("(")
    if not neighbours:
        return f"{atom} bonded to nothing"
    return f"{atom} bonded to {neighbours.replace(',', ', ')} alone"
