"""Shares of labels that error bars hold: of all molecules, and by class of molecules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.predictor.calibration import Calibration

if TYPE_CHECKING:
    from molgeo.evaluation.collected import Collected

Bools = NDArray[np.bool_]

INSIDE: Final = "inside the domain"
OUTSIDE: Final = "outside it"
"""Classes by whether a molecule is outside the model's domain."""

FEWEST: Final = 20
"""Molecules of a class by size; sizes of fewer are taken together."""


def coverage(found: Collected, known: Calibration) -> dict[str, dict[str, float]]:
    """Column → the shares of labels within the intervals for one molecule.

    Args:
        found: predictions and labels.
        known: the calibration for such molecules.
    """
    held = _held(found, known)
    return {
        one.column: dict(zip(("std", "low90_high90"), held[among, k].mean(0).tolist(), strict=True))
        for k, (one, among) in enumerate(_labelled(found))
        if among.any()
    }


def by_class(found: Collected, known: Calibration) -> dict[str, dict[str, Any]]:
    """Class → ``n``, its molecules, and ``within_90``, by column the share within 90% intervals.

    Args:
        found: predictions and labels.
        known: the calibration for such molecules.
    """
    held = _held(found, known)[:, :, 1]
    flagged = found.flagged.numpy()
    classes = {INSIDE: ~flagged, OUTSIDE: flagged, **size_classes(found.heavy.numpy())}
    return {
        name: {
            "n": int(among.sum()),
            "within_90": {
                one.column: float(held[among & has, k].mean())
                for k, (one, has) in enumerate(_labelled(found))
                if (among & has).any()
            },
        }
        for name, among in classes.items()
        if among.any()
    }


def size_classes(heavy: NDArray[np.int64], least: int = FEWEST) -> dict[str, Bools]:
    """Classes of at least so many molecules by their heavy atoms, by name.

    Args:
        heavy: (molecules,) numbers of heavy atoms.
        least: molecules of a class; all of them are one class if they are fewer.
    """
    sizes, counts = np.unique(heavy, return_counts=True)
    groups: list[list[int]] = [[]]
    n = 0
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if n >= least:
            groups.append([])
            n = 0
        groups[-1].append(size)
        n += count
    if n < least and len(groups) > 1:  # the largest sizes, too few for a class of their own
        groups[-2:] = [groups[-2] + groups[-1]]
    names = {_named(group): np.isin(heavy, group) for group in groups if group}
    return {name: among for name, among in names.items() if among.any()}


def _named(sizes: list[int]) -> str:
    low, high = sizes[0], sizes[-1]
    plural = "s" if high != 1 else ""
    return f"{low} to {high} heavy atoms" if low < high else f"{low} heavy atom{plural}"


def _held(found: Collected, known: Calibration) -> NDArray[np.bool_]:
    """(molecules, properties, 2) whether a label is within each interval; False without a label."""
    errors = (found.values - found.labels).abs().numpy()
    columns = [
        errors[:, k, None] <= found.half_widths(known, k) for k in range(len(found.properties))
    ]
    return np.stack(columns, axis=1)


def _labelled(found: Collected) -> Iterator[tuple[Any, Bools]]:
    """Each property, and which molecules have a label of it."""
    has = ~found.labels.isnan().numpy()
    yield from zip(found.properties, has.T, strict=True)
