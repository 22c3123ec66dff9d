"""Fit what a network should not have to learn: composition, and each atom's share of the extent."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from molgeo.data.molecules import MoleculeSet
from molgeo.graph import Graph
from molgeo.graph.bond_kinds import bond_kinds_of
from molgeo.graph.closest import Ints, Pairs, closest_pair
from molgeo.graph.environments import environments_of, longest_pair, near_pairs
from molgeo.predictor import Predictor
from molgeo.predictor.domain import Domain
from molgeo.predictor.heads import OF_MOLECULES, pool
from molgeo.runtime.errors import InputError

COINCIDENT: Final = 0.01
"""Å, below which two atoms are in one place: no gradient is defined there."""

SHOWN: Final = 5
"""Molecules that a message names."""


def fit_references(
    predictor: Predictor,
    molecules: MoleculeSet,
    train: Tensor,
    free_atoms: dict[str, dict[int, float]],
    labels_may_be_missing: bool = False,
) -> None:
    """Set a predictor's baseline, scale and free-atom energies from the training part.

    The baseline is the least-squares fit of each property on its composition, pooled as its head
    pools (a dipole has none), in float64, starting from the free atoms if they are known: if
    the compositions do not tell the elements apart, the fit departs least from them.
    That of a probability is the odds of its class, none if atoms are summed.
    The scale is the standard deviation of what remains; if there are forces, that of an energy
    is the root mean square of their components, times 1 Å: one unit for both, in which forces
    remain the energy's derivative.

    Args:
        predictor: changed in place.
        molecules: labels in the predictor's order of properties.
        train: (n,) rows of the training part; no other row is looked at.
        free_atoms: property → atomic number → energy in eV.
        labels_may_be_missing: a label that is NaN does not count, and is no fault.

    Raises:
        ValueError: the labels are not those of the predictor, or not numbers.
    """
    names = predictor.property_names
    if molecules.properties != names:
        raise ValueError(f"labels {molecules.properties} are not {names}")
    rows, batch, _ = molecules.atoms(train)
    z, pos, y = molecules.z[rows].long(), molecules.pos[rows].double(), molecules.y[train]
    if not (labels_may_be_missing or y.isfinite().all()):
        raise InputError("labels: expected numbers, got NaN or infinity in the training part")
    elements = z.unique()
    graph = without_edges(batch, len(train))
    for k, own in enumerate(predictor.properties):
        residual = y[:, k]
        if own.is_probability:
            share = residual[residual.isfinite()].mean().clamp(1e-3, 1 - 1e-3)
            predictor.baseline[k, 0] = 0.0 if own.head == "sum" else share.logit()
            predictor.scale[k] = 1.0
            continue
        if own.head != "dipole":
            design = _design(own.head, z, pos, graph, elements)
            known = [free_atoms.get(own.name, {}).get(e, 0.0) for e in elements.tolist()]
            start = y.new_zeros(design.shape[1])
            start[: len(elements)] = y.new_tensor(known)
            known_labels = residual.isfinite()
            rest = (residual - design @ start)[known_labels]
            fit = start + _least_squares(design[known_labels], rest)
            residual = residual - design @ fit
            for part, values in enumerate(fit.split(len(elements))):
                predictor.baseline[k, part, elements] = values
        if molecules.force is not None and own.is_energy:
            spread = molecules.force[rows].square().mean().sqrt()
        else:
            spread = residual[residual.isfinite()].std()
        predictor.scale[k] = spread if spread > 0 else 1.0
    for name, table in free_atoms.items():
        if name in names:
            row = predictor.atom_reference[names.index(name)]
            for number, value in table.items():
                row[number] = value


def gain_of(
    predictor: Predictor, molecules: MoleculeSet, rows: Tensor, k: int, outputs: Tensor
) -> float:
    """The factor of a network's outputs that explains best what the baseline leaves of the labels.

    Args:
        predictor: with a baseline, which may change with the outputs.
        molecules: labels in the predictor's order of properties.
        rows: (n,) molecules to look at.
        k: number of the property.
        outputs: (n,) float64, what the network adds to the baseline, in the property's unit.

    Returns:
        The factor; 1 if there are too few molecules to tell.
    """
    rest, design, _ = _left(predictor, molecules, rows, k)
    columns = torch.cat([design, outputs.unsqueeze(-1)], dim=1)
    if len(rows) < 10 * columns.shape[1]:
        return 1.0
    return float(_least_squares(columns, rest)[-1])


def fit_rest(
    predictor: Predictor, molecules: MoleculeSet, rows: Tensor, k: int, outputs: Tensor
) -> None:
    """Change a baseline by the least that explains what it and a network leave of the labels.

    Args:
        predictor: changed in place; with a baseline.
        molecules: labels in the predictor's order of properties.
        rows: (n,) molecules to look at.
        k: number of the property.
        outputs: (n,) float64, what the network adds to the baseline, in the property's unit.
    """
    rest, design, elements = _left(predictor, molecules, rows, k)
    if design.shape[1]:
        change = _least_squares(design, rest - outputs)
        for part, values in enumerate(change.split(len(elements))):
            predictor.baseline[k, part, elements] += values


def _left(
    predictor: Predictor, molecules: MoleculeSet, rows: Tensor, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels less the baseline, the baseline's (molecules, columns) design, and its elements."""
    atoms, batch, _ = molecules.atoms(rows)
    z, pos = molecules.z[atoms].long(), molecules.pos[atoms].double()
    graph = without_edges(batch, len(rows))
    rest = molecules.y[rows, k] - predictor.baseline_of(z, pos, graph)[:, k]
    elements, kind = z.unique(), predictor.heads.kinds[k]
    if kind == "dipole":
        return rest, rest.new_zeros(len(rows), 0), elements
    return rest, _design(kind, z, pos, graph, elements), elements


def domain_of(molecules: MoleculeSet, train: Tensor) -> Domain:
    """What a model trained on these molecules will know.

    Args:
        molecules: the data set.
        train: (n,) indices of the training part.

    Raises:
        ValueError: two atoms of a molecule are in one place.
    """
    rows, _, ptr = molecules.atoms(train)
    shortest = _shortest(molecules, train, molecules.pos[rows], ptr)
    if shortest < COINCIDENT and len(rows) > len(train):
        raise InputError(_coincident(molecules, train))
    # Conformers of a molecule are one molecule; frames of forces are configurations, each its own.
    once = train if molecules.force is not None else _first_of_each(molecules, train)
    atoms, pairs, periodic = _neighbours(molecules, once)
    charges = (0,)
    if molecules.charge is not None:
        charges = tuple(molecules.charge[train].unique().tolist())
    return Domain(
        elements=tuple(molecules.z[rows].long().unique().tolist()),
        max_atoms=int(ptr.diff().max()),
        min_distance=round(shortest, 3),
        charge=charges[0] if len(charges) == 1 else 0,
        charges=charges if len(charges) > 1 else None,
        environments=environments_of(*atoms, pairs, periodic),
        bond_kinds=bond_kinds_of(*atoms, pairs),
    )


def _first_of_each(molecules: MoleculeSet, train: Tensor) -> Tensor:
    """Of several conformers of a molecule the first one."""
    _, first = np.unique(molecules.idx[train].numpy(), return_index=True)
    return train[torch.from_numpy(np.sort(first))]


def _coincident(molecules: MoleculeSet, train: Tensor) -> str:
    """Which molecules have two atoms in one place."""
    bad = []
    for m in train.tolist():
        pos = molecules.pos[int(molecules.ptr[m]) : int(molecules.ptr[m + 1])].double().numpy()
        if closest_pair(pos, COINCIDENT) is not None:
            bad.append(int(molecules.idx[m]))
    where = f" in molecule {', '.join(map(str, bad[:SHOWN]))}" if bad else ""
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return f"training data: two atoms are less than {COINCIDENT} Å apart{where}{more}, from 0"


def _neighbours(molecules: MoleculeSet, train: Tensor) -> tuple[tuple[Ints, Ints], Pairs, int]:
    """Atomic numbers, first atoms, pairs that may be bonded, and how many are periodic."""
    periodic = torch.zeros(len(train), dtype=torch.bool)
    if molecules.pbc is not None:
        periodic = molecules.pbc[train].any(1)
    rows, _, ptr = molecules.atoms(torch.cat([train[~periodic], train[periodic]]))
    z, pos = molecules.z[rows].numpy().astype(np.int64), molecules.pos[rows].numpy()
    n_open = len(train) - int(periodic.sum())
    found = [near_pairs(z, pos, ptr[: n_open + 1].numpy())]
    first = int(ptr[n_open])
    for chunk in train[periodic].split(64) if periodic.any() else ():
        batch = molecules.batch(chunk)
        limit = longest_pair(batch.z.numpy())
        graph = batch.graph(limit)
        i, j = (ends[graph.forward].numpy() for ends in (graph.target, graph.source))
        d = graph.distances(batch.pos).double().numpy()
        found.append((first + i, first + j, d))
        first += len(batch.z)
    i, j, d = (np.concatenate(part) for part in zip(*found, strict=True))
    return (z, ptr.numpy()), (i, j, d), int(periodic.sum())


def _design(kind: str, z: Tensor, pos: Tensor, graph: Graph, elements: Tensor) -> Tensor:
    """(molecules, columns) what an atom of each element adds, and of an extent also its r².

    Of moments and kernels all elements add the same, as these have the composition among their
    inputs. So they do of an orbital, which may lie on few of the atoms.
    """
    one_hot = (z.unsqueeze(-1) == elements).double()  # (atoms, elements)
    if kind in (*OF_MOLECULES, "orbital"):
        one_hot, kind = torch.full_like(one_hot, 1 / len(elements)), "mean"
    kinds = [kind] * len(elements)
    if kind != "extent":
        return pool(one_hot, None, kinds, z, pos, graph)
    zero = torch.zeros_like(one_hot)
    parts = [pool(one_hot, zero, kinds, z, pos, graph), pool(zero, one_hot, kinds, z, pos, graph)]
    return torch.cat(parts, dim=1)


def _least_squares(design: Tensor, y: Tensor) -> Tensor:
    """The solution of the smallest norm: the design may be rank-deficient."""
    solution: Tensor = torch.linalg.lstsq(design, y.unsqueeze(-1), driver="gelsd").solution[:, 0]
    return solution


def without_edges(batch: Tensor, n_molecules: int) -> Graph:
    """A graph that only says which atom belongs to which molecule."""
    none = batch.new_zeros(0)
    ptr = batch.new_zeros(batch.numel() + 1)
    return Graph(none, none, none, none, none, ptr, batch, n_molecules)


def _shortest(molecules: MoleculeSet, rows: Tensor, pos: Tensor, ptr: Tensor) -> float:
    """The shortest interatomic distance of some molecules, Å, across boundaries too."""
    shortest = _shortest_distance(pos, ptr)
    if molecules.pbc is None:
        return shortest
    for chunk in rows[molecules.pbc[rows].any(1)].split(64):
        batch = molecules.batch(chunk)
        graph = batch.graph(min(shortest, 3.0))
        if graph.n_edges:
            shortest = float(graph.distances(batch.pos).min())
    return shortest


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
