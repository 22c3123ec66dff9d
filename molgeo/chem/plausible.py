"""Whether coordinates can be those of a molecule in Å, with all of its hydrogens.

Three numbers hardly depend on the chemistry: the length of a bond over the sum of the covalent
radii is about 1; no bond is half as long; and the orders of an atom's bonds, as their lengths tell
them (Pauling), sum up to its valence, so that what is lacking is hydrogen that was left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import COVALENT_RADII, SYMBOLS
from molgeo.graph.closest import Floats, Ints, pairs_below
from molgeo.units import COORDINATE_UNITS

BONDED: Final = 1.35
"""Times the length of a single bond, within which two atoms are bonded: C–C up to 2.05 Å."""

# Times that length: beyond it from its nearest, an atom is bonded to nothing; the same for atoms
# that may be ions; and no bond is shorter than the third (N≡N has 0.76, a hot C–H 0.65).
_LONE, _LONE_ION, _TOO_SHORT = 1.5, 2.2, 0.5

_SCALE: Final = (0.75, 1.3)  # bounds of the typical ratio of a molecule

# Typical ratios in the right unit; bonds to hydrogen are always single ones.
_EXPECTED, _EXPECTED_H = (0.72, 1.25), (0.88, 1.13)

# Of an atom's valence, what must be lacking to tell a hydrogen from a long bond: relaxed molecules
# lack 0.4 at most, molecules in motion at 500 K 0.65. Then the same for structures that are hot,
# and below which an atom of a relaxed molecule has all of its hydrogens for certain.
_LACKING, _LACKING_HOT, _CERTAIN = 0.65, 0.85, 0.45

HOT: Final = 0.065
"""Deviation of a bond to hydrogen from its usual length, relative, that only motion explains."""

_ROWS: Final = 1000  # atoms whose neighbours are looked at; a unit is wrong for all or for none
_NOBLE: Final = (2, 10, 18, 36, 54, 86)
_IONS: Final = (3, 4, 9, 11, 12, 17, 19, 20, 35, 37, 38, 53, 55, 56)
_VALENCE: Final = {6: 4, 7: 3, 8: 2, 9: 1, 14: 4, 15: 3, 16: 2, 17: 1, 34: 2, 35: 1, 53: 1}
"""Least valences; boron and metals share electrons among many atoms."""

_BOND: Final = np.add.outer(COVALENT_RADII, COVALENT_RADII)
"""(elements, elements) lengths of single bonds in Å."""
# Bonds that lone pairs make longer than the sum of covalent radii, and H2: CRC Handbook, "Bond
# lengths in gas-phase molecules" (H2, N2H4, NH2OH, NF3, H2O2, OF2, F2, P4), Å.
for _a, _b, _length in (
    *((1, 1, 0.741), (7, 7, 1.449), (7, 8, 1.453), (7, 9, 1.365)),
    *((8, 8, 1.475), (8, 9, 1.405), (9, 9, 1.412), (15, 15, 2.21)),
):
    _BOND[_a, _b] = _BOND[_b, _a] = _length

_CONJUGATED: Final = 1.15  # order of a bond, above which it is more than single

_PAULING: Final = 0.3
"""Å. Bonds of order n are shorter by 0.3 ln n (Pauling, J. Am. Chem. Soc. 69, 542, 1947)."""


def implausible(
    z: Ints, pos: Floats, cell: Floats | None = None, pbc: Sequence[bool] = (False, False, False)
) -> str | None:
    """Why coordinates cannot be Å: a wrong unit, an impossible bond, an atom bonded to nothing.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å, finite.
        cell: (3, 3) lattice vectors in Å, as rows; None for an open system.
        pbc: periodic along each lattice vector.

    Returns:
        A sentence with the factor that would mend it, or None. A single atom, and noble gases, are
        fine as far as this goes.
    """
    ratio, nearest = _nearest(z, pos, cell, pbc)
    seen = np.isfinite(ratio) & ~np.isin(z, _NOBLE)
    if not seen.any():
        return None
    reason = _wrong_unit(z, pos, ratio, nearest, seen)
    if reason is not None:
        return reason
    shortest = int(np.where(seen, ratio, np.inf).argmin())
    if ratio[shortest] < _TOO_SHORT:
        i, j = sorted((shortest, int(nearest[shortest])))
        fractions = "; they look like fractions of a cell" if np.abs(pos).max() <= 1 else ""
        return (
            f"atoms {i + 1} ({SYMBOLS[z[i]]}), {j + 1} ({SYMBOLS[z[j]]}) are "
            f"{ratio[shortest] * _BOND[z[i], z[j]]:.3f} Å apart: give coordinates in Å, with one "
            f"entry for each atom{fractions}"
        )
    lone = np.flatnonzero(seen & (ratio > np.where(np.isin(z, _IONS), _LONE_ION, _LONE)))
    if not len(lone):
        return None
    i, j = int(lone[0]), int(nearest[lone[0]])
    more = f" (and {len(lone) - 1} more)" if len(lone) > 1 else ""
    return (
        f"atom {i + 1} ({SYMBOLS[z[i]]}) is bonded to nothing{more}: its nearest, atom {j + 1} "
        f"({SYMBOLS[z[j]]}), is {ratio[i] * _BOND[z[i], z[j]]:.2f} Å away; a bond is "
        f"{_BOND[z[i], z[j]]:.2f} Å long; check the coordinates"
    )


def _wrong_unit(
    z: Ints, pos: Floats, ratio: Floats, nearest: Ints, seen: NDArray[np.bool_]
) -> str | None:
    """That all bonds are too long or too short by about the same factor."""
    hydrogens = seen & (z == 1) & (z[nearest] > 1)
    low, high = _EXPECTED_H if hydrogens.any() else _EXPECTED
    ratios = np.sort(ratio[hydrogens if hydrogens.any() else seen])
    typical = float(ratios[(len(ratios) - 1) // 2])
    # A wrong unit makes all bonds short; two atoms in one place make but theirs so.
    if not typical or (typical <= _SCALE[1] and np.quantile(ratio[seen], 0.9) >= _SCALE[0]):
        return None
    what = "bonds to hydrogen" if hydrogens.any() else "bonds"
    by = f"{max(typical, 1 / typical):.3g} times too {'short' if typical < 1 else 'long'}"
    reason = f"the coordinates are not in Å: {what} are {by}"
    for name, unit in COORDINATE_UNITS.items():
        if low < unit * typical < high:
            hint = f"{name}: multiply them by {unit:.4g}, or say units={name}"
            return f"{reason}; they look like {hint}"
        if low < typical / unit < high:
            hint = f"Å that were taken for {name}: multiply them by {1 / unit:.4g}"
            return f"{reason}; they look like {hint}"
    if ratio[seen].min() <= _TOO_SHORT:
        return None
    drawn = len(pos) > 3 and not np.ptp(pos, axis=0).all()
    hint = "; all atoms lie in a plane: is it a drawing?" if drawn else ": check their unit"
    return f"{reason}, which no usual unit explains{hint}"


def unfit_to_move(
    z: Ints, pos: Floats, cell: Floats | None = None, pbc: Sequence[bool] = (False, False, False)
) -> str | None:
    """Why no simulation should start from a structure, or None; arguments as in `implausible`.

    Structures may be hot, strained and of several molecules. Hydrogens are counted in open systems.
    """
    periodic = np.zeros((0, 3)) if cell is None else cell[np.array(pbc, dtype=bool)]
    if not np.isfinite(pos).all() or np.linalg.matrix_rank(periodic) < len(periodic):
        return None  # which is for others to say
    reason = implausible(z, pos, cell, pbc)
    n = 0 if reason or any(pbc) else missing_hydrogens(z, pos, at_least=2)
    return hydrogens_missing(n) if n else reason


def fragments(z: Ints, pos: Floats) -> list[Ints]:
    """The molecules of a structure: indices of atoms that bonds connect, the largest first.

    Noble gases alone are taken for one: of them no bond can be told.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å, finite.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if np.isin(z, _NOBLE).all():
        return [np.arange(len(z))]
    i, j, _, _ = _bonds(z, pos)
    matrix = coo_array((np.ones(len(i)), (i, j)), shape=(len(z), len(z)))
    n, part = connected_components(matrix, directed=False)
    return sorted((np.flatnonzero(part == k) for k in range(n)), key=len, reverse=True)


def missing_hydrogens(z: Ints, pos: Floats, charge: int = 0, at_least: int = 1) -> int:
    """How many hydrogens the lengths of bonds leave room for.

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å, finite.
        charge: total charge in e: each may be a valence that is lacking.
        at_least: valences that must be lacking; one of them may be a bond that is stretched.

    Returns:
        0 if nothing is lacking, also for a single atom. Otherwise about as many as are missing;
        even for an even number of electrons. Of hot structures, whose bonds are of any length, only
        those are told that lack many.
    """
    if len(z) < 2:
        return 0
    lacking, is_hot = _lacking(z, pos)
    found = lacking[lacking > (_LACKING_HOT if is_hot else _LACKING)]
    n = float(np.rint(found).sum()) - abs(charge)
    if n < at_least or (is_hot and (n < 2 or 3 * n <= (z == 1).sum())):
        return 0
    odd = (int(z.sum()) - charge) % 2
    return max(2 - odd, 2 * round((float(found.sum()) - abs(charge) - odd) / 2) + odd)


def hydrogens_of_atom(z: int) -> int:
    """How many hydrogens an atom that is alone would have; 0 if nothing is known."""
    return _VALENCE.get(z, 0)


def has_all_hydrogens(z: Ints, pos: Floats) -> bool:
    """Whether the lengths of bonds say that each atom has all of its bonds, beyond doubt."""
    if len(z) < 2 or not np.isfinite(pos).all() or implausible(z, pos):
        return False
    lacking, is_hot = _lacking(z, pos)
    return bool(lacking.max() < _CERTAIN) and not is_hot


def bond_length(a: int, b: int, order: float = 1.0) -> float:
    """Å. The usual length of a bond between two elements, given by atomic numbers."""
    return float(_BOND[a, b]) - _PAULING * math.log(max(order, 1.0))


def hydrogens_missing(n: int) -> str:
    """What to say of hydrogens that are not there."""
    are, them = ("s are", "them") if n > 1 else (" is", "it")
    return f"{n} hydrogen{are} missing from the 3D coordinates: add {them}, or give the SMILES"


def _lacking(z: Ints, pos: Floats) -> tuple[Floats, bool]:
    """Valence that the bonds of each atom leave open, 0 if nothing is known; is it in motion?"""
    i, j, ratio, order = _bonds(z, pos)
    total = np.zeros(len(z))
    np.add.at(total, i, order)
    np.add.at(total, j, order)
    valence = np.array([_VALENCE.get(n, 0) for n in range(len(SYMBOLS))])[z]
    lacking = np.where(valence > 0, valence - total, 0.0)
    # A charge of an atom's neighbour, as that of nitrogen in an N-oxide, accounts for its own.
    excess = np.where((valence > 0) & (valence < 4), np.maximum(total - valence, 0.0), 0.0)
    excess[excess < 0.45] = 0.0
    alone = np.bincount(np.concatenate([i, j]), minlength=len(z)) == 1
    for a, b in ((i, j), (j, i)):
        # Not that of a carbon at a single bond: nitrogen in an amide is no ylide.
        shared = np.where((z[a] == 6) & (order < _CONJUGATED), 0.0, excess[b])
        np.subtract.at(lacking, a, shared)
        # Boron and metals have no valence to speak of, and take that of their neighbours along.
        lacking[a[(valence[b] == 0) & (z[b] != 1)]] = 0.0
        # The lone pair of CO, isocyanides and SiO.
        lacking[a[alone[a] & (order > 2.0) & (valence[a] == 4) & (valence[b] < 4)]] = 0.0
    to_hydrogen = (z[i] == 1) != (z[j] == 1)
    return lacking, bool((np.abs(ratio[to_hydrogen] - 1.0) > HOT).any())


def _bonds(z: Ints, pos: Floats) -> tuple[Ints, Ints, Floats, Floats]:
    """Ends, relative lengths and orders of all bonds; a hydrogen has one, to the nearest atom."""
    longest = BONDED * float(_BOND[np.ix_(np.unique(z), np.unique(z))].max())
    i, j, d = pairs_below(pos, longest)
    length = _BOND[z[i], z[j]]
    ratio = d / length
    # Of two hydrogens that meet, each keeps to its own molecule.
    rank = ratio + 10.0 * ((z[i] == 1) & (z[j] == 1))
    best = np.full(len(z), np.inf)
    np.minimum.at(best, i, rank)
    np.minimum.at(best, j, rank)
    keep = ratio < BONDED
    for a in (i, j):
        keep &= (z[a] != 1) | (rank <= best[a])
    # Pauling: n = exp((d1 − d) / 0.3 Å), from single to triple bonds.
    is_single = (z[i] == 1) | (z[j] == 1)
    order = np.where(is_single, 1.0, np.clip(np.exp((length - d) / _PAULING), 1.0, 3.0))
    return i[keep], j[keep], ratio[keep], order[keep]


def _nearest(z: Ints, pos: Floats, cell: Floats | None, pbc: Sequence[bool]) -> tuple[Floats, Ints]:
    """Distance of each atom to its nearest, in lengths of single bonds, and which that is.

    Of very many atoms only some are looked at; the others have NaN. So have atoms without another.
    """
    n = len(z)
    ratio, nearest = np.full(n, np.nan), np.zeros(n, np.int64)
    shifts = np.zeros((1, 3))
    if cell is not None and any(pbc):
        ranges = [(-1, 0, 1) if periodic else (0,) for periodic in pbc]
        shifts = np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3) @ cell
        periodic = cell[np.array(pbc, dtype=bool)]
        pos = pos - np.floor(pos @ np.linalg.pinv(periodic)) @ periodic  # all in one cell
    rows = np.unique(np.linspace(0, n - 1, min(n, _ROWS)).astype(np.int64)) if n else nearest
    block = max(1, 1_000_000 // (n * len(shifts))) if n else 1
    for start in range(0, len(rows), block):
        row = rows[start : start + block]
        delta = pos[None, :, None] + shifts - pos[row][:, None, None]
        d = np.sqrt(np.einsum("ijsx,ijsx->ijs", delta, delta))
        d[np.arange(len(row)), row, len(shifts) // 2] = np.inf
        relative = d.min(-1) / _BOND[z[row][:, None], z[None, :]]
        nearest[row] = relative.argmin(1)
        ratio[row] = relative.min(1)
    ratio[np.isinf(ratio)] = np.nan
    return ratio, nearest
