"""Two molecules at a drawn contact."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from molgeo.generate.dynamics import Array


def random_rotation(rng: np.random.Generator) -> Array:
    """(3, 3), uniform over all rotations."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    rotation: Array = q
    return rotation


def contact(a: tuple[NDArray[np.int64], Array], b: tuple[NDArray[np.int64], Array]) -> float:
    """The closest contact of two molecules: min over pairs of ``d_ij / (r_i + r_j)``.

    With van der Waals radii r, 1 is touching.

    Args:
        a: atomic numbers (atoms,) and positions (atoms, 3) in Å.
        b: the same of the other.
    """
    table = Chem.GetPeriodicTable()
    radii = [np.array([table.GetRvdw(int(n)) for n in z]) for z, _ in (a, b)]
    d = np.linalg.norm(a[1][:, None] - b[1][None], axis=-1)
    return float((d / (radii[0][:, None] + radii[1][None])).min())


def place(
    a: tuple[NDArray[np.int64], Array],
    b: tuple[NDArray[np.int64], Array],
    wanted: float,
    rng: np.random.Generator,
) -> Array:
    """Put b beside a, turned at random, in a random direction, at a contact.

    Args:
        a: atomic numbers (atoms,) and positions (atoms, 3) in Å.
        b: the same of the other.
        wanted: `contact` of the two.
        rng: of orientation and direction.

    Returns:
        (atoms, 3) Å, positions of b: the outermost of those with this contact, to 1e-3 Å.
    """
    turned = (b[1] - b[1].mean(0)) @ random_rotation(rng)
    direction = random_rotation(rng)[0]
    centre = a[1].mean(0)

    def at(distance: float) -> Array:
        placed: Array = turned + centre + distance * direction
        return placed

    far = 1.0 + sum(np.abs(x - x.mean(0)).max() * 2 for x in (a[1], turned)) + 6.0 * wanted
    near = far
    while near > 0.0 and contact(a, (b[0], at(near))) > wanted:
        far, near = near, near - 0.2
    while far - near > 1e-3:  # the contact is below what is wanted at near, above it at far
        middle = 0.5 * (near + far)
        if contact(a, (b[0], at(middle))) > wanted:
            far = middle
        else:
            near = middle
    return at(far)
