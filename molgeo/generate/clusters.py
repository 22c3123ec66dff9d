"""Molecules beside each other, at a drawn contact."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.generate.bonded import Array, Bonded

Atoms = tuple[NDArray[np.int64], Array]
"""Atomic numbers (atoms,) and positions (atoms, 3) in Å."""

POLAR: Final = 0.6
"""Share of contacts of a lone pair with a hydrogen or halogen atom that faces it."""

TILT: Final = 0.3
"""Standard deviation of a facing atom's direction, per Cartesian component."""

FLAT: Final = 0.25
"""Å. If an atom's bonds cancel up to this, it faces across the plane of its neighbours."""

LONE_PAIRS: Final = frozenset((7, 8, 9, 15, 16, 17, 35, 53))
HEAVY_HALOGENS: Final = frozenset((17, 35, 53))


def random_rotation(rng: np.random.Generator) -> Array:
    """(3, 3), uniform over all rotations."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    rotation: Array = q
    return rotation


def contact(a: Atoms, b: Atoms) -> float:
    """The closest contact of two molecules: min over pairs of ``d_ij / (r_i + r_j)``.

    With van der Waals radii r, 1 is touching.

    Args:
        a: one molecule.
        b: the other.
    """
    d = np.linalg.norm(a[1][:, None] - b[1][None], axis=-1)
    return float((d / _reach(a[0], b[0])).min())


def place(a: Atoms, b: Atoms, wanted: float, rng: np.random.Generator) -> Array:
    """Put b beside a, turned at random, in a random direction, at a contact.

    Args:
        a: one molecule.
        b: the other.
        wanted: `contact` of the two.
        rng: of orientation and direction.

    Returns:
        (atoms, 3) Å, positions of b: the outermost of those with this contact.
    """
    turned = (b[1] - b[1].mean(0)) @ random_rotation(rng) + a[1].mean(0)
    return _slide(a, (b[0], turned), random_rotation(rng)[0], wanted)


def face(a: Bonded, b: Bonded, wanted: float, rng: np.random.Generator) -> Array:
    """Put b beside a, so that an atom of each faces one of the other, at a contact.

    The atoms are a lone pair and a hydrogen or halogen more often than not; else any two, which
    stacks flat molecules too.

    Args:
        a: one molecule, or several.
        b: the other.
        wanted: `contact` of the two.
        rng: of atoms, tilt and turn.

    Returns:
        (atoms, 3) Å, positions of b: the outermost of those with this contact.
    """
    i, j = _facing(a, b, rng)
    direction = _outward(a, i, rng) + TILT * rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    centred = (b.pos - b.pos[j]) @ random_rotation(rng)
    towards = _outward(b.at(centred), j, rng)
    turned = centred @ _onto(towards, -direction).T + a.pos[i]
    return _slide((a.z, a.pos), (b.z, turned), direction, wanted)


def _slide(a: Atoms, b: Atoms, direction: Array, wanted: float) -> Array:
    """Move b along a direction to the outermost place with a contact.

    Each pair at ``Δ + t u`` is at its distance w if ``t = −Δ·u ± √((Δ·u)² − Δ² + w²)``.
    """
    delta = b[1][None] - a[1][:, None]
    along = delta @ direction
    inside = along**2 - (delta**2).sum(-1) + (wanted * _reach(a[0], b[0])) ** 2
    t = np.where(inside >= 0.0, -along + np.sqrt(np.maximum(inside, 0.0)), -np.inf).max()
    if not np.isfinite(t):  # b passes through a gap of a: nothing is closer on this line
        t = 0.0
    placed: Array = b[1] + t * direction
    return placed


def _reach(z: NDArray[np.int64], others: NDArray[np.int64]) -> Array:
    """(atoms, others) sums of van der Waals radii, Å."""
    radii = _radii()
    reach: Array = radii[z][:, None] + radii[others][None]
    return reach


@cache
def _radii() -> Array:
    table = Chem.GetPeriodicTable()
    return np.array([table.GetRvdw(n) for n in range(101)])


def _facing(a: Bonded, b: Bonded, rng: np.random.Generator) -> tuple[int, int]:
    """An atom of each that shall face the other."""
    if rng.random() < POLAR:
        ways = [(_lone_pairs(a), _poor_atoms(b)), (_poor_atoms(a), _lone_pairs(b))]
        ways = [way for way in ways if way[0] and way[1]]
        if ways:
            one, other = ways[rng.integers(len(ways))]
            return int(rng.choice(one)), int(rng.choice(other))
    return int(rng.integers(len(a.z))), int(rng.integers(len(b.z)))


def _lone_pairs(bonded: Bonded) -> list[int]:
    return [
        k
        for k, z in enumerate(bonded.z.tolist())
        if z in LONE_PAIRS and len(bonded.neighbours[k]) < 4
    ]


def _poor_atoms(bonded: Bonded) -> list[int]:
    """Atoms short of electrons: hydrogens on anything but carbon, and heavy halogens."""
    return [
        k
        for k, z in enumerate(bonded.z.tolist())
        if z in HEAVY_HALOGENS
        or (z == 1 and any(bonded.z[n] in LONE_PAIRS for n in bonded.neighbours[k]))
    ]


def _outward(bonded: Bonded, k: int, rng: np.random.Generator) -> Array:
    """Unit vector in which an atom faces away from what it is bonded to."""
    bonds = bonded.pos[k] - bonded.pos[bonded.neighbours[k]]
    vector = bonds.mean(0) if len(bonds) else rng.standard_normal(3)
    if len(bonds) > 1 and np.linalg.norm(vector) < FLAT:
        vector = np.cross(bonds[0], bonds[1]) * rng.choice([-1.0, 1.0])
    size = float(np.linalg.norm(vector))
    if size < 1e-6:
        return random_rotation(rng)[0]
    outward: Array = vector / size
    return outward


def _onto(start: Array, end: Array) -> Array:
    """(3, 3) the smallest rotation of one unit vector onto another: 1 + K + K²/(1 + cos φ)."""
    x, y, z = np.cross(start, end)
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation: Array = np.eye(3) + K + K @ K / max(1.0 + float(start @ end), 1e-9)
    return rotation
