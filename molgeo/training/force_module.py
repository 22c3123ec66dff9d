"""The LightningModule that fits energies and forces."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from molgeo.evaluation.forces import ForceErrors, batch_graph, force_errors
from molgeo.predictor import Predictor
from molgeo.training.config import ForceTrainingConfig
from molgeo.training.module import Training

FORCE_EPSILON = 1e-6
"""Keeps the norm of an exact force differentiable; in units of the forces' spread."""


class ForceTraining(Training):
    """Fits an energy and its exact negative gradient.

        loss = w_E ⟨|ΔE|/n⟩ / s + w_F ⟨‖ΔF‖⟩ / s

    averaged over molecules and atoms, with the root mean square s of the force components (eV/Å)
    as the one unit of both: E in s·1 Å, so that the scaled force is the scaled energy's derivative.

    Args:
        predictor: with its references fitted.
        config: of the run.
    """

    def __init__(self, predictor: Predictor, config: ForceTrainingConfig) -> None:
        super().__init__(predictor, config)
        self._errors: list[ForceErrors] = []

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """The loss of the class's docstring, and the errors of energy and forces in it."""
        p = self.predictor
        graph = batch_graph(batch, p.cutoff)
        energy, force = p.standardised_forces(batch.z, batch.pos, graph, create_graph=True)
        labels = p.to_standardised(batch.y, batch.z, batch.pos, graph)[:, 0]
        energy_error = ((energy - labels).abs() / batch.ptr.diff()).mean()
        difference = force - (batch.force / p.scale[0]).to(force.dtype)
        force_error = (difference.square().sum(-1) + FORCE_EPSILON**2).sqrt().mean()
        c = self.config
        return {
            "train_loss": c.energy_weight * energy_error + c.force_weight * force_error,
            "train_loss_energy": energy_error,
            "train_loss_forces": force_error,
        }

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Collect errors; Lightning's ``no_grad`` does not hold for the forces."""
        self._errors.append(force_errors(self.predictor, batch))

    def on_validation_epoch_end(self) -> None:
        """Log the loss and the errors in meV, meV an atom and meV/Å."""
        total = torch.stack([errors.to_vector() for errors in self._errors]).sum(0)
        self._errors.clear()
        errors = ForceErrors.from_vector(self.trainer.strategy.reduce(total, reduce_op="sum"))
        mae, rmse = errors.mae(), errors.rmse()
        unit = float(self.predictor.scale[0])
        loss = (
            self.config.energy_weight * mae["energy_eV_atom"]
            + self.config.force_weight * float(errors.norms / errors.n_atoms)
        ) / unit
        self.log("val_loss", loss, prog_bar=True, rank_zero_only=True)
        for kind, values in (("mae", mae), ("rmse", rmse)):
            for column, value in values.items():
                name = f"val_{kind}_{column.replace('_eV', '_meV')}"
                self.log(name, 1000.0 * value, rank_zero_only=True)
