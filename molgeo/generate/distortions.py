"""Internal coordinates that are changed one at a time: torsions, angles, bonds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.generate.bonded import Array, Bonded

WIDEST_BEND: Final = np.radians(60.0)
SHORTEST: Final = 0.8
LONGEST_STRETCH: Final = 2.5
LONGEST_IN_RING: Final = 1.5
"""Factors of a bond's length."""


def turned(
    bonded: Bonded, displacement: Array, rng: np.random.Generator, relaxation: int
) -> Array | None:
    """One to three torsions about single bonds, each turned to any angle.

    Args:
        bonded: the molecule.
        displacement: (atoms, 3) Å, of the molecule before; it turns with its atoms.
        rng: of bonds and angles.
        relaxation: most steps of a relaxation after half of the turns.

    Returns:
        (atoms, 3) Å; None if there is no such bond.
    """
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in bonded.mol.GetBonds()
        if bond.GetBondType() == Chem.BondType.SINGLE
        and not bond.IsInRing()
        and min(bond.GetBeginAtom().GetDegree(), bond.GetEndAtom().GetDegree()) > 1
    ]
    if not bonds:
        return None
    n = min(len(bonds), int(rng.integers(1, 4)))
    pos, displacement = bonded.pos.copy(), displacement.copy()
    for k in rng.choice(len(bonds), n, replace=False):
        i, j = bonds[k]
        side = _side(bonded, i, j)
        R = _rotation(pos[j] - pos[i], float(rng.uniform(-np.pi, np.pi)))
        pos[side] = (pos[side] - pos[j]) @ R.T + pos[j]
        displacement[side] = displacement[side] @ R.T
    steps = int(rng.integers(1, relaxation + 1)) if relaxation and rng.random() < 0.5 else 0
    return bonded.at(pos).relaxed(steps).pos + displacement


def bent(bonded: Bonded, pos: Array, rng: np.random.Generator) -> Array | None:
    """One angle, changed by up to 60°.

    Args:
        bonded: the molecule, whose bonds count.
        pos: (atoms, 3) Å to start from.
        rng: of the angle and its change.

    Returns:
        (atoms, 3) Å; None if there is no angle outside rings.
    """
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in bonded.mol.GetBonds()
        if not bond.IsInRing()
    ]
    both_ways = [*bonds, *((k, j) for j, k in bonds)]
    angles = [(i, j, k) for j, k in both_ways for i in bonded.neighbours[j] if i != k]
    if not angles:
        return None
    i, j, k = angles[rng.integers(len(angles))]
    one, other = pos[i] - pos[j], pos[k] - pos[j]
    # A straight angle has no plane: any axis across the bond will do.
    axis = np.cross(one, other) + 1e-3 * np.cross(other, rng.standard_normal(3))
    R = _rotation(axis, float(rng.uniform(-WIDEST_BEND, WIDEST_BEND)))
    side = _side(bonded, j, k)
    moved = pos.copy()
    moved[side] = (pos[side] - pos[j]) @ R.T + pos[j]
    return moved


def stretched(bonded: Bonded, pos: Array, rng: np.random.Generator) -> tuple[Array, float] | None:
    """One bond, compressed or pulled until it breaks; half of the factors are below 1.06.

    Args:
        bonded: the molecule, whose bonds count.
        pos: (atoms, 3) Å to start from.
        rng: of the bond and the factor.

    Returns:
        (atoms, 3) Å and the factor of the bond's length; None if there is no bond.
    """
    if not bonded.mol.GetNumBonds():
        return None
    bond = bonded.mol.GetBondWithIdx(int(rng.integers(bonded.mol.GetNumBonds())))
    i, j = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    if rng.random() < 0.5:
        i, j = j, i
    longest = LONGEST_IN_RING if bond.IsInRing() else LONGEST_STRETCH
    factor = float(SHORTEST * (longest / SHORTEST) ** rng.random() ** 2)
    moved = pos.copy()
    moved[_side(bonded, i, j)] += (factor - 1.0) * (pos[j] - pos[i])
    return moved, factor


def _side(bonded: Bonded, i: int, j: int) -> NDArray[np.int64]:
    """Atoms that move with j if it moves against i: of a ring, j alone and what hangs on it."""
    mol = bonded.mol
    in_ring = mol.GetBondBetweenAtoms(i, j).IsInRing()
    found, left = {j}, [j]
    while left:
        atom = left.pop()
        for n in bonded.neighbours[atom]:
            crossed = mol.GetBondBetweenAtoms(atom, n)
            barred = atom == j and (n == i or (in_ring and crossed.IsInRing()))
            if n not in found and not barred:
                found.add(n)
                left.append(n)
    return np.array(sorted(found))


def _rotation(axis: Array, angle: float) -> Array:
    """(3, 3) rotation about an axis: Rodrigues' formula, R = 1 + sin φ K + (1 − cos φ) K²."""
    x, y, z = axis / np.linalg.norm(axis)
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: Array = np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * K @ K
    return rotation
