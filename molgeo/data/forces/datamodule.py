"""Energies and forces for Lightning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from molgeo.data.datamodule import FlatDataModule
from molgeo.data.forces.dataset import ForceSet, Units, force_set
from molgeo.data.forces.readers import read_frames
from molgeo.data.frames import Frames, concatenate
from molgeo.data.molecules import MoleculeSet
from molgeo.data.pyg_frames import frames_of_pyg
from molgeo.data.split import TEST, Split

Source = str | Path | Sequence[Any]
"""A file, several files, or a PyG data set or list of ``Data``."""


class ForceDataModule(FlatDataModule):
    """Configurations with energies and forces, from files or PyG data.

    Args:
        data: a file, several files (`molgeo.data.forces.readers` lists the forms), or a PyG data
            set or list of ``Data`` with ``z``, ``pos``, ``energy`` and ``force``.
        test_data: the test part, in the same forms; None to take it from ``data``.
        energy_unit: of the data, one of `molgeo.units.ENERGY_UNITS`.
        length_unit: of the data, one of `molgeo.units.LENGTH_UNITS`.
        force_unit: of the data, such as ``hartree/bohr``; empty for energy over length.
        atom_references: element symbol → energy of the free atom, in ``energy_unit``.
        energy_key: name of the energy in what ASE reads, such as ``REF_energy``; empty for the
            usual ones.
        force_key: name of the forces in what ASE reads; empty for the usual ones.
        check_units: refuse units that are implausible (`molgeo.data.forces.plausibility`).
        validation_fraction: part of the groups to validate on, if the data name none.
        test_fraction: part of the groups to test on, if the data name none.
        split_seed: of the split.
        batches: ``batch_size``, ``seed`` and the other arguments of `FlatDataModule`.

    Attributes:
        free_atoms: atomic number → energy in eV, once `setup` was called.
        one_by_one: rows were split, and nothing says which belong together; likewise.
    """

    free_atoms: dict[int, float]
    one_by_one: bool

    def __init__(
        self,
        data: Source,
        test_data: Source | None = None,
        energy_unit: str = "eV",
        length_unit: str = "angstrom",
        force_unit: str = "",
        atom_references: Mapping[str, float] | None = None,
        energy_key: str = "",
        force_key: str = "",
        check_units: bool = True,
        validation_fraction: float = 0.05,
        test_fraction: float = 0.05,
        split_seed: int = 42,
        **batches: int,
    ) -> None:
        super().__init__(**{"batch_size": 32, **batches})
        self.data = data
        self.test_data = test_data
        self.units = Units(energy_unit, length_unit, force_unit)
        self.atom_references = dict(atom_references or {})
        self.keys = (energy_key, force_key)
        self.check_units = check_units
        self.validation_fraction = validation_fraction
        self.test_fraction = test_fraction
        self.split_seed = split_seed

    def load(self) -> tuple[MoleculeSet, Split]:
        """Read, check, convert and split.

        Raises:
            FileNotFoundError: a file does not exist.
            ValueError: as `read_frames` and `force_set`.
        """
        loaded = self.force_set()
        self.free_atoms, self.one_by_one = loaded.free_atoms, loaded.one_by_one
        return loaded.molecules, loaded.parts

    def force_set(self) -> ForceSet:
        """The data in eV and Å."""
        frames = [self._read(self.data)]
        if self.test_data:
            test = self._read(self.test_data)
            frames.append(replace(test, part=np.full(len(test), TEST)))
        return force_set(
            concatenate(frames),
            self.units,
            self.atom_references,
            self.validation_fraction,
            self.test_fraction,
            self.split_seed,
            self.check_units,
        )

    def _read(self, source: Source) -> Frames:
        """Frames of a file, of several files, or of PyG data."""
        if isinstance(source, str | Path):
            return read_frames(source, *self.keys)
        if len(source) and all(isinstance(item, str | Path) for item in source):
            return concatenate([read_frames(path, *self.keys) for path in source])
        return frames_of_pyg(source)
