"""How wrong the forces of a model are, as it tells itself, and as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch
from scipy.stats import spearmanr
from torch import Tensor

from molgeo.data.molecules import MoleculeSet
from molgeo.elements import SYMBOLS
from molgeo.evaluation.forces import FRAMES_OF_A_BATCH
from molgeo.predictor import Predictor
from molgeo.predictor.expected_errors import expected_errors
from molgeo.predictor.gaussians import Gaussians, gaussians
from molgeo.runtime.progress import Progress

FRAMES: Final = 6000
"""Training configurations whose atoms' features are taken, and most validation configurations."""

LEAST_KNOWN: Final = 30
"""Atoms of which errors of forces have a law."""


class OfAtoms(NamedTuple):
    """What is known of the atoms of some molecules, on the CPU.

    Attributes:
        z: (atoms,) atomic numbers.
        features: (atoms, features) of the backbone; empty if they were not asked for.
        expected: (atoms,) ‖ΔF‖ as the model expects it, eV/Å; infinite if it tells nothing.
        error: (atoms,) ‖ΔF‖, eV/Å; NaN if the label is not known.
        molecule: (atoms,) int64, number of its molecule among these.
        charge: (atoms,) int64, total charge of that, e.
    """

    z: Tensor
    features: Tensor
    expected: Tensor
    error: Tensor
    molecule: Tensor
    charge: Tensor


def add_expected_errors(
    predictor: Predictor,
    molecules: MoleculeSet,
    train: Tensor,
    validation: Tensor,
    progress: Progress | None = None,
) -> None:
    """Give a force field the record by which it tells how wrong its forces are.

    Args:
        predictor: the model, in place; it keeps what it had if too few forces are known.
        molecules: data with forces.
        train: (n,) rows it was trained on, of which `FRAMES` are taken.
        validation: (m,) rows it was not trained on, likewise.
        progress: called with (molecules done, molecules in all).
    """
    train, validation = some(train, FRAMES), some(validation, FRAMES)
    total = len(train) + len(validation)
    known = [*_of_batches(predictor, molecules, train, progress, (0, total), with_forces=False)]
    z, features = (torch.cat([each[k] for each in known]) for k in (0, 1))
    found = gaussians(features, z)
    own = _joined(_of_batches(predictor, molecules, validation, progress, (len(train), total)))
    is_known = own.error.isfinite() & torch.isin(own.z.float(), found["elements"])
    if int(is_known.sum()) < LEAST_KNOWN:
        return
    z = own.z[is_known]
    _, apart = Gaussians(**found).distances(own.features[is_known], z)
    _, molecule = own.molecule[is_known].unique(return_inverse=True)
    made = expected_errors(found, apart, z, own.error[is_known], molecule)
    predictor.expected_errors = made.to(predictor.scale.device)


def told_errors(
    predictor: Predictor, molecules: MoleculeSet, rows: Tensor, progress: Progress | None = None
) -> dict[str, Any]:
    """Errors of forces as a model expects them beside those that they have.

    Args:
        predictor: a force field that tells its errors.
        molecules: data with forces.
        rows: (n,) which of them.
        progress: called with (molecules done, molecules in all).

    Returns:
        ``n_atoms``, ``spearman`` (rank correlation of both), the means ``expected_eV_A`` and
        ``real_eV_A``, the same two of each element and charge, and ``above_limit``, the share of
        the atoms whose expected error is above the model's limit.
    """
    known = predictor.expected_errors
    assert known is not None
    own = _joined(_of_batches(predictor, molecules, rows, progress, (0, len(rows)), False))
    seen = own.error.isfinite() & own.expected.isfinite()
    z, expected, error, charge = (x[seen] for x in (own.z, own.expected, own.error, own.charge))

    def means(which: Tensor) -> dict[str, float]:
        pairs = ("expected_eV_A", expected), ("real_eV_A", error)
        return {name: float(x[which].mean()) for name, x in pairs}

    return {
        "n_atoms": len(z),
        "spearman": float(spearmanr(expected, error).statistic) if len(z) > 1 else 0.0,
        **means(torch.ones_like(z, dtype=torch.bool)),
        "above_limit": float((expected > known.limit.cpu()).double().mean()),
        "by_element": {SYMBOLS[n]: means(z == n) for n in z.unique().tolist()},
        "by_charge": {str(q): means(charge == q) for q in charge.unique().tolist()},
    }


def _of_batches(
    predictor: Predictor,
    molecules: MoleculeSet,
    rows: Tensor,
    progress: Progress | None,
    counted: tuple[int, int],
    with_features: bool = True,
    with_forces: bool = True,
) -> Iterator[OfAtoms]:
    """What is known of the atoms of each batch of rows.

    Args:
        predictor: the model.
        molecules: data with forces.
        rows: which of them.
        progress: as of `add_expected_errors`.
        counted: molecules that were done before, and all.
        with_features: keep the features.
        with_forces: compute errors.
    """
    device = predictor.scale.device
    predictor.eval()
    done, total = counted
    for part in rows.split(FRAMES_OF_A_BATCH):
        batch = molecules.batch(part).to(device)
        graph = batch.graph(predictor.cutoff)
        z = batch.z.long()
        nothing = batch.pos.new_full((len(z),), torch.nan)
        features, expected, error = nothing.new_zeros(len(z), 0), nothing + torch.inf, nothing
        if with_features:
            with torch.no_grad():
                features = predictor.backbone.atom_features(z, batch.pos, graph)
        if with_forces and batch.force is not None:
            found = predictor.potential(z, batch.pos, graph)
            assert found.forces is not None
            error = torch.linalg.vector_norm(found.forces.double() - batch.force, dim=-1)
            if found.forces_std is not None:
                expected = found.forces_std
        charge = torch.zeros(len(part)) if batch.charge is None else batch.charge
        values = z, features.float(), expected.double(), error.double(), batch.batch + done
        yield OfAtoms(*(x.cpu() for x in (*values, charge.long().to(device)[batch.batch])))
        done += len(part)
        if progress:
            progress(done, total)


def _joined(parts: Iterator[OfAtoms]) -> OfAtoms:
    return OfAtoms(*map(torch.cat, zip(*parts, strict=True)))


def some(rows: Tensor, most: int) -> Tensor:
    """At most so many of the rows, evenly spaced; 0 for all."""
    if not 0 < most < len(rows):
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most).round().long()]
