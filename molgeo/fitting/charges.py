"""Charges of atoms whose dipoles are as long as labels say, for kernels to compare molecules by.

A measured dipole is the length of a sum of vectors, and the moments of a kernel have no direction.
Here an atom's charge is a sum over its features, q_i = Σ_f w_f h_if, so that the dipole of a
conformer is Σ_f w_f D_f with the features' own, D_f = Σ_i (h_if − mean(h_f)) r_i. The w minimise

    (1/n) Σ_m (mean over conformers |Σ_f w_f D_f| − y_m)² + λ |w|²

along the main directions of all D_f, scaled to variances of one. That has several minima: w and −w
are alike, and parts may have the wrong sign. So it begins along few directions at several random
places. The best minimum is gone on from with ever more directions, which have no charge at first:
random starts along all of them miss it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.fitting.descent import minimum

UNITS: Final = frozenset(["d", "debye"])
"""In small letters, of values that may be lengths of dipoles."""

ROWS_PER_DIRECTION: Final = 16
"""Molecules with a label, at least, for each main direction of the features' dipoles."""

LEAST_DIRECTIONS: Final = 4
FIRST_DIRECTIONS: Final = 16
MOST_DIRECTIONS: Final = 256
"""Main directions: of any molecules, of the random starts, and of many molecules."""

STARTS: Final = 8
DESCENT_STEPS: Final = 400
"""Of L-BFGS, at most."""

RIDGE: Final = 1e-3
"""λ, of lengths in D."""


def may_be_dipoles(unit: str, labels: NDArray[np.float64]) -> bool:
    """Whether values may be lengths of dipoles, by their unit and sign; NaN are missing."""
    known = labels[np.isfinite(labels)]
    return unit.casefold() in UNITS and len(known) > 0 and bool(known.min() >= 0)


def conformer_means(each: Tensor, molecule: Tensor, n: int) -> Tensor:
    """Means over the conformers of molecules, (conformers, …) → (molecules, …).

    Args:
        each: (conformers, …).
        molecule: (conformers,) that each is of.
        n: molecules, each with a conformer.
    """
    total = each.new_zeros(n, *each.shape[1:]).index_add(0, molecule, each)
    return total / molecule.bincount(minlength=n).view(-1, *[1] * (each.dim() - 1))


def mean_lengths(dipoles: Tensor, charges: Tensor, molecule: Tensor, n: int) -> Tensor:
    """Lengths of dipoles, (molecules, properties), each the mean over a molecule's conformers.

    Args:
        dipoles: (conformers, features, 3) D_f of each.
        charges: (properties, features) w.
        molecule: (conformers,) that each is of.
        n: molecules.
    """
    each = torch.linalg.vector_norm(torch.einsum("cfx,pf->cpx", dipoles, charges), dim=-1)
    return conformer_means(each, molecule, n)


def fitted_charges(dipoles: Tensor, molecule: Tensor, labels: Tensor) -> Tensor:
    """The w of one property, (features,).

    Args:
        dipoles: (conformers, features, 3) D_f of each.
        molecule: (conformers,) that each is of, from 0, ascending.
        labels: (molecules,) lengths in D.
    """
    dipoles, labels = dipoles.double(), labels.double()
    columns = dipoles.transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(columns.T @ columns / len(columns))
    most = min(MOST_DIRECTIONS, max(LEAST_DIRECTIONS, len(labels) // ROWS_PER_DIRECTION))
    values, vectors = values.flip(0)[:most], vectors.flip(1)[:, :most]
    there = values > 1e-10 * values[0]
    directions = vectors[:, there] / values[there].sqrt()
    along = torch.einsum("cfx,fd->xcd", dipoles, directions)

    def loss(w: Tensor) -> Tensor:
        lengths = torch.linalg.vector_norm(along[:, :, : len(w)] @ w, dim=0)
        wrong = conformer_means(lengths, molecule, len(labels)) - labels
        return wrong.square().mean() + RIDGE * w.square().sum()

    n = directions.shape[1]
    random = torch.Generator().manual_seed(0)
    drawn = torch.randn(STARTS, min(FIRST_DIRECTIONS, n), generator=random)
    tries = [minimum(loss, start, DESCENT_STEPS) for start in 0.3 * drawn.double()]
    found = min(tries, key=lambda w: float(loss(w)))
    while len(found) < n:
        start = torch.zeros(min(2 * len(found), n)).double()
        start[: len(found)] = found
        found = minimum(loss, start, DESCENT_STEPS)
    return (directions @ found).float()
