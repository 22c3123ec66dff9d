"""The bar that shows a run's steps on a terminal."""

from __future__ import annotations

from importlib.util import find_spec
from time import monotonic
from typing import Any, Final

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar

SECONDS: Final = 0.5
"""Between looks at the loss, for which the host waits for the device."""


class _NowAndThen(ProgressBar):
    """Shows the loss of a step now and then, before Lightning's bar in the order of classes."""

    _next = 0.0

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Show a step if its time has come, and an epoch's last."""
        if monotonic() >= self._next or trainer.is_last_batch:
            super().on_train_batch_end(trainer, *args)
            self._next = monotonic() + SECONDS

    def get_metrics(self, trainer: Trainer, pl_module: Any) -> dict[str, Any]:
        """What is shown."""
        found = dict(super().get_metrics(trainer, pl_module))
        if "train_loss" in trainer.callback_metrics:
            found["train_loss"] = float(trainer.callback_metrics["train_loss"])
        return found


class _Rich(_NowAndThen, RichProgressBar):
    """Rich's bar."""


class _Plain(_NowAndThen, TQDMProgressBar):
    """The bar without rich."""


def progress_of_steps() -> ProgressBar:
    """The bar of a run, on standard error."""
    return _Rich(console_kwargs={"stderr": True}) if find_spec("rich") else _Plain()
