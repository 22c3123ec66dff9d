"""What a run is about: its data, its references, its module, and what is said of it in the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from molgeo.data.datamodule import (
    TRAINING_GEOMETRIES,
    FlatDataModule,
    QM9DataModule,
)
from molgeo.data.forces.datamodule import ForceDataModule
from molgeo.data.forces.properties import ENERGY
from molgeo.data.location import data_dir
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9 import dataset as qm9
from molgeo.evaluation.forces import evaluate_forces
from molgeo.evaluation.properties import evaluate
from molgeo.prediction.conformer_average import CONFORMERS
from molgeo.predictor import Predictor
from molgeo.properties import Property
from molgeo.runtime.errors import SettingError
from molgeo.training.config import ForceTrainingConfig, RunConfig, TrainingConfig, properties_of
from molgeo.training.config_file import read_config
from molgeo.training.force_module import ForceTraining
from molgeo.training.module import PropertyTraining, Training

COMMON_FIXED = (
    "data",
    "seed",
    "start_from",
    "keep_references",
    "model",
    "backbone",
    "head_features",
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "amsgrad",
    "limit_train",
    "epoch_size",
)
"""What cannot change within a run: the weights' shapes and meaning, the optimiser's state, and the
place in the data."""

GEOMETRY_SOURCES: Final = {
    "dft": f"relaxed at {qm9.LEVEL_OF_THEORY}",
    "mmff": f"MMFF94, from the conformer relaxed at {qm9.LEVEL_OF_THEORY}",
    "smiles": "MMFF94, from the SMILES",
    "cheap": f"MMFF94, from the conformer relaxed at {qm9.LEVEL_OF_THEORY} and from the SMILES",
}


class Task(ABC):
    """One kind of run.

    Args:
        config: of the run.

    Attributes:
        properties: what is learned.
        fixed: keys of the config that cannot change within a run.
    """

    fixed: tuple[str, ...] = COMMON_FIXED
    properties: tuple[Property, ...]

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def data(self, first_step: int) -> FlatDataModule:
        """The data, from a step on."""

    @abstractmethod
    def free_atoms(self) -> dict[str, dict[int, float]]:
        """Property → atomic number → energy of the free atom in eV."""

    @abstractmethod
    def module(self, predictor: Predictor) -> Training:
        """How it is fitted."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What the exported header says of the data."""

    @abstractmethod
    def errors(self, predictor: Predictor) -> dict[str, Any]:
        """Errors on the test part."""


class PropertyTask(Task):
    """Properties of QM9."""

    config: TrainingConfig
    fixed = (*COMMON_FIXED, "geometry", "properties")

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__(config)
        self.properties = properties_of(config)

    def data(self, first_step: int) -> FlatDataModule:
        """QM9 in its standard split."""
        c = self.config
        self._data = QM9DataModule(
            data_dir(c.data_dir) / c.data,
            c.properties,
            c.batch_size,
            c.seed,
            c.limit_train,
            c.limit_validation,
            first_step,
            c.epoch_size,
            c.geometry,
        )
        return self._data

    def free_atoms(self) -> dict[str, dict[int, float]]:
        """QM9's own."""
        return qm9.atom_references()

    def module(self, predictor: Predictor) -> Training:
        """All properties at once."""
        return PropertyTraining(predictor, self.config)

    def about(self) -> dict[str, Any]:
        """QM9's level of theory and split."""
        return {
            "data": "QM9",
            "n_train": self._data.molecules.idx[self._data.parts.train].unique().numel(),
            "split": f"110000/10000/10831, seed {qm9.SPLIT_SEED}",
            "level_of_theory": qm9.LEVEL_OF_THEORY,
            "geometry": self.config.geometry,
            "geometry_source": GEOMETRY_SOURCES[self.config.geometry],
            "trained_on_forces": False,
        }

    def errors(self, predictor: Predictor) -> dict[str, Any]:
        """Errors on QM9's test part; of two geometries at the first."""
        geometry = TRAINING_GEOMETRIES[self.config.geometry][0]
        # As many conformers as were trained on: they are there, and need no RDKit.
        prepared = qm9.QM9(self._data.root).geometry(geometry).conformers
        conformers = min(CONFORMERS, prepared)
        return evaluate(predictor, self._data.root, "test", geometry, conformers=conformers)


class ForceTask(Task):
    """Energies and forces of files."""

    config: ForceTrainingConfig
    properties = (ENERGY,)
    fixed = (
        *COMMON_FIXED,
        "data_file",
        "test_file",
        "energy_unit",
        "length_unit",
        "force_unit",
        "atom_references",
        "energy_key",
        "force_key",
        "validation_fraction",
        "test_fraction",
        "split_seed",
    )

    def data(self, first_step: int) -> FlatDataModule:
        """The files' frames."""
        self._data = force_data(self.config, first_step)
        return self._data

    def free_atoms(self) -> dict[str, dict[int, float]]:
        """The files' and the config's."""
        return {ENERGY.name: self._data.free_atoms}

    def module(self, predictor: Predictor) -> Training:
        """Energy and forces."""
        return ForceTraining(predictor, self.config)

    def about(self) -> dict[str, Any]:
        """Level of theory and split."""
        c, parts = self.config, self._data.parts
        sizes = "/".join(str(len(part)) for part in parts)
        return {
            "data": c.data,
            "n_train": len(parts.train),
            "split": f"{sizes}, seed {c.split_seed}",
            "level_of_theory": c.level_of_theory or "not stated",
            "geometry_source": "configurations off equilibrium",
            "trained_on_forces": True,
        }

    def errors(self, predictor: Predictor) -> dict[str, Any]:
        """Errors of energy and forces on the test part."""
        found = evaluate_forces(predictor, self._data.molecules, self._data.parts.test)
        about = {"model": predictor.name, "data": self.config.data, "split": "test"}
        return {**about, "geometry": "given", **found}


def force_data(config: ForceTrainingConfig, first_step: int = 0) -> ForceDataModule:
    """The data module that a config describes."""
    return ForceDataModule(
        config.data_file,
        config.test_file or None,
        energy_unit=config.energy_unit,
        length_unit=config.length_unit,
        force_unit=config.force_unit,
        atom_references=config.atom_references,
        energy_key=config.energy_key,
        force_key=config.force_key,
        check_units=config.check_units,
        validation_fraction=config.validation_fraction,
        test_fraction=config.test_fraction,
        split_seed=config.split_seed,
        batch_size=config.batch_size,
        seed=config.seed,
        limit_train=config.limit_train,
        limit_validation=config.limit_validation,
        first_step=first_step,
        epoch_size=config.epoch_size,
    )


def task_of(config: RunConfig) -> Task:
    """The task that a config describes."""
    kinds: dict[type, type[Task]] = {TrainingConfig: PropertyTask, ForceTrainingConfig: ForceTask}
    return kinds[type(config)](config)


def data_of_run(
    path: str | Path, split: str, units_are_checked: bool = True
) -> tuple[MoleculeSet, Tensor]:
    """Molecules, and rows of a part, of the run on forces that a config describes.

    Args:
        path: YAML, such as a run folder's ``config.yaml``.
        split: ``train``, ``validation`` or ``test``.
        units_are_checked: refuse implausible units, unless the config says not to.

    Raises:
        FileNotFoundError: there is no such file, or its data are not there.
        ValueError: it is no config of a run on forces.
    """
    config = read_config(path)
    if not isinstance(config, ForceTrainingConfig):
        raise SettingError(f"{path}: expected the config of a run on forces, with data_file")
    data = force_data(config)
    data.check_units &= units_are_checked
    data.setup()
    return data.molecules, getattr(data.parts, split)
