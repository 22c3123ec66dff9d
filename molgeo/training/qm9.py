"""Training on QM9: the kind of data ``qm9``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, model_validator

from molgeo.data.location import data_dir
from molgeo.data.qm9 import dataset as qm9
from molgeo.data.qm9 import properties
from molgeo.data.qm9.datamodule import TRAINING_GEOMETRIES, QM9DataModule, TrainingGeometry
from molgeo.evaluation.calibrating import calibrated_numbers
from molgeo.evaluation.properties import Sample
from molgeo.evaluation.qm9 import calibrate, evaluate
from molgeo.prediction.given import usual_conformers, weigher_name
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.properties import Property
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.progress import Progress
from molgeo.runtime.validation import Amount
from molgeo.training.config import RunConfig
from molgeo.training.task import COMMON_FIXED, Part, Task

GEOMETRY_SOURCES: Final = {
    "dft": f"relaxed at {qm9.LEVEL_OF_THEORY}",
    "mmff": f"MMFF94, from the conformer relaxed at {qm9.LEVEL_OF_THEORY}",
    "smiles": "MMFF94, from the SMILES",
    "cheap": f"MMFF94, from the conformer relaxed at {qm9.LEVEL_OF_THEORY} and from the SMILES",
}


class QM9Config(RunConfig):
    """A run on QM9.

    Attributes:
        data_dir: where data lie; empty for ``$MOLGEO_DATA``, a checkout's ``data/`` or the user's
            cache.
        geometry: of the molecules: ``dft``, the data set's own; ``mmff``, the same conformer at
            MMFF94; ``smiles``, conformers made from the SMILES; ``cheap``, both of these (``molgeo
            data prepare qm9 --conformers`` makes them).
        properties: what to predict; one for single-target training.
        loss_weights: property → weight in the loss; 1 if not given.
    """

    data: str = "qm9"
    data_dir: str = ""
    geometry: TrainingGeometry = "dft"
    properties: list[str] = Field(default_factory=lambda: list(properties.NAMES))
    loss_weights: dict[str, Amount] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _weights_are_of_properties(self) -> QM9Config:
        for name in self.loss_weights.keys() - set(self.properties):
            raise SettingError(
                f"loss_weights: expected some of {', '.join(self.properties)}, got "
                f"'{one_line(name, 60)}'"
            )
        return self

    @property
    def learned(self) -> tuple[Property, ...]:
        """Some of QM9's properties."""
        return properties.named(self.properties)

    @property
    def set_name(self) -> str:
        """QM9's, with the geometry if that is not the data set's."""
        return "qm9" if self.geometry == "dft" else f"qm9-{self.geometry}"


class QM9Task(Task):
    """Properties of QM9, in its standard split."""

    config_class = QM9Config
    config: QM9Config
    data: QM9DataModule
    fixed = (*COMMON_FIXED, "geometry", "properties")
    measured_by = ("geometry", "conformers")

    @classmethod
    def data_module(cls, config: QM9Config, first_step: int) -> QM9DataModule:
        """The prepared set."""
        root, batches = data_dir(config.data_dir) / "qm9", config.batches(first_step)
        return QM9DataModule(root, config.properties, geometry=config.geometry, **batches)

    def free_atoms(self) -> dict[str, dict[int, float]]:
        """QM9's own."""
        return qm9.atom_references()

    def about(self) -> dict[str, Any]:
        """QM9's level of theory and split."""
        return {
            "data": "QM9",
            "n_train": self.data.molecules.idx[self.data.parts.train].unique().numel(),
            "split": f"110000/10000/10831, seed {qm9.SPLIT_SEED}",
            "level_of_theory": qm9.LEVEL_OF_THEORY,
            "geometry": self.config.geometry,
            "geometry_source": GEOMETRY_SOURCES[self.config.geometry],
            "trained_on_forces": False,
        }

    def errors(self, predictor: Predictor, part: Part = "test", **options: Any) -> dict[str, Any]:
        """Errors on a part of QM9; of two geometries at the first."""
        geometry = options.pop("geometry", None) or TRAINING_GEOMETRIES[self.config.geometry][0]
        root = self.data.root
        if "conformers" not in options and geometry != "dft":
            # As many conformers as were trained on: they are there, and need no RDKit.
            prepared = qm9.QM9(root).geometry(geometry).conformers
            usual = usual_conformers(weigher_name(predictor.header))
            options["conformers"] = min(usual, prepared)
        return evaluate(predictor, root, part, geometry, **options)

    def calibrations(
        self,
        predictor: Predictor,
        limit: int = 0,
        progress: Progress | None = None,
        beyond: Mapping[int, Sample] | None = None,
    ) -> list[Calibration]:
        """From SMILES, for several numbers of conformers, and at the geometries of training."""
        of_given = predictor.header.geometry in ("", "dft")
        numbers = calibrated_numbers(predictor.header)
        numbers = (0, *numbers) if of_given else numbers
        return calibrate(predictor, self.data.root, limit, progress, numbers, beyond)

    def calibrated_errors(
        self, predictor: Predictor, limit: int = 0, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Those from SMILES."""
        return evaluate(predictor, self.data.root, "test", "smiles", limit, progress=progress)
