"""What differs between kinds of data: config, what is learned, and what is said in the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from molgeo.data.datamodule import FlatDataModule
from molgeo.evaluation.properties import Part, Sample
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.runtime.errors import SettingError
from molgeo.runtime.progress import Progress
from molgeo.training.config import RunConfig, task_class
from molgeo.training.module import PropertyTraining, Training

__all__ = ["COMMON_FIXED", "Part", "Task", "task_of"]

COMMON_FIXED = (
    "data",
    "seed",
    "start_from",
    "keep_references",
    "heads_first",
    "model",
    "backbone",
    "head_features",
    "repulsion",
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


class Task(ABC):
    """One kind of data to train on; `molgeo.training.qm9` and its neighbours are examples.

    Args:
        config: of the run.
        data: of the run; it is loaded by its ``setup``, not here.

    Attributes:
        config_class: keys of the kind's configs.
        fixed: keys of the config that cannot change within a run.
        measured_by: options of ``molgeo evaluate`` that `errors` takes beside ``limit``:
            ``geometry``, ``conformers``.
    """

    config_class: ClassVar[type[RunConfig]]
    fixed: ClassVar[tuple[str, ...]] = COMMON_FIXED
    measured_by: ClassVar[tuple[str, ...]] = ()
    rehearses = False
    """Whether the run rehearses what the checkpoint knew that it starts from."""
    speaks = True
    """Whether the run says what it takes from the checkpoint."""

    def __init__(self, config: Any, data: Any) -> None:
        self.config = config
        self.data = data

    @classmethod
    @abstractmethod
    def data_module(cls, config: Any, first_step: int) -> FlatDataModule:
        """The data that a config describes, from a step on."""

    @abstractmethod
    def about(self) -> dict[str, Any]:
        """What the exported header says of the data: ``data``, ``n_train``, ``split`` …."""

    @abstractmethod
    def errors(self, predictor: Predictor, part: Part = "test", **options: Any) -> dict[str, Any]:
        """Errors on a part of the data, as ``molgeo evaluate`` prints them."""

    def final_errors(self, predictor: Predictor) -> dict[str, Any]:
        """Errors on the test part at the end of a run, when a model may be told of its own."""
        return self.errors(predictor)

    def free_atoms(self) -> dict[str, dict[int, float]]:
        """Property → atomic number → energy of the free atom in eV, as far as known."""
        return {}

    def rehearse(self, predictor: Predictor, run_dir: Path, resume: bool) -> None:
        """Add to the data what is rehearsed, if the run does.

        Args:
            predictor: that the run starts with.
            run_dir: folder of the run, which keeps what is rehearsed.
            resume: the run goes on, with what its folder has.
        """
        return

    def kept(self, predictor: Predictor) -> dict[str, Any]:
        """How far a model is from the checkpoint that it started from, on what was rehearsed."""
        return {}

    def remarks(self, run_dir: Path) -> None:
        """Say, and write into the run's folder, what is to be known of the data."""
        return

    def module(self, predictor: Predictor) -> Training:
        """How the model is fitted."""
        return PropertyTraining(predictor, self.config)

    def calibrations(
        self,
        predictor: Predictor,
        limit: int = 0,
        progress: Progress | None = None,
        beyond: Mapping[int, Sample] | None = None,
    ) -> list[Calibration]:
        """How wrong a model is on validation molecules, and on others that training did not have.

        Args:
            predictor: the model, which gets its training data's features if it has none.
            limit: validation molecules; 0 for all.
            progress: called with (molecules done, molecules in all).
            beyond: number of conformers → molecules that the training data do not have.
        """
        raise SettingError(f"calibrate: {self.config.data} has no values of molecules to measure")

    def calibrated_errors(
        self, predictor: Predictor, limit: int = 0, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Errors of a calibrated model on test molecules, such as `calibrations` measured."""
        return self.errors(predictor, "test", limit=limit, progress=progress)


def task_of(config: RunConfig, first_step: int = 0) -> Task:
    """The task that a config describes.

    Args:
        config: of the run.
        first_step: steps that a resumed run has behind it.
    """
    kind = task_class(config.data)
    return kind(config, kind.data_module(config, first_step))
