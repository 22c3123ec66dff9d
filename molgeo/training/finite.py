"""Stop a run at its first NaN or infinity, before a state that holds it is saved."""

from __future__ import annotations

import math
from itertools import chain
from typing import Any, Final

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn.utils import get_total_norm

from molgeo.data.molecules import PADDING_IDX
from molgeo.runtime.errors import FAILED, UserError
from molgeo.training.config import RunConfig

EVERY: Final = 50
"""Steps between looks at what a device has noted; a look makes the CPU wait for it."""

NAMED: Final = 5
"""Molecules that a message names."""


class NotFiniteError(UserError, ArithmeticError):
    """A loss, a gradient or a weight became NaN or infinite; the message says where and what helps.

    Args:
        message: one line.
    """

    exit_status = FAILED


class Finite(Callback):
    """Ends a run at the first loss, gradient or weight that is NaN or infinite.

    On a CPU it looks before each backward pass and each update, so that the weights remain those
    before. Elsewhere the device notes the first step that went wrong, and is asked every `EVERY`
    steps and before a state is saved. All processes of a run stop together.

    Args:
        config: of the run.
    """

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self._noted: dict[str, Tensor] = {}
        self._batch: Any = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember what the step is made of."""
        self._batch = batch

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Look at the loss."""
        self._note(trainer.global_step + 1, "loss", loss.detach())
        if self._looks_at_each(trainer):
            self._look(trainer, pl_module)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Look at the gradient, before it is clipped."""
        if trainer.precision != "16-mixed":  # there an overflow is expected, and its step left out
            gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
            self._note(trainer.global_step + 1, "gradient", get_total_norm(gradients))
        if self._looks_at_each(trainer) or (trainer.global_step + 1) % EVERY == 0:
            self._look(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the gradient of a whole step, within which no hook is called."""
        if isinstance(outputs, dict) and "gradient_norm" in outputs:
            self._note(trainer.global_step, "gradient", outputs["gradient_norm"])
            if trainer.global_step % EVERY == 0:
                self._look(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the steps before, so that no weights that are NaN are validated."""
        self._look(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the validation's loss, which the first process knows."""
        loss = float(trainer.callback_metrics.get("val_loss", 0.0))
        if self._any(trainer, not math.isfinite(loss)):
            loaders = trainer.datamodule.val_dataloader()  # type: ignore[attr-defined]
            each = chain(*loaders) if isinstance(loaders, list) else loaders
            bad = self._bad_molecules(pl_module, each)
            self._stop(trainer, trainer.global_step, f"the validation loss is {loss:g}", bad)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what is not finite out of every state."""
        self._look(trainer, pl_module)
        norm = get_total_norm(list(pl_module.parameters()))
        if self._any(trainer, not math.isfinite(float(norm))):
            self._stop(trainer, trainer.global_step, "a weight is NaN or infinite", [])

    def _looks_at_each(self, trainer: Trainer) -> bool:
        return trainer.world_size == 1 and trainer.strategy.root_device.type == "cpu"

    def _any(self, trainer: Trainer, here: bool) -> bool:
        return trainer.strategy.reduce_boolean_decision(here, all=False)

    def _note(self, step: int, name: str, value: Tensor) -> None:
        """Let the device keep the first step whose number is not finite, and the number."""
        value = value.float()
        now = torch.stack([torch.full_like(value, step), value])
        noted = self._noted.setdefault(name, torch.zeros_like(now))
        is_first = (noted[0] == 0) & ~value.isfinite()
        self._noted[name] = torch.where(is_first, now, noted)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the device, and stop at the first step that went wrong in any process."""
        found = {name: noted.tolist() for name, noted in self._noted.items()}
        bad = {name: (int(step), value) for name, (step, value) in found.items() if step}
        if not self._any(trainer, bool(bad)):
            return
        if not bad:
            self._stop(trainer, trainer.global_step + 1, "another process has stopped", [])
        name, (step, value) = min(bad.items(), key=lambda item: item[1][0])
        molecules: list[int] = []
        if step == trainer.global_step + 1:  # the weights are those before
            molecules = self._bad_molecules(pl_module, [self._batch])
        self._stop(trainer, step, f"the {name} is {value:g}", molecules)

    def _stop(self, trainer: Trainer, step: int, what: str, molecules: list[int]) -> None:
        """Raise, with what may help."""
        c = self.config
        schedule: Any = trainer.lr_scheduler_configs[0].scheduler
        rate = schedule.base_lrs[0] * schedule.lr_lambdas[0](step - 1)
        if molecules:
            listed = ", ".join(map(str, molecules[:NAMED]))
            more = f" and {len(molecules) - NAMED} more" if len(molecules) > NAMED else ""
            cure = f"look at molecule {listed}{more} of the data, which gives that on its own"
        else:
            cures = [f"a learning_rate smaller than {c.learning_rate:g}", "more warmup_steps"]
            if c.matmul_precision != "highest":
                cures.append("matmul_precision highest")
            if not c.clip_norm:
                cures.append("clip_norm 5")
            if c.precision not in ("32-true", "64-true"):
                cures.append("precision 32-true")
            cure = f"try {', '.join(cures)}, or look for wrong rows in the data"
        raise NotFiniteError(f"stopped at step {step}, learning rate {rate:.3g}: {what}; {cure}")

    def _bad_molecules(self, pl_module: Any, batches: Any) -> list[int]:
        """Numbers of molecules that make a loss or gradient NaN or infinite on their own.

        Where most of a batch does, the cause are the weights.
        """
        bad: list[int] = []
        for batch in batches:
            batch = pl_module.trainer.precision_plugin.convert_input(batch).to(pl_module.device)
            if _is_finite(pl_module, batch):
                continue
            own = [m for m, idx in enumerate(batch.idx.tolist()) if idx != PADDING_IDX]
            parts = {int(batch.idx[m]): batch.molecule(m) for m in own}
            found = [idx for idx, part in parts.items() if not _is_finite(pl_module, part)]
            if 2 * len(found) <= len(parts):
                bad += found
        return bad


def _is_finite(pl_module: Any, batch: Any) -> bool:
    """Whether a batch has a loss, and the loss a gradient."""
    parameters = [p for p in pl_module.parameters() if p.requires_grad]
    with torch.enable_grad():
        loss = pl_module.losses(batch)["train_loss"]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    norm = get_total_norm([g for g in gradients if g is not None])
    return math.isfinite(float(loss.detach() + norm))
