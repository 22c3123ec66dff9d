"""A whole step of training in one piece: from a batch to the weights after it and their average.

Most of a step on a card goes into launching small kernels one by one. So the step is captured once
as a CUDA graph for each shape of batches, and replayed from then on: the next batch is copied into
the memory of the first one, and a single launch does the rest. A replay runs no Python. So what
changes from step to step (learning rate, number of steps, decay of the average) is in tensors.

Elsewhere the very same function is called in every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel

from molgeo.data.molecules import Batch
from molgeo.runtime.cuda_graphs import Capture, capture_on, copy_all, is_out_of_memory
from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line, say
from molgeo.training.config import RunConfig
from molgeo.training.optimisation import exponential_average, move_averages

Captured = tuple[list[Tensor], Callable[[], None]]
"""The tensors that a replay reads its batch from, and the replay."""

CAPTURED_PRECISIONS: Final = ("32-true", "bf16-mixed")
"""Those in which `auto` replays."""


def is_replayed(config: RunConfig) -> bool:
    """Whether a run makes whole steps on padded batches.

    Args:
        config: of the run.
    """
    if config.replay != "auto":
        return config.replay
    is_card = config.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    is_one = config.devices == 1 and config.strategy == "auto"
    return is_card and is_one and config.precision in CAPTURED_PRECISIONS


class WholeStep:
    """Forward, loss, backward, clipping, optimiser and average of one batch.

    Args:
        module: its ``losses`` of a batch say what a step lowers.
        optimizer: whose learning rates, if steps are captured, are tensors that a schedule fills.
        averages: of the module's weights.
        config: of the run.
        capture: makes replays; None to call the step's function each time.

    Attributes:
        gradient_norm: of the last step, before clipping.
        made: steps so far.
    """

    def __init__(
        self,
        module: Any,
        optimizer: torch.optim.Optimizer,
        averages: AveragedModel,
        config: RunConfig,
        capture: Capture | None = None,
    ) -> None:
        self.module, self.optimizer, self.averages = module, optimizer, averages
        self.config, self.capture = config, capture
        self.gradient_norm = torch.zeros((), device=module.device)
        self.made = 0
        self._captured: dict[Any, Captured | None] = {}
        self._losses: dict[str, Tensor] = {}

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Make a step.

        Args:
            batch: if it is padded, its step may be captured; if not, it is computed.

        Returns:
            The losses before the step, which the next step may overwrite.
        """
        self.made += 1
        captured, key = None, (batch.capacity, len(batch.y))
        if self.capture is not None and batch.capacity is not None:
            if key not in self._captured:
                self._captured[key] = self._captured_step(batch, self.capture)
            captured = self._captured[key]
        if captured is None:
            self._compute(batch)
        else:
            static, replay = captured
            copy_all(static, batch.tensors())
            replay()
        return self._losses

    def _compute(self, batch: Batch) -> None:
        """The step's function, in which nothing waits for the device."""
        kind = self.module.device.type
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.optimizer.zero_grad(set_to_none=True)
        # A cast of a weight must not be kept: a replay would have that of the captured step.
        mixed = torch.is_autocast_enabled(kind)
        with torch.autocast(kind, enabled=mixed, cache_enabled=False):
            losses = self.module.losses(batch)
        with torch.autocast(kind, enabled=False):
            losses["train_loss"].backward()
            if self.config.clip_norm:
                norm = clip_grad_norm_(weights, self.config.clip_norm)
            else:
                norm = get_total_norm([p.grad for p in weights if p.grad is not None])
            self.optimizer.step()
            _take_in(self.averages, self.module, self.config.ema_decay)
        with torch.no_grad():
            self.gradient_norm.copy_(norm)
            for name, value in losses.items():
                if name not in self._losses:
                    self._losses[name] = torch.empty_like(value)
                self._losses[name].copy_(value)

    def _captured_step(self, batch: Batch, capture: Capture) -> Captured | None:
        """Capture a step, if it can be; no weight has moved."""
        static = batch.map(Tensor.clone)
        # Detached: a copy that can be differentiated keeps the nodes that add up gradients alive,
        # with the stream they were made on, and a capture on another stream would wait for that.
        before = [(x, x.detach().clone()) for x in self._state()]

        def function() -> None:
            self._compute(static.map(lambda x: x))  # what follows from a graph is computed anew

        try:
            return static.tensors(), capture(function)
        except RuntimeError as error:
            self._give_up(error, batch)
            return None
        finally:
            known = {id(x) for x, _ in before}
            with torch.no_grad():
                for x in self._state():
                    if id(x) not in known:
                        x.zero_()  # an optimiser's state begins so
                for x, value in before:
                    x.copy_(value)

    def _give_up(self, error: RuntimeError, batch: Batch) -> None:
        """Compute steps: those of a shape for which no memory is left, else all. Say so once.

        Raises:
            SettingError: the run insists on replays.
        """
        if is_out_of_memory(error):
            why = f"no memory is left to capture steps of {len(batch.z)} atoms"
            advice, computed = "a smaller batch_size", "steps of such a size are"
            is_told = None in self._captured.values()
        else:
            why = f"the steps of this model cannot be captured: {one_line(error, 200)}"
            advice, computed, is_told = "replay: false", "each step is", False
            self.capture = None
        if self.config.replay is True:
            raise SettingError(f"replay: {why}; try {advice}") from error
        if not is_told:
            say(f"replay: {why}; {computed} computed, which takes longer")

    def _state(self) -> list[Tensor]:
        """All that a step changes."""
        state: list[Tensor] = [*self.module.parameters(), *self.averages.parameters()]
        state.append(self.averages.n_averaged)
        apply_to_collection(self.optimizer.state_dict(), Tensor, state.append)
        return state


def _take_in(averages: AveragedModel, module: Any, decay: float) -> None:
    """Let the averages take in a module's weights; nothing waits for their device."""
    move_averages(
        [p.detach() for p in averages.module.parameters()],
        [p.detach() for p in module.parameters()],
        averages.n_averaged,
        decay,
    )
    averages.n_averaged.add_(1)


class Averages(WeightAveraging):
    """Lightning's averages of the weights, on the device that the weights are on.

    Args:
        config: of the run.
    """

    def __init__(self, config: RunConfig) -> None:
        super().__init__(multi_avg_fn=exponential_average(config.ema_decay), use_buffers=False)
        self.config = config

    @property
    def state_key(self) -> str:
        """Lightning's, whatever the steps of a run are."""
        return WeightAveraging.__qualname__

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Follow the weights, which Lightning moves after it has copied them."""
        averages: Any = self._average_model
        averages.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in the weights after a step; torch's averages would wait for a card."""
        if pl_module.device.type == "cpu":
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        elif trainer.global_step > self._latest_update_step:
            averages: Any = self._average_model
            _take_in(averages, pl_module, self.config.ema_decay)
            self._latest_update_step = trainer.global_step


class StepAverages(Averages):
    """Averages that are taken within whole steps, which it gives a module to make."""

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Make the step, now that states were loaded and all tensors are in their places."""
        averages: Any = self._average_model
        optimizer = trainer.optimizers[0]
        # A rate that is a number of Python's would stay as it was at the capture.
        can_change = all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups)
        capture = capture_on(pl_module.device) if can_change else None
        pl_module.whole_step = WholeStep(pl_module, optimizer, averages, self.config, capture)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the step, whose weights are in the averages."""
        self._latest_update_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Take the averages, and let the step's memory go."""
        super().on_train_end(trainer, pl_module)
        pl_module.whole_step = None

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Let the step's memory go."""
        pl_module.whole_step = None


def averages_of(config: RunConfig) -> Averages:
    """The callback that averages a run's weights, and gives it whole steps to make if it replays.

    Args:
        config: of the run.
    """
    return StepAverages(config) if is_replayed(config) else Averages(config)
