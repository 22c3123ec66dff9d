"""Types and ranges of the numbers in a run's config."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Final, get_type_hints

from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line

MOST: Final = 10**12
"""Bound on all numbers of a config that have no other."""

LEAST: Final = {
    "seed": 0,
    "head_features": 1,
    "batch_size": 1,
    "epoch_size": 0,
    "max_epochs": -1,
    "max_steps": -1,
    "max_minutes": 0,
    "limit_train": 0,
    "limit_validation": 0,
    "learning_rate": 0,
    "weight_decay": 0,
    "warmup_steps": 0,
    "decay_rate": 0,
    "decay_steps": 1,
    "clip_norm": 0,
    "patience": 0,
    "devices": 1,
    "threads": 0,
    "save_every_steps": 1,
    "log_every_steps": 1,
    "split_seed": 0,
    "energy_weight": 0,
    "force_weight": 0,
}
"""Field → least value."""

MOST_OF: Final = {"seed": 2**32 - 1, "split_seed": 2**32 - 1, "head_features": 4096}
"""Field → largest value, where it is not `MOST`."""

FRACTIONS: Final = ("decay_fraction", "ema_decay")
"""Fields that are numbers from 0 to 1."""

PARTS: Final = ("validation_fraction", "test_fraction")
"""Fields that are numbers between 0 and 1, neither of them included."""


def check_numbers(config: Any) -> None:
    """Refuse numbers that are of another type, not finite, or out of their range.

    Args:
        config: a dataclass; all its fields that are numbers are in one of the tables above.

    Raises:
        ValueError: the message names the field.
    """
    hints = get_type_hints(type(config))
    for name in (f.name for f in dataclasses.fields(config)):
        value = getattr(config, name)
        if hints[name] not in (int, float):
            continue
        if name in FRACTIONS or name in PARTS:
            check_number(name, value, -MOST)
            if not (0 < value < 1 if name in PARTS else 0 <= value <= 1):
                raise SettingError(f"{name}: expected a number between 0 and 1, got {value}")
        else:
            whole = hints[name] is int
            check_number(name, value, LEAST[name], MOST_OF.get(name, MOST), whole)


def check_number(
    name: str, value: Any, least: float, most: float = MOST, whole: bool = False
) -> None:
    """Refuse what is no finite number between two others, these included.

    Args:
        name: of the field.
        value: of any type.
        least: value.
        most: value.
        whole: expect an int.

    Raises:
        ValueError: the message names the field.
    """
    kind = "a whole number" if whole else "a number"
    if type(value) not in ((int,) if whole else (int, float)):
        raise SettingError(f"{name}: expected {kind}, got {_shown(value)}")
    if type(value) is float and not math.isfinite(value):
        raise SettingError(f"{name}: expected a finite number, got {value}")
    if value < least:
        raise SettingError(f"{name}: expected {least} or more, got {_shown(value)}")
    if value > most:
        raise SettingError(f"{name}: expected at most {most}, got {_shown(value)}")


def _shown(value: Any) -> str:
    try:
        return one_line(repr(value), 60)
    except ValueError:  # Python's own limit
        return "a number of thousands of digits"
