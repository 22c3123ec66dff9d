"""What Lightning says in passing and nobody needs to read, hushed while a run lasts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

WARNINGS: Final = (
    r"Checkpoint directory .* exists and is not empty",  # it holds the run's configuration
    r"The number of training batches .* is smaller than the logging interval",
    r"`ModelCheckpoint\(monitor='val_loss'\)` could not find",  # a run shorter than an epoch
    r"The `srun` command is available",
    r".*isinstance\(treespec, LeafSpec\)",  # Lightning's own use of torch
    r"It is recommended to use `self\.log\(.*sync_dist=True",  # errors are summed by the module
    r"The '\w+' does not have many workers",  # FlatLoader needs none
    r"Starting from v1\.9\.0, `tensorboardX`",
    r"You are using `torch\.load` with `weights_only=",
    r"To copy construct from a tensor",  # of a learning rate that is one
)
"""Beginnings of warnings, as regular expressions."""

MESSAGES: Final = (
    "💡 Tip",
    "`Trainer.fit` stopped",
    "GPU available",
    "TPU available",
    "HPU available",
    "Loading `train_dataloader` to estimate",
    "You are using a CUDA device",
    "Found current_model_state in the checkpoint",
)
"""Beginnings of messages."""


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's irrelevant warnings and messages from the user; all others pass.

    Also a decorator of functions.
    """
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")

    def relevant(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(MESSAGES)

    logger.addFilter(relevant)
    try:
        with warnings.catch_warnings():
            for beginning in WARNINGS:
                warnings.filterwarnings("ignore", beginning)
            yield
    finally:
        logger.removeFilter(relevant)
