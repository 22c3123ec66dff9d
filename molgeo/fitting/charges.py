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

from molgeo.fitting.recipe import DIPOLE_UNITS
from molgeo.graph import Graph
from molgeo.ops.segment import gather, molecule_sum

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
    return unit.casefold() in DIPOLE_UNITS and len(known) > 0 and bool(known.min() >= 0)


def feature_dipoles(features: Tensor, pos: Tensor, graph: Graph) -> Tensor:
    """D_f of each molecule, (molecules, features, 3).

    Args:
        features: (atoms, features).
        pos: (atoms, 3) Å.
        graph: of these atoms.
    """
    size = graph.atoms_per_molecule.to(features.dtype).unsqueeze(-1)
    apart = features - gather(molecule_sum(features, graph) / size, graph.batch)
    each = apart.unsqueeze(-1) * pos.to(features.dtype).unsqueeze(1)
    return molecule_sum(each.flatten(1), graph).view(-1, features.shape[1], 3)


def mean_lengths(dipoles: Tensor, charges: Tensor, molecule: Tensor, n: int) -> Tensor:
    """Lengths of dipoles, (molecules, properties), each the mean over a molecule's conformers.

    Args:
        dipoles: (conformers, features, 3) of `feature_dipoles`.
        charges: (properties, features) w.
        molecule: (conformers,) that each is of.
        n: molecules.
    """
    each = torch.linalg.vector_norm(torch.einsum("cfx,pf->cpx", dipoles, charges), dim=-1)
    total = each.new_zeros(n, len(charges)).index_add(0, molecule, each)
    return total / molecule.bincount(minlength=n).clamp(min=1).unsqueeze(-1)


def fitted_charges(dipoles: Tensor, molecule: Tensor, labels: Tensor) -> Tensor:
    """The w of one property, (features,).

    Args:
        dipoles: (conformers, features, 3) of `feature_dipoles`.
        molecule: (conformers,) that each is of, from 0, ascending.
        labels: (molecules,) lengths in D.
    """
    labels = labels[:: max(1, -(-len(labels) // MOST_FITTED))].double()
    step = max(1, -(-int(molecule.max() + 1) // MOST_FITTED))
    kept = molecule % step == 0
    molecule, dipoles = molecule[kept] // step, dipoles[kept].double()
    columns = dipoles.transpose(1, 2).flatten(0, 1)
    values, vectors = torch.linalg.eigh(columns.T @ columns / len(columns))
    values, vectors = values.flip(0)[:DIRECTIONS], vectors.flip(1)[:, :DIRECTIONS]
    there = values > 1e-10 * values[0]
    directions = vectors[:, there] / values[there].sqrt()
    along = torch.einsum("cfx,fd->cdx", dipoles, directions)

    def descended(start: Tensor) -> tuple[float, Tensor]:
        w = start.clone().requires_grad_()
        optimiser = torch.optim.LBFGS([w], max_iter=DESCENT_STEPS, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            found = mean_lengths(along, w.unsqueeze(0), molecule, len(labels))[:, 0]
            value: Tensor = (found - labels).square().mean() + RIDGE * w.square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            optimiser.step(loss)
            value = float(loss().detach())
        return value, w.detach()

    drawn = torch.randn(STARTS, directions.shape[1], generator=torch.Generator().manual_seed(0))
    tries = [descended(start) for start in 0.3 * drawn.double()]
    return (directions @ min(tries, key=lambda one: one[0])[1]).float()
