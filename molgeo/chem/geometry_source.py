"""Where given coordinates come from, as the lengths of their bonds tell.

Minima of one method have bonds of one kind at one length, and the lengths of two methods differ by
more than they scatter: GFN2-xTB's bonds are 10 mÅ shorter than B3LYP's, MMFF94's are what its table
says. Noise and heat move all of them. So each bond, and each distance across one angle, has a
likelihood under every source; sums of these over a molecule are weighed by a logistic regression.
The means, widths and weights come from `benchmarks/geometry_sources.py`, of molecules that QM9's
models were trained on.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS
from molgeo.graph.closest import Floats, Ints
from molgeo.graph.environments import bonds, near_pairs

DFT: Final = "dft"
MMFF94: Final = "like mmff94"
GFN2: Final = "like gfn2"
DISTORTED: Final = "distorted"
SOURCES: Final = (DFT, MMFF94, GFN2, DISTORTED)
"""What coordinates may be: minima of a density functional, of MMFF94, of GFN2-xTB; or no minima."""

VERSION: Final = 1
"""Of the data file."""

STEP: Final = 1e-4
"""Å, in which the file has its lengths."""

_MOVED: Final = 0.045
"""Å. What noise and heat add to the width of a length."""

_SHORT: Final = 0.9957
"""Lengths of range-separated functionals over B3LYP's: in relaxed molecules ωB97M's heavy bonds are
6 mÅ shorter, which is nearer to GFN2's than to B3LYP's. They count as those of a functional."""

_MARGIN: Final = np.array([0.0, 1.5, -1.0, 1.0])
"""By how much the logit of each of `SOURCES` must exceed that of a functional. Molecules that are
larger than QM9's, or of another kind, deviate from its means at any level of theory."""

_TAIL: Final = 3.0
"""Degrees of freedom of Student's t: molecules of an unknown kind deviate far, in a few bonds."""

_MOST: Final = 3.0
"""Most that one length says for a source or against it, so that no odd bond decides."""

_KNOWN: Final = 0.8
"""Part of a molecule's bonds whose kind must be known; else there is no judgement."""

_CODES: Final = np.random.RandomState(0).randint(0, 2**63, (3, len(SYMBOLS), 8), np.int64)
_WEIGHTS: Final = _CODES.astype(np.uint64)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)

Codes = NDArray[np.uint64]


class Lengths(NamedTuple):
    """Bonds, and distances across angles, of many molecules.

    Attributes:
        ends: (lengths, 2) the two atoms.
        kinds: (lengths,) each, codes of the kind: by the elements and numbers of bonds of its
            atoms; by the elements of their neighbours too; by the numbers of bonds of these and by
            small rings too.
        group: (lengths,) 0 for bonds to hydrogen, 1 for other bonds, 2 across an angle.
        length: (lengths,) Å.
        molecule: (lengths,) of which molecule.
    """

    ends: Ints
    kinds: tuple[Codes, ...]
    group: Ints
    length: Floats
    molecule: Ints


GROUPS: Final = 3


class Table(NamedTuple):
    """What is known of the sources.

    Attributes:
        codes: (kinds,) ascending, of kinds, coarse and fine.
        mean: (kinds, 3) Å, at the first three of `SOURCES`.
        width: (kinds, 3) Å.
        weights: (features + 1, 5) of the logistic regression, for `SOURCES` and for functionals
            with shorter bonds; the last row is the bias.
    """

    codes: Codes
    mean: Floats
    width: Floats
    weights: Floats


def lengths_of(z: Ints, pos: Floats, ptr: Ints) -> Lengths:
    """Bonds and distances across angles.

    Args:
        z: (atoms,) atomic numbers of all molecules, one after the other.
        pos: (atoms, 3) Å.
        ptr: (molecules + 1,) atoms ``ptr[m]:ptr[m + 1]`` form molecule m.
    """
    i, j, _ = bonds(z, near_pairs(z, pos, ptr))
    ends, others = np.concatenate([i, j]), np.concatenate([j, i])
    order = np.argsort(ends, kind="stable")
    ends, others = ends[order], others[order]
    degree = np.bincount(ends, minlength=len(z)).clip(max=7)
    a, b, centre = _angles(ends, others, int(degree.max(initial=0)))
    first, second = np.concatenate([i, a]), np.concatenate([j, b])
    angle = np.repeat([False, True], [len(i), len(a)])

    # Kinds of atoms, from coarse to fine: a sum of random numbers stands for a set of neighbours.
    atom = _mixed(_WEIGHTS[0][z, degree])
    around, further = atom.copy(), _mixed(atom + _small_rings(len(z), i, j, a, b, centre))
    np.add.at(around, ends, _WEIGHTS[1][z[others], 0])
    np.add.at(further, ends, _WEIGHTS[2][z[others], degree[others]])
    kinds = []
    for inner, outer in ((atom, _WEIGHTS[1][z, 0]), (around, _WEIGHTS[1][z, 0]), (further, atom)):
        inner, outer = _mixed(inner), _mixed(outer)
        code = inner[first] + inner[second]
        code[angle] = outer[a] + outer[b] + _mixed(inner[centre])
        kinds.append(code)
    group = np.where(angle, 2, ((z[first] > 1) & (z[second] > 1)).astype(np.int64))
    molecule = np.searchsorted(ptr, first, "right") - 1
    length = np.linalg.norm(pos[first] - pos[second], axis=1)
    return Lengths(np.stack([first, second], 1), tuple(kinds), group, length, molecule)


def _angles(ends: Ints, others: Ints, most: int) -> tuple[Ints, Ints, Ints]:
    """Both ends and the centre of each angle, from bonds sorted by ``ends``."""
    parts = [(np.zeros(0, np.int64),) * 3]
    for shift in range(1, most):
        same = np.flatnonzero(ends[:-shift] == ends[shift:])
        parts.append((others[same], others[same + shift], ends[same]))
    a, b, centre = (np.concatenate(part) for part in zip(*parts, strict=True))
    return a, b, centre


def _small_rings(n: int, i: Ints, j: Ints, a: Ints, b: Ints, centre: Ints) -> Codes:
    """(atoms,) codes of how many rings of three and of four each atom is in."""
    low, high = np.minimum(a, b), np.maximum(a, b)
    pair = low * n + high
    bonded = np.isin(pair, np.minimum(i, j) * n + np.maximum(i, j))
    _, place, count = np.unique(pair, return_inverse=True, return_counts=True)
    twice = (count[place] > 1) & ~bonded
    rings = np.zeros((2, n), np.int64)
    np.add.at(rings[0], centre[bonded], 1)
    np.add.at(rings[1], centre[twice], 1)
    three, four = rings.clip(max=7)
    return _WEIGHTS[1][0, three] + _WEIGHTS[2][0, four]


def features(found: Lengths, n: int, table: Table) -> tuple[Floats, NDArray[np.bool_]]:
    """What the lengths of each molecule say for the sources.

    Args:
        found: of all molecules.
        n: how many molecules.
        table: what is known; its weights are not used.

    Returns:
        (molecules, features) and (molecules,) whether the kinds of enough bonds are known.
    """
    place = np.full(len(found.length), -1)
    for code in found.kinds:  # the finest that is known
        better = _place(table.codes, code)
        place = np.where(better < 0, place, better)
    known = place >= 0
    mean, width = table.mean[place[known]], table.width[place[known]]
    dft, spread = mean[:, :1], width[:, :1]
    mean = np.concatenate([mean, dft, _SHORT * dft], 1)
    width = np.concatenate([width, np.hypot(spread, _MOVED), spread], 1)
    deviation = (found.length[known, None] - mean) / width
    # log of Student's density, but for what all sources share.
    logs = -np.log(width) - (_TAIL + 1) / 2 * np.log1p(deviation**2 / _TAIL)
    better = np.clip(logs[:, 1:] - logs[:, :1], -_MOST, _MOST)
    cell = found.molecule[known] * GROUPS + found.group[known]
    count = np.bincount(cell, minlength=n * GROUPS).clip(1)
    sums = [np.bincount(cell, column, minlength=n * GROUPS) for column in better.T]
    # Deviations within one molecule are alike: what n of them say grows as √n.
    out = (np.stack(sums, 1) / np.sqrt(count)[:, None]).reshape(n, GROUPS * better.shape[1])
    is_bond = found.group < 2
    total = np.bincount(found.molecule[is_bond], minlength=n)
    familiar = np.bincount(found.molecule[is_bond & known], minlength=n)
    return out, (total > 0) & (familiar >= _KNOWN * total)


def judge(z: Ints, pos: Floats, ptr: Ints) -> list[str | None]:
    """Where the coordinates of molecules come from.

    Args:
        z: (atoms,) atomic numbers of all molecules, one after the other.
        pos: (atoms, 3) Å, finite and plausible.
        ptr: (molecules + 1,) atoms ``ptr[m]:ptr[m + 1]`` form molecule m.

    Returns:
        For each molecule one of `SOURCES`; None if too few of its bonds are of a known kind.
    """
    table = _table()
    n = len(ptr) - 1
    found, known = features(lengths_of(z, pos, ptr), n, table)
    logits = found @ table.weights[:-1] + table.weights[-1]
    logits[:, 0] = np.maximum(logits[:, 0], logits[:, -1])
    best = (logits[:, :-1] - _MARGIN).argmax(1)
    return [SOURCES[k] if sure else None for k, sure in zip(best, known, strict=True)]


def _mixed(code: Codes) -> Codes:
    """Codes whose sums tell pairs apart."""
    mixed: Codes = (code ^ (code >> np.uint64(31))) * _MIX
    return mixed


def _place(codes: Codes, wanted: Codes) -> Ints:
    """Where codes stand in a sorted list; -1 for those that do not."""
    place = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
    return np.where(codes[place] == wanted, place, -1)


def read_sources(path: Path | Traversable) -> Table:
    """A file that `benchmarks/geometry_sources.py` wrote.

    Raises:
        ValueError: it is of another version.
    """
    with path.open("rb") as file:
        data = np.load(file)
        if int(data["version"]) != VERSION:
            raise ValueError(f"{path.name}: expected version {VERSION}, got {data['version']}")
        mean, width = (data[name] * STEP for name in ("mean", "width"))
        return Table(data["codes"], mean, width, data["weights"].astype(np.float64))


@cache
def _table() -> Table:
    """The package's own."""
    return read_sources(resources.files("molgeo.chem") / "geometry_sources.npz")
