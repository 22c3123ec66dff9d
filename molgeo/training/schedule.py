"""Learning-rate schedules: factors of the peak rate by step."""

from __future__ import annotations

import math
from collections.abc import Callable

from molgeo.training.config import RunConfig


def learning_rate_factor(config: RunConfig, total_steps: int) -> Callable[[int], float]:
    """The factor of the peak learning rate at each step.

    Linear warm-up, then ``config.schedule``. The factor depends on the step and the config alone,
    so a resumed run may be given another end: with ``stable`` nothing changes until the decay
    begins.

    Args:
        config: of the run.
        total_steps: steps of the whole run.

    Returns:
        step → factor in [0, 1].
    """
    decay_start = round(total_steps * (1.0 - config.decay_fraction))

    def factor(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.schedule == "exponential":
            return float(config.decay_rate ** ((step - config.warmup_steps) / config.decay_steps))
        if config.schedule == "cosine":
            span = max(1, total_steps - config.warmup_steps)
            done = min(1.0, (step - config.warmup_steps) / span)
            return 0.5 * (1.0 + math.cos(math.pi * done))
        if config.schedule == "stable" and step > decay_start:
            return max(0.0, (total_steps - step) / max(1, total_steps - decay_start))
        return 1.0

    return factor
