"""When states to resume from are saved, and when a run stops to be resumed."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from time import monotonic
from typing import Any, Final

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint

RECENT: Final = 100
"""Steps whose mean time is told: enough that a card is asked within them."""


class TimeIsUp(BaseException):
    """The minutes of a run are over, and its state is saved. It is no error, so no `Exception`.

    Args:
        step: steps that the run has made, in all.
        minutes: that it was given.
        pace: seconds of a step, of the last `RECENT`; None if there were fewer.
    """

    def __init__(self, step: int, minutes: float, pace: float | None = None) -> None:
        told = "" if pace is None else f", at {pace:.3g} s per step"
        super().__init__(
            f"stopped after step {step}, as max_minutes {minutes:g} are over{told}; "
            "--resume goes on"
        )


class TimeLimit(Checkpoint):
    """Ends a run when its minutes are over, so that it goes on as if it had not been.

    Lightning's own ways to stop early run the hooks of an epoch's end in its middle, and a resumed
    run would run them again. Here the state is saved after a step (as a `Checkpoint`, so after
    the weights' average was updated), and the run is left before the next one, when the step is
    logged.
    At least one step is made.

    Args:
        path: of the state.
        minutes: from now on; 0 for no end.
    """

    def __init__(self, path: Path, minutes: float) -> None:
        self.path = path
        self.minutes = minutes
        self._end = monotonic() + 60.0 * minutes
        self._is_over = False
        self._ends: deque[float] = deque(maxlen=RECENT + 1)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the state, unless a validation comes next, after which it is saved anyway."""
        now = monotonic()
        self._ends.append(now)
        # All processes stop at one step, whatever their clocks say.
        decide = trainer.strategy.reduce_boolean_decision
        self._is_over = bool(self.minutes) and decide(now >= self._end, all=False)
        if self._is_over and not validation_follows(trainer):
            trainer.save_checkpoint(self.path)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Leave."""
        if self._is_over:
            ends = self._ends
            pace = (ends[-1] - ends[0]) / RECENT if len(ends) > RECENT else None
            raise TimeIsUp(trainer.global_step, self.minutes, pace)


class LastStep(Callback):
    """Ends a run after so many steps with a validation, wherever in an epoch that is.

    Lightning's ``max_steps`` ends it without, so that the end of a schedule would not be validated,
    and shifts the steps in the log of a run that is resumed from the end of an epoch (2.6.6).

    Args:
        step: the last one's number, from one; -1 for none.
    """

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the end, before which Lightning validates."""
        if trainer.global_step == self.step:
            trainer.should_stop = True


class KeptState(ModelCheckpoint):
    """Lightning's, which also knows its best state when the run folder has moved.

    Lightning forgets the best score if the folder is not the one of the state.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the scores, with the present places of files."""
        folder = str(self.dirpath)

        def here(path: str) -> str:
            return str(Path(folder) / Path(path).name) if path else path

        moved = {**state_dict, "dirpath": folder}
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            if name in moved:
                moved[name] = here(moved[name])
        best = moved.get("best_k_models", {})
        moved["best_k_models"] = {here(path): score for path, score in best.items()}
        super().load_state_dict(moved)


class MidEpochState(KeptState):
    """Saves every so many steps, but for those that a validation follows.

    Lightning goes on from a state between an epoch's last step and its validation without the
    validation, so a run killed there would end with another best model.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless a validation comes next."""
        if not validation_follows(trainer):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def validation_follows(trainer: Trainer) -> bool:
    """Whether the step just made is an epoch's last, or the run's."""
    return trainer.is_last_batch or trainer.should_stop


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
        KeptState(
            run_dir,
            "last",
            every_n_epochs=1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
    ]
