"""Training on energies and forces: the kind of data ``forces``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import torch
from pydantic import Field, model_validator
from torch import Tensor

from molgeo.data.forces.datamodule import ForceDataModule
from molgeo.data.forces.properties import ENERGY
from molgeo.elements import SYMBOLS
from molgeo.evaluation.expected_errors import add_expected_errors, some, told_errors
from molgeo.evaluation.forces import ForceErrors, evaluate_forces, force_errors
from molgeo.evaluation.properties import Sample
from molgeo.graph import Graph
from molgeo.ops.segment import molecule_sum
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.predictor.checkpoint import load, read_header
from molgeo.predictor.potential import standardised_forces
from molgeo.properties import Property
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line, say
from molgeo.runtime.progress import Progress
from molgeo.runtime.validation import Amount, Number
from molgeo.training import task
from molgeo.training.config import Files, FilesConfig
from molgeo.training.module import Training, mean_of_known
from molgeo.training.rehearsal import read_rehearsed, rehearsed

VALIDATED: Final = ("val", "kept")
"""How errors of the two validation parts are called in the log."""

FORCE_EPSILON = 1e-6
"""Keeps the norm of an exact force differentiable; in units of the forces' spread."""


class ForceConfig(FilesConfig):
    """A run on energies and forces: npz, extxyz, ASE databases.

    Attributes:
        test_file: files of the test part; none to take it from ``data_file``.
        energy_unit: of the files: ``eV``, ``kcal/mol``, ``hartree`` …
        length_unit: of the files: ``angstrom``, ``bohr`` or ``nm``.
        force_unit: of the files, such as ``hartree/bohr``; empty for energy over length.
        atom_references: element → energy of the free atom in ``energy_unit``.
        energy_key: name of the energy in extxyz and other files of ASE; empty for the usual ones.
        force_key: name of the forces there; empty for the usual ones.
        check_units: refuse units with which the data are implausible.
        energy_weight: of the energy error of an atom in the loss.
        force_weight: of the force error in the loss.
        large_forces: eV/Å, from about which on errors count in proportion to the label: those of
            atoms by their force, those of energies by the root mean square force of the molecule;
            0 to count all errors alike. Broken and compressed bonds then do not rule the loss.
        rehearsal: part of each batch that are structures of other molecules, with the energies and
            forces that the checkpoint of ``start_from`` gives them, so that the run keeps what the
            checkpoint knew; 0 for none.
        rehearsal_file: files of such structures, whose labels are not read; none for those that
            come with molgeo.
    """

    data: str = "forces"
    test_file: Files = Field(default_factory=list)
    energy_unit: str = "eV"
    length_unit: str = "angstrom"
    force_unit: str = ""
    atom_references: dict[str, Number] = Field(default_factory=dict)
    energy_key: str = ""
    force_key: str = ""
    check_units: bool = True
    energy_weight: Amount = 1.0
    force_weight: Amount = 1.0
    large_forces: Amount = 0.0
    rehearsal: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rehearsal_file: Files = Field(default_factory=list)

    @model_validator(mode="after")
    def _weights_and_elements(self) -> ForceConfig:
        if not self.energy_weight + self.force_weight > 0:
            raise SettingError("energy_weight, force_weight: expected one above 0, got 0 for both")
        if self.rehearsal and not (self.start_from and self.batch_size > 1):
            needed = "start_from, a checkpoint" if not self.start_from else "a batch_size above 1"
            raise SettingError(f"rehearsal: expected {needed}, beside rehearsal {self.rehearsal}")
        if self.rehearsal_file and not self.rehearsal:
            raise SettingError("rehearsal_file: expected rehearsal above 0 beside it, such as 0.5")
        for symbol in self.atom_references.keys() - set(SYMBOLS[1:]):
            raise SettingError(
                f"atom_references: expected symbols of elements, got '{one_line(symbol, 60)}'"
            )
        return self

    @property
    def learned(self) -> tuple[Property, ...]:
        """The energy, whose derivative the forces are."""
        return (ENERGY,)


class ForceTask(task.Task):
    """Energies and forces of files."""

    config_class = ForceConfig
    config: ForceConfig
    data: ForceDataModule
    fixed = (
        *task.COMMON_FIXED,
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
        "rehearsal",
        "rehearsal_file",
    )

    @classmethod
    def data_module(cls, config: ForceConfig, first_step: int) -> ForceDataModule:
        """The files' frames."""
        its_own = (
            "energy_unit length_unit force_unit atom_references energy_key force_key check_units "
            "validation_fraction test_fraction split_seed"
        )
        settings = {name: getattr(config, name) for name in its_own.split()}
        settings |= config.batches(first_step)
        return ForceDataModule(config.data_file, config.test_file or None, **settings)

    def free_atoms(self) -> dict[str, dict[int, float]]:
        """The files' and the config's."""
        return {ENERGY.name: self.data.free_atoms}

    def remarks(self, run_dir: Path) -> None:
        """Say if frames of one molecule may be in several parts."""
        if self.data.one_by_one:
            say("the files have no groups: frames are split one by one")

    @property
    def rehearses(self) -> bool:  # type: ignore[override]
        """Whether the config says so."""
        return self.config.rehearsal > 0

    def rehearse(self, predictor: Predictor, run_dir: Path, resume: bool) -> None:
        """Structures that the checkpoint labels, or those that the run's folder has."""
        c = self.config
        if not c.rehearsal:
            return
        if resume:
            found = read_rehearsed(c.rehearsal, run_dir)
        else:
            before = load(c.start_from)
            found = rehearsed(c.rehearsal_file, c.rehearsal, before, predictor, run_dir)
        self.data.rehearse(found)

    def kept(self, predictor: Predictor) -> dict[str, Any]:
        """Distance from the checkpoint's energies and forces on structures that no batch had."""
        others = self.data.rehearsed
        if others is None:
            return {}
        found = evaluate_forces(predictor, others.molecules, others.validation)
        before = self.config.start_from
        own = read_header(before).metrics.mae.get("forces_eV_A")
        is_wrong = "" if own is None else f", which itself is wrong by {1000 * own:.3g}"
        say(
            f"rehearsal: forces on {found['n']} structures of other molecules are "
            f"{1000 * found['mae']['forces_eV_A']:.3g} meV/Å from those of {before}{is_wrong} "
            "(mean absolute)"
        )
        return found

    def module(self, predictor: Predictor) -> Training:
        """Energy and forces."""
        return ForceTraining(predictor, self.config)

    def about(self) -> dict[str, Any]:
        """Level of theory and split."""
        c, parts = self.config, self.data.parts
        sizes = "/".join(str(len(part)) for part in parts)
        return {
            "data": c.set_name,
            "n_train": len(parts.train),
            "split": f"{sizes}, seed {c.split_seed}",
            "level_of_theory": self._level(),
            "geometry_source": "configurations off equilibrium",
            "trained_on_forces": True,
        }

    def _level(self) -> str:
        """The level of theory, and the checkpoint's for other molecules if these are rehearsed."""
        own = self.config.level_of_theory or "not stated"
        if not self.rehearses:
            return own
        theirs = read_header(self.config.start_from).level_of_theory or "not stated"
        return (
            own
            if own.split() == theirs.split()
            else f"{own} ({self.config.set_name}), else {theirs}"
        )

    def errors(
        self, predictor: Predictor, part: task.Part = "test", **options: Any
    ) -> dict[str, Any]:
        """Errors of energy and forces on a part of the files."""
        rows = getattr(self.data.parts, part)[: options.pop("limit", 0) or None]
        about = {"model": predictor.name, "data": self.config.set_name, "split": part}
        found = evaluate_forces(predictor, self.data.molecules, rows, **options)
        return {**about, "geometry": "given", **found}

    def calibrations(
        self,
        predictor: Predictor,
        limit: int = 0,
        progress: Progress | None = None,
        beyond: Mapping[int, Sample] | None = None,
    ) -> list[Calibration]:
        """None of values of molecules; the model learns what errors its forces have.

        Raises:
            SettingError: the model rehearsed molecules, of whose forces no true labels are known.
        """
        if self.rehearses:
            raise SettingError(
                "calibrate: the model knows molecules that it rehearsed, whose true forces the "
                "data do not have; their errors cannot be measured"
            )
        parts = self.data.parts
        rows = parts.train, some(parts.validation, limit)
        add_expected_errors(predictor, self.data.molecules, *rows, progress)
        return []

    def calibrated_errors(
        self, predictor: Predictor, limit: int = 0, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Errors of forces as the model expects them, beside the real ones of the test part."""
        if predictor.expected_errors is None:
            raise SettingError("calibrate: the data have no forces of validation molecules")
        rows = some(self.data.parts.test, limit)
        return {"forces_std": told_errors(predictor, self.data.molecules, rows, progress)}

    def final_errors(self, predictor: Predictor) -> dict[str, Any]:
        """Errors of energies and forces, and those that the model expects of its forces."""
        if not self.rehearses:  # a record of the data alone would call all other molecules unknown
            self.calibrations(predictor)
        told = predictor.expected_errors is not None
        return self.errors(predictor) | (self.calibrated_errors(predictor) if told else {})


class ForceTraining(Training):
    """Fits an energy and its exact negative gradient, or the direct forces of the backbone.

        loss = w_E ⟨|ΔE|/n⟩ / s + w_F ⟨‖ΔF‖⟩ / s

    averaged over molecules and atoms, with the root mean square s of the force components (eV/Å)
    as the one unit of both: E in s·1 Å, so that the scaled force is the scaled energy's derivative.
    What has no label, such as padding, does not count. With ``large_forces`` f the error of an atom
    is divided by √(1 + ‖F‖²/f²), that of an energy by the same of the mean of ‖F‖² over its atoms.

    Args:
        predictor: with its references fitted.
        config: of the run.
    """

    leaves_out_unknown = True

    def __init__(self, predictor: Predictor, config: ForceConfig) -> None:
        super().__init__(predictor, config)
        self._errors: dict[int, list[ForceErrors]] = {}

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The loss of the class's docstring, and the errors of energy and forces in it."""
        p = self.predictor
        graph = batch.graph(p.cutoff)
        energy, force = standardised_forces(p, batch.z, batch.pos, graph, create_graph=True)
        labels = p.to_standardised(batch.y, batch.z, batch.pos, graph)[:, 0]
        c = self.config
        known = ~batch.y[:, 0].isnan()
        error = (energy - labels).where(known, 0.0).abs() / graph.atoms_per_molecule
        known_forces = ~batch.force.isnan().any(-1)
        difference = force - (batch.force / p.scale[0]).to(force.dtype)
        square = difference.where(known_forces.unsqueeze(-1), 0.0).square().sum(-1)
        errors = (square + FORCE_EPSILON**2).sqrt()
        if c.large_forces:
            of_atoms, of_molecules = _weights(batch.force, known_forces, graph, c.large_forces)
            errors, error = errors * of_atoms.to(errors.dtype), error * of_molecules.to(error.dtype)
        energy_error = mean_of_known(error, known)
        force_error = mean_of_known(errors, known_forces)
        return {
            "train_loss": c.energy_weight * energy_error + c.force_weight * force_error,
            "train_loss_energy": energy_error,
            "train_loss_forces": force_error,
        }

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collect errors; Lightning's ``no_grad`` does not hold for the forces."""
        errors = force_errors(self.predictor, batch)
        self._errors.setdefault(dataloader_idx, []).append(errors)

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the errors in meV, meV per atom and meV/Å; first those of the data.

        What is rehearsed counts in the loss by its share.
        """
        c, unit, loss = self.config, float(self.predictor.scale[0]), 0.0
        shares = (1.0 - c.rehearsal, c.rehearsal)
        for k, parts in sorted(self._errors.items()):
            total = torch.stack([errors.to_vector() for errors in parts]).sum(0)
            errors = ForceErrors.from_vector(self.trainer.strategy.reduce(total, reduce_op="sum"))
            mae, rmse = errors.mae(), errors.rmse()
            of_energy = c.energy_weight * mae["energy_eV_atom"]
            of_forces = c.force_weight * float(errors.norms / errors.n_atoms)
            loss += shares[k] * (of_energy + of_forces) / unit
            for kind, values in (("mae", mae), ("rmse", rmse)):
                for column, value in values.items():
                    name = f"{VALIDATED[k]}_{kind}_{column.replace('_eV', '_meV')}"
                    self.log(name, 1000.0 * value, rank_zero_only=True)
        self._errors.clear()
        self.log("val_loss", loss, prog_bar=True, rank_zero_only=True)


def _weights(force: Tensor, known: Tensor, graph: Graph, large: float) -> tuple[Tensor, Tensor]:
    """Weights of errors, (atoms,) and (molecules,), that fall where labels of forces are large."""
    squares = force.where(known.unsqueeze(-1), 0.0).square().sum(-1) / large**2
    means = molecule_sum(squares, graph) / graph.atoms_per_molecule.clamp(min=1)
    return (1.0 + squares).rsqrt(), (1.0 + means).rsqrt()
