"""The LightningModules' common part, and the one that fits properties."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from molgeo.graph import Graph
from molgeo.predictor import Predictor
from molgeo.runtime.errors import SettingError
from molgeo.training.config import RunConfig
from molgeo.training.optimisation import optimiser_of, schedule_of
from molgeo.training.whole_step import WholeStep, is_replayed


def mean_of_known(errors: Tensor, known: Tensor) -> Tensor:
    """Mean of the errors that are known, zero if none is; the host does not wait for the device.

    Padding has no labels, so that it counts nowhere.

    Args:
        errors: (n,) all finite, also those of what is not known.
        known: (n,) bool.
    """
    return errors.where(known, 0.0).sum() / known.sum().clamp(min=1)


class Training(LightningModule):
    """A predictor, its run's config, and how it is optimised.

    Args:
        predictor: with its references fitted.
        config: of the run.

    Attributes:
        whole_step: makes steps in one piece while a run lasts that replays them, else None. Then
            Lightning's parts of a step do nothing; it counts the steps and moves the schedule.
    """

    whole_step: WholeStep | None = None
    leaves_out_unknown = False
    """Whether `losses` leave out labels that are NaN. If so, batches may be padded: padding has
    none."""

    def __init__(self, predictor: Predictor, config: RunConfig) -> None:
        super().__init__()
        self.predictor = predictor
        self.config: Any = config

    @property
    def is_padded(self) -> bool:
        """Whether batches of the run are padded to fixed shapes."""
        return is_replayed(self.config) and self.leaves_out_unknown

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """What a step lowers, ``train_loss``, and its parts if it has any, of a batch."""
        raise TypeError(f"{type(self).__name__} does not say what it fits")

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | dict[str, Tensor]:
        """The loss of a batch, logged with its parts; of a whole step its gradient's norm too."""
        step = self.whole_step
        losses = self.losses(batch) if step is None else step(batch)
        for name, value in losses.items():
            self.log(name, value.detach(), batch_size=batch.n_molecules)
        loss = losses["train_loss"]
        return loss if step is None else {"loss": loss, "gradient_norm": step.gradient_norm}

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Lightning's, or the whole step, which is `training_step` alone."""
        if self.whole_step is None:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
            return
        made = self.whole_step.made
        optimizer_closure()
        if self.whole_step.made == made:
            raise SettingError(
                f"replay: {type(self).__name__} has a training_step of its own, which makes no "
                "whole step; set replay to false"
            )

    def backward(self, loss: Tensor) -> None:
        """Lightning's, or nothing after a whole step."""
        if self.whole_step is None:
            super().backward(loss)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Lightning's, or nothing after a whole step."""
        if self.whole_step is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The config's optimiser with its schedule, by step."""
        c = self.config
        optimizer = optimiser_of(self.predictor, c, is_replayed(c))
        epochs = self.trainer.estimated_stepping_batches
        total = int(min(epochs, c.max_steps) if c.max_steps >= 0 else epochs)
        schedule = schedule_of(optimizer, c, total)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class PropertyTraining(Training):
    """Fits all properties at once, each in units of its own spread, so that none drowns the others.

    Args:
        predictor: with its references fitted.
        config: of the run, maybe with ``loss_weights``: property → weight, 1 if not given.
    """

    loss_weights: Tensor
    leaves_out_unknown = True

    def __init__(self, predictor: Predictor, config: Any) -> None:
        super().__init__(predictor, config)
        names = predictor.property_names
        chosen = getattr(config, "loss_weights", {})
        weights = torch.tensor([chosen.get(name, 1.0) for name in names])
        self.register_buffer("loss_weights", weights / weights.sum(), persistent=False)
        self._errors: list[Tensor] = []

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Weighted mean errors: absolute, of standardised properties, or cross-entropies."""
        return {"train_loss": self._loss(batch)[0]}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Collect absolute errors; they are averaged over molecules at the end of the epoch."""
        _, errors = self._loss(batch)
        self._errors.append(errors.double())

    def on_validation_epoch_end(self) -> None:
        """Log the loss and every property's MAE in its published unit."""
        total = torch.cat(self._errors, dim=1).sum(1)
        self._errors.clear()
        errors, counts = self.trainer.strategy.reduce(total, reduce_op="sum")
        mae = errors / counts.clamp(min=1)
        self.log("val_loss", (mae * self.loss_weights).sum(), prog_bar=True, rank_zero_only=True)
        scaled = mae * self.predictor.scale
        for one, value in zip(self.predictor.properties, scaled.tolist(), strict=True):
            self.log(f"val_mae_{one.column}", value, rank_zero_only=True)

    def _loss(self, batch: Any) -> tuple[Tensor, Tensor]:
        """The loss, and (2, molecules, properties): standardised errors, and which there are."""
        graph = batch.graph(self.predictor.cutoff)
        outputs = self.predictor.standardised(batch.z, batch.pos, graph)
        return self.compared(outputs, batch.y, batch.z, batch.pos, graph)

    def compared(
        self, outputs: Tensor, y: Tensor, z: Tensor, pos: Tensor, graph: Graph
    ) -> tuple[Tensor, Tensor]:
        """What outputs of the heads are worth.

        Args:
            outputs: (molecules, properties), standardised.
            y: (molecules, properties) labels in the properties' units, NaN if one is missing.
            z: (atoms,) atomic numbers.
            pos: (atoms, 3) Å.
            graph: says which atom belongs to which molecule.

        Returns:
            The loss, and (2, molecules, properties): standardised errors, and which there are.
        """
        labels = self.predictor.to_standardised(y, z, pos, graph)
        known = ~y.isnan()
        errors = (outputs - labels.where(known, outputs.detach())).abs()  # 0 if there is no label
        chances = [one.is_probability for one in self.predictor.properties]
        if any(chances):
            odds = self.predictor.to_units(outputs, z, pos, graph)
            truth = y.where(known, odds.detach().sigmoid())
            entropy = binary_cross_entropy_with_logits(odds, truth, reduction="none")
            is_chance = torch.tensor(chances, device=errors.device)
            errors = torch.where(is_chance & known, entropy.to(errors.dtype), errors * ~is_chance)
        mean = errors.sum(0) / known.sum(0).clamp(min=1)
        return (mean * self.loss_weights).sum(), torch.stack([errors, known.to(errors.dtype)])
