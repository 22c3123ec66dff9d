"""Charges of atoms whose dipoles are as long as labels say, for kernels to compare molecules by.

A measured dipole is the length of a sum of vectors, and the moments of a kernel have no direction.
Here an atom's charge is a sum over its features, q_i = Σ_f w_f h_if, so that the dipole of a
conformer is Σ_f w_f D_f with the features' own, D_f = Σ_i (h_if − mean(h_f)) r_i. The w minimise

    (1/n) Σ_m (mean over conformers |Σ_f w_f D_f| − y_m)² + λ |w|²

along the main directions of all D_f, scaled to variances of one. That has several minima: w and −w
are alike, and parts may have the wrong sign. So it begins at several random places.
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

DIRECTIONS: Final = 64
"""Of the features' dipoles, at most."""

MOST_FITTED: Final = 2000
"""Molecules that charges are fitted to."""

STARTS: Final = 8
DESCENT_STEPS: Final = 200
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
    step = max(1, -(-len(labels) // MOST_FITTED))
    labels, kept = labels[::step].double(), molecule % step == 0
    molecule, dipoles = molecule[kept] // step, dipoles[kept].double()
    columns = dipoles.transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(columns.T @ columns / len(columns))
    values, vectors = values.flip(0)[:DIRECTIONS], vectors.flip(1)[:, :DIRECTIONS]
    there = values > 1e-10 * values[0]
    directions = vectors[:, there] / values[there].sqrt()
    along = torch.einsum("cfx,fd->cdx", dipoles, directions)

    def loss(w: Tensor) -> Tensor:
        found = mean_lengths(along, w.unsqueeze(0), molecule, len(labels))[:, 0]
        return (found - labels).square().mean() + RIDGE * w.square().sum()

    drawn = torch.randn(STARTS, directions.shape[1], generator=torch.Generator().manual_seed(0))
    tries = [minimum(loss, start, DESCENT_STEPS) for start in 0.3 * drawn.double()]
    return (directions @ min(tries, key=lambda w: float(loss(w)))).float()
