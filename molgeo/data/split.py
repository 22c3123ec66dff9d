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
    by_rows: bool = False,
) -> Split:
    """Rows of the three parts; a group is never divided.

    The parts that a file names stay what they are. Of the groups that no file has assigned, a
    fraction becomes the test part if there is none, and a fraction of the rest the validation part
    if there is none. Training rows are in the random order of their groups, so that the first few
    are a fair sample.

    Groups of very different sizes, such as scaffolds, are taken ``by_rows``: in random order, each
    one that fits into what is left of the part's rows, but none that would be more than half of
    the part. So the largest groups are trained on, and the parts have about the sizes asked for.

    Args:
        group: (rows,) int64, rows of one number are of one group; -1 for a group of its own.
        part: (rows,) `TRAIN`, `VALIDATION`, `TEST` or `UNDECIDED`.
        validation_fraction: of the groups, or of the rows.
        test_fraction: of the groups, or of the rows.
        seed: of ``numpy.random.RandomState``, whose stream is frozen across versions.
        source: of the rows, for messages.
        by_rows: the fractions are of rows.

    Raises:
        InputError: a part would be empty.
    """
    n = len(group)
    numbers = numbered(group)
    place = np.random.RandomState(seed).permutation(int(numbers.max()) + 1)[numbers]  # of each row
    part = part.copy()
    for name, fraction, available in (
        ("test", test_fraction, [UNDECIDED]),
        ("validation", validation_fraction, [UNDECIDED, TRAIN]),
    ):
        number = PARTS[name]
        if not (part == number).any():
            is_free = np.isin(part, available)
            free, sizes = np.unique(place[is_free], return_counts=True)
            chosen = free[: max(1, round(fraction * len(free)))]
            if by_rows and len(free):
                chosen = free[_fitting(sizes, fraction * is_free.sum())]
            part[is_free & np.isin(place, chosen)] = number
        if not (part == number).any():
            raise InputError(_too_few(source, name, n, len(np.unique(place)), by_rows))
    order = np.argsort(place, kind="stable")
    kind = part[order]
    train = order[(kind != TEST) & (kind != VALIDATION)]
    if not len(train):
        raise InputError(_too_few(source, "training", n, len(np.unique(place)), by_rows))
    rows = (train, np.flatnonzero(part == VALIDATION), np.flatnonzero(part == TEST))
    return Split(*(torch.from_numpy(r) for r in rows))


def folds(group: NDArray[Any], n: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row, from 0; a group is never divided.

    The largest group goes first, each to the fold with the fewest rows.

    Args:
        group: (rows,) int64, as in `split_groups`.
        n: folds.
        seed: of the order of groups of one size, as in `split_groups`.

    Raises:
        InputError: there are fewer groups than folds.
    """
    numbers = numbered(group)
    sizes = np.bincount(numbers)
    if len(sizes) < n:
        raise InputError(
            f"folds: expected at most {len(sizes)}, the number of groups of rows that belong "
            f"together, got {n}"
        )
    order = np.random.RandomState(seed).permutation(len(sizes))
    fold = np.zeros(len(sizes), np.int64)
    rows = np.zeros(n, np.int64)
    for one in order[np.argsort(-sizes[order], kind="stable")]:
        fold[one] = rows.argmin()
        rows[fold[one]] += sizes[one]
    found: NDArray[np.int64] = fold[numbers]
    return found


def numbered(group: NDArray[Any]) -> NDArray[np.int64]:
    """The number of each row's group, from 0."""
    own = group.max(initial=-1) + 1 + np.arange(len(group))
    _, numbers = np.unique(np.where(group < 0, own, group), return_inverse=True)
    return numbers.astype(np.int64)


def _fitting(sizes: NDArray[np.int64], rows: float) -> list[int]:
    """Groups, by their sizes in order, that fit into a part of so many rows; at least one."""
    chosen: list[int] = []
    room = max(1, round(rows))
    for k, size in enumerate(sizes.tolist()):
        if size <= room and size <= max(1.0, rows / 2):
            chosen.append(k)
            room -= size
    return chosen or [int(sizes.argmin())]


def _too_few(source: str, part: str, n_rows: int, n_groups: int, by_rows: bool) -> str:
    what = "scaffold" if by_rows else "molecule"
    return (
        f"{source}: no row is left for the {part} part of {n_rows} usable rows ({n_groups} "
        f"{what}s); training, validation and test need one {what} each"
    )
