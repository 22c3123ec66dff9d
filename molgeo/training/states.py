"""When states to resume from are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint


class MidEpochState(ModelCheckpoint):
    """Saves every so many steps, but for an epoch's last.

    Lightning goes on from a state between an epoch's last step and its validation without the
    validation, so a run killed there would end with another best model.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation comes next."""
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def last_state(run_dir: Path, every_steps: int) -> list[Callback]:
    """Callbacks that keep ``last.ckpt``: saved every so many steps and after every validation.

    Args:
        run_dir: folder of the run.
        every_steps: steps between states.
    """
    return [
        MidEpochState(
            run_dir,
            "last",
            every_n_train_steps=every_steps,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        ),
        ModelCheckpoint(
            run_dir,
            "last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
