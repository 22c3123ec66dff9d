"""A first guess of how stiff a molecule is, from its atoms' distances alone.

BFGS learns the Hessian matrix from the steps it takes. From a multiple of the identity it spends
most of its steps to learn that bonds are stiff and torsions are not. Springs between all pairs of
atoms know that: near its minimum the energy is about

    ½ Σ_ij k_ij (δr_ij)²,    k_ij = K exp(−α (r_ij / (R_i + R_j) − 1)),

with covalent radii R, so that the Hessian matrix is a sum of ``k_ij u uᵀ`` with the unit vectors u
of the pairs. Angles are springs between next neighbours, torsions weaker ones.

Source:
    The idea is that of model Hessians: Lindh, Bernhardsson, Karlström, Malmqvist, Chem. Phys. Lett.
    241, 423 (1995). The form is our own; K, α and the floor are chosen by steps, see `SPRING`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import COVALENT_RADII

SPRING: Final = 30.0
"""K, eV/Å², of a bond. With `DECAY` and `FLOOR` 57 conformers of QM9 take 24 steps from MMFF94 to
0.02 eV/Å, and 46 from 70 eV/Å² for all coordinates."""

DECAY: Final = 1.7
"""α, in sums of covalent radii."""

FLOOR: Final = 1.0
"""eV/Å², of all coordinates besides: for what no spring holds, and so that steps stay short."""

_RADII: Final = np.array(COVALENT_RADII)


def spring_hessian(z: NDArray[np.int64], pos: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Hessian matrix of the springs, (3 · atoms, 3 · atoms) eV/Å².

    Args:
        z: (atoms,) atomic numbers.
        pos: (atoms, 3) Å.
    """
    n = len(z)
    apart = pos[:, None] - pos
    r = np.linalg.norm(apart, axis=-1)
    radii = _RADII.take(z, mode="clip")
    # Atoms on top of each other have no spring stiffer than a compressed bond's.
    strain = np.maximum(r / (radii[:, None] + radii), 0.75) - 1.0
    stiffness = SPRING * np.exp(-DECAY * strain)
    np.fill_diagonal(stiffness, 0.0)
    unit = apart / np.where(r > 0, r, 1.0)[..., None]
    block = stiffness[..., None, None] * unit[..., :, None] * unit[..., None, :]
    hessian = -block
    each = np.arange(n)
    hessian[each, each] = block.sum(axis=1)
    flat: NDArray[np.float64] = hessian.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
    return flat + FLOOR * np.eye(3 * n)
