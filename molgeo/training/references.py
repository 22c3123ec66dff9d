"""Fit what a network should not have to learn: composition, and each atom's share of the extent."""

from __future__ import annotations

import torch
from torch import Tensor

from molgeo.datasets.molecules import MoleculeSet
from molgeo.domain import Domain
from molgeo.graph import Graph
from molgeo.heads import pool
from molgeo.predictor import Predictor


def fit_references(
    predictor: Predictor,
    molecules: MoleculeSet,
    train: Tensor,
    free_atoms: dict[str, dict[int, float]],
) -> None:
    """Set a predictor's baseline, scale and free-atom energies from the training part.

    The baseline is the least-squares fit of each property on its composition, pooled as its head
    pools (a dipole has none), in float64; the scale is the standard deviation of what remains.

    Args:
        predictor: changed in place.
        molecules: labels in the predictor's order of properties.
        train: (n,) rows of the training part; no other row is looked at.
        free_atoms: property → atomic number → energy in eV.

    Raises:
        ValueError: the labels are not those of the predictor, or not numbers.
    """
    if molecules.properties != predictor.properties:
        raise ValueError(f"labels {molecules.properties} are not {predictor.properties}")
    rows, batch, _ = molecules.atoms(train)
    z, pos, y = molecules.z[rows].long(), molecules.pos[rows].double(), molecules.y[train]
    if not y.isfinite().all():
        raise ValueError("labels: expected numbers, got NaN or infinity in the training part")
    elements = z.unique()
    graph = _without_edges(batch, len(train))
    one_hot = (z.unsqueeze(-1) == elements).double()  # (atoms, elements)
    zero = torch.zeros_like(one_hot)
    for k, kind in enumerate(predictor.heads.kinds):
        if kind == "dipole":
            residual = y[:, k]
        else:
            kinds = [kind] * len(elements)
            extents = zero if kind == "extent" else None
            design = [pool(one_hot, extents, kinds, z, pos, graph)]
            if kind == "extent":
                design.append(pool(zero, one_hot, kinds, z, pos, graph))
            X = torch.cat(design, dim=1)
            fit = torch.linalg.lstsq(X, y[:, k : k + 1], driver="gelsd").solution
            residual = y[:, k] - (X @ fit)[:, 0]
            for part, values in enumerate(fit[:, 0].split(len(elements))):
                predictor.baseline[k, part, elements] = values
        spread = residual.std()
        predictor.scale[k] = spread if spread > 0 else 1.0
    for name, table in free_atoms.items():
        if name in predictor.properties:
            row = predictor.atom_reference[predictor.properties.index(name)]
            for number, value in table.items():
                row[number] = value


def domain_of(molecules: MoleculeSet, train: Tensor) -> Domain:
    """What a model trained on these molecules will know.

    Args:
        molecules: the data set.
        train: (n,) indices of the training part.
    """
    rows, _, ptr = molecules.atoms(train)
    return Domain(
        elements=tuple(molecules.z[rows].long().unique().tolist()),
        max_atoms=int(ptr.diff().max()),
        min_distance=round(_shortest_distance(molecules.pos[rows], ptr), 3),
    )


def _without_edges(batch: Tensor, n_molecules: int) -> Graph:
    """A graph that only says which atom belongs to which molecule."""
    none = batch.new_zeros(0)
    ptr = batch.new_zeros(batch.numel() + 1)
    return Graph(none, none, none, none, none, ptr, batch, n_molecules)


def _shortest_distance(pos: Tensor, ptr: Tensor) -> float:
    """The shortest interatomic distance of all molecules, Å, one molecule size at a time."""
    size = ptr.diff()
    shortest = float("inf")
    for n in size.unique().tolist():
        if n < 2:
            continue
        first = ptr[:-1][size == n]
        for chunk in first.split(4096):
            x = pos[chunk.unsqueeze(-1) + torch.arange(n)].float()
            i, j = torch.triu_indices(n, n, 1)
            shortest = min(shortest, float((x[:, i] - x[:, j]).square().sum(-1).min()))
    return shortest**0.5 if shortest < float("inf") else 0.0
