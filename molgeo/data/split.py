"""Parts of a data set: to train on, to validate on, to test on."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molgeo.runtime.errors import InputError

TRAIN, VALIDATION, TEST, UNDECIDED = 0, 1, 2, -1
"""Parts that a file may assign its rows to."""

PARTS: Final = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
"""Name → number of a part."""


class Split(NamedTuple):
    """Rows of the three parts of a data set, each (n,) int64."""

    train: Tensor
    validation: Tensor
    test: Tensor


def has_groups(group: NDArray[Any]) -> bool:
    """Whether rows, grouped as in `split_groups`, are of so many groups that each part has one."""
    return len(np.unique(group[group >= 0])) + int((group < 0).sum()) >= len(PARTS)


def split_groups(
    group: NDArray[Any],
    part: NDArray[Any],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    source: str = "data",
) -> Split:
    """Rows of the three parts; a group is never divided.

    The parts that a file names stay what they are. Of the groups that no file has assigned, a
    fraction becomes the test part if there is none, and a fraction of the rest the validation part
    if there is none. Training rows are in the random order of their groups, so that the first few
    are a fair sample.

    Args:
        group: (rows,) int64, rows of one number are of one group; -1 for a group of its own.
        part: (rows,) `TRAIN`, `VALIDATION`, `TEST` or `UNDECIDED`.
        validation_fraction: of the groups.
        test_fraction: of the groups.
        seed: of ``numpy.random.RandomState``, whose stream is frozen across versions.
        source: of the rows, for messages.

    Raises:
        InputError: a part would be empty.
    """
    n = len(group)
    own = group.max(initial=-1) + 1 + np.arange(n)
    _, numbers = np.unique(np.where(group < 0, own, group), return_inverse=True)
    place = np.random.RandomState(seed).permutation(int(numbers.max()) + 1)[numbers]  # of each row
    part = part.copy()
    for name, fraction, available in (
        ("test", test_fraction, [UNDECIDED]),
        ("validation", validation_fraction, [UNDECIDED, TRAIN]),
    ):
        number = PARTS[name]
        if not (part == number).any():
            is_free = np.isin(part, available)
            free = np.unique(place[is_free])
            part[is_free & np.isin(place, free[: max(1, round(fraction * len(free)))])] = number
        if not (part == number).any():
            raise InputError(_too_few(source, name, n, len(np.unique(place))))
    order = np.argsort(place, kind="stable")
    kind = part[order]
    train = order[(kind != TEST) & (kind != VALIDATION)]
    if not len(train):
        raise InputError(_too_few(source, "training", n, len(np.unique(place))))
    rows = (train, np.flatnonzero(part == VALIDATION), np.flatnonzero(part == TEST))
    return Split(*(torch.from_numpy(r) for r in rows))


def _too_few(source: str, part: str, n_rows: int, n_molecules: int) -> str:
    return (
        f"{source}: no row is left for the {part} part of {n_rows} usable rows ({n_molecules} "
        "molecules); training, validation and test need one molecule each"
    )
