"""Errors of energies and forces, in published units."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from molgeo.data.forces.dataset import Units, check_labels, is_free_atom, to_ev
from molgeo.data.forces.plausibility import as_option, check_units
from molgeo.data.forces.readers import read_frames
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import PARTS, UNDECIDED
from molgeo.elements import SYMBOLS
from molgeo.predictor import Predictor
from molgeo.predictor.potential import standardised_forces
from molgeo.runtime.device import PAIRS, Arriving, bounded, one_behind, received
from molgeo.runtime.errors import InputError, SettingError
from molgeo.runtime.precision import MatmulPrecision, matmul_precision

FRAMES_OF_A_BATCH: Final = 64
"""Molecules of a batch on a CPU."""

NEIGHBOURS: Final = 128
"""Of an atom of a dense crystal, about."""

COLUMNS: Final = ("energy_eV", "energy_eV_atom", "forces_eV_A")
"""Of an energy, of an energy divided by its atoms, and of a force's Cartesian component."""


@dataclass(frozen=True)
class ForceErrors:
    """Errors of some molecules, as sums that can be added.

    Attributes:
        sums: (3, 2) float64, Σ|error| and Σ error² of each of `COLUMNS`.
        norms: () float64, Σ ‖force error‖ over atoms, eV/Å.
        n_molecules: () float64, those whose energy is known.
        n_atoms: () float64, those whose force is known.
        elements: (2, elements) float64, of the atoms of each element whose force is known: the sum
            of |force error| over components, and their number.
    """

    sums: Tensor
    norms: Tensor
    n_molecules: Tensor
    n_atoms: Tensor
    elements: Tensor

    @classmethod
    def of(
        cls,
        energy: Tensor,
        force: Tensor,
        n_atoms: Tensor,
        known: tuple[Tensor, Tensor],
        z: Tensor,
    ) -> ForceErrors:
        """Sums over a batch.

        Args:
            energy: (molecules,) error in eV.
            force: (atoms, 3) error in eV/Å.
            n_atoms: (molecules,).
            known: (molecules,) and (atoms,) bool, which of them have labels.
            z: (atoms,) int64 atomic numbers.
        """
        energy, force = energy.detach().double(), force.detach().double()
        energy = energy.where(known[0], 0.0)
        force = force.where(known[1].unsqueeze(-1), 0.0)
        columns = (energy, energy / n_atoms, force)
        of_atoms = torch.stack([force.abs().sum(-1), known[1].double()])
        elements = of_atoms.new_zeros(2, len(SYMBOLS)).index_add_(1, z, of_atoms)
        return cls(
            torch.stack([torch.stack([x.abs().sum(), x.square().sum()]) for x in columns]),
            torch.linalg.vector_norm(force, dim=-1).sum(),
            known[0].sum(dtype=torch.float64),
            known[1].sum(dtype=torch.float64),
            elements,
        )

    def __add__(self, other: ForceErrors) -> ForceErrors:
        return ForceErrors.from_vector(self.to_vector() + other.to_vector())

    def to_vector(self) -> Tensor:
        """All sums as one tensor, for the sum over processes."""
        numbers = torch.stack([self.norms, self.n_molecules, self.n_atoms])
        return torch.cat([self.sums.flatten(), numbers, self.elements.flatten()])

    @classmethod
    def from_vector(cls, vector: Tensor) -> ForceErrors:
        """Undo `to_vector`."""
        norms, n_molecules, n_atoms = vector[6:9].unbind()
        sums, elements = vector[:6].view(3, 2), vector[9:].view(2, -1)
        return cls(sums, norms, n_molecules, n_atoms, elements)

    def _mean(self, column: int) -> list[float]:
        count = torch.stack([self.n_molecules, self.n_molecules, 3 * self.n_atoms])
        means: list[float] = (self.sums[:, column] / count).tolist()
        return means

    def mae(self) -> dict[str, float]:
        """Mean absolute errors: column → eV, eV per atom, eV/Å."""
        return dict(zip(COLUMNS, self._mean(0), strict=True))

    def rmse(self) -> dict[str, float]:
        """Root mean square errors: column → eV, eV per atom, eV/Å."""
        return {c: x**0.5 for c, x in zip(COLUMNS, self._mean(1), strict=True)}

    def forces_by_element(self) -> dict[str, float]:
        """Mean absolute errors of a force's component: symbol → eV/Å of elements that occur."""
        rows = zip(SYMBOLS, *self.elements.tolist(), strict=True)
        return {symbol: total / (3 * n) for symbol, total, n in rows if n}


def force_errors(predictor: Predictor, batch: Any) -> ForceErrors:
    """Errors on a batch.

    Args:
        predictor: with an energy.
        batch: as `MoleculeSet.batch` makes it, with energy in eV and force in eV/Å.
    """
    graph = batch.graph(predictor.cutoff)
    energy, forces = standardised_forces(predictor, batch.z, batch.pos, graph)
    k = predictor.energy_index
    unit = predictor.scale[k]
    baseline = predictor.baseline_of(batch.z, batch.pos, graph)[:, k]
    return ForceErrors.of(
        baseline + unit * energy.detach().double() - batch.energy,
        unit * forces.double() - batch.force,
        graph.atoms_per_molecule,
        (~batch.energy.isnan(), ~batch.force.isnan().any(-1)),
        batch.z,
    )


def file_part(
    path: str | Path,
    split: str = "test",
    units: Units | None = None,
    units_are_checked: bool = True,
) -> tuple[MoleculeSet, Tensor, str]:
    """A part of a force data file.

    Args:
        path: as `molgeo.data.forces.readers` lists them.
        split: ``train``, ``validation`` or ``test``, if the file names its parts.
        units: of the file; None for eV and Å.
        units_are_checked: refuse units that `molgeo.data.forces.plausibility` finds implausible.

    Returns:
        The file's molecules in eV and Å, the rows of the part and its name: ``all`` if the
        file names none.

    Raises:
        ValueError: labels are bad, units implausible, or the file has no such part.
    """
    units = units or Units()
    frames = read_frames(path)
    check_labels(frames)
    frames = frames.select(~is_free_atom(frames))
    molecules = to_ev(frames, units)
    if units_are_checked:
        check_units(molecules, units.energy, units.length, units.force, as_option)
    if (frames.part == UNDECIDED).all():
        return molecules, torch.arange(len(frames)), "all"
    rows = torch.from_numpy(np.flatnonzero(frames.part == PARTS[split]))
    if not len(rows):
        raise SettingError(f"split: {path} has no part {split!r}")
    return molecules, rows, split


def evaluate_forces(
    predictor: Predictor,
    molecules: MoleculeSet,
    rows: Tensor,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    precision: MatmulPrecision = "highest",
) -> dict[str, Any]:
    """Mean absolute and root mean square errors of energies and forces.

    Args:
        predictor: the model.
        molecules: data with energies and forces.
        rows: (n,) which of them.
        batch_size: molecules per batch; None for 64 on a CPU, and on a card as many as a bound on
            their pairs allows.
        progress: called with (molecules done, molecules in all).
        precision: of float32 matrix products; ``medium`` multiplies in bfloat16.

    Returns:
        ``n``, and ``mae`` and ``rmse``: ``energy_eV``, ``energy_eV_atom`` (of the energy divided
        by the number of atoms) and ``forces_eV_A`` (over Cartesian components) → error;
        ``forces_eV_A_by_element``, mean absolute, by symbol; and ``by_charge`` of data that are
        not neutral, the same of each total charge.

    Raises:
        ValueError: there is no molecule, or the model has no energy.
    """
    if not len(rows):
        raise InputError("evaluate: expected one molecule or more, got none")
    predictor.eval()
    parts = {"": rows}
    if molecules.charge is not None:
        charge = molecules.charge[rows]
        parts = {f"{q:+d}" if q else "0": rows[charge == q] for q in charge.unique().tolist()}
    found: dict[str, ForceErrors] = {}
    done = 0
    for q, own in parts.items():
        report = None if progress is None else partial(_later, progress, done, len(rows))
        found[q] = _errors_of(predictor, molecules, own, batch_size, report, precision)
        done += len(own)
    errors = reduce(operator.add, found.values())
    by_charge = {q: _as_json(one, len(parts[q])) for q, one in found.items() if q}
    return _as_json(errors, len(rows)) | ({"by_charge": by_charge} if by_charge else {})


def _later(progress: Callable[[int, int], None], before: int, n: int, done: int, _: int) -> None:
    progress(before + done, n)


def _as_json(errors: ForceErrors, n: int) -> dict[str, Any]:
    return {
        "n": n,
        "mae": errors.mae(),
        "rmse": errors.rmse(),
        "forces_eV_A_by_element": errors.forces_by_element(),
    }


def _errors_of(
    predictor: Predictor,
    molecules: MoleculeSet,
    rows: Tensor,
    batch_size: int | None,
    progress: Callable[[int, int], None] | None,
    precision: MatmulPrecision,
) -> ForceErrors:
    """Errors of some molecules; arguments as of `evaluate_forces`."""
    device = predictor.scale.device

    def begun(part: slice) -> tuple[int, Arriving]:
        batch = molecules.batch(rows[part])
        with matmul_precision(precision):
            here = force_errors(predictor, batch.to(device))
        return len(batch.idx), received(here.to_vector())

    total: Tensor | None = None
    done = 0
    for n, arriving in one_behind(map(begun, _parts(molecules, rows, batch_size, device))):
        total = arriving() if total is None else total + arriving()
        done += n
        if progress:
            progress(done, len(rows))
    assert total is not None
    return ForceErrors.from_vector(total)


def _parts(
    molecules: MoleculeSet, rows: Tensor, batch_size: int | None, device: torch.device
) -> Iterator[slice]:
    """Batches of the rows, as `evaluate_forces` says."""
    if batch_size or device.type == "cpu":
        return bounded([1] * len(rows), batch_size or FRAMES_OF_A_BATCH)
    n_atoms = np.diff(molecules.bounds)[rows.numpy()]
    # Of a small cell each atom has more neighbours than the cell has atoms.
    near = n_atoms if molecules.cell is None else n_atoms.clip(min=NEIGHBOURS)
    return bounded((n_atoms * near).tolist(), PAIRS["cuda"] / 4)  # derivatives take memory too
