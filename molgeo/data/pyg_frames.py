"""Frames of PyG data sets and lists of ``Data``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from molgeo.data.frames import Frames
from molgeo.runtime.errors import InputError

FIELDS: Final = ("z", "pos", "energy", "force")


def frames_of_pyg(data: Iterable[Any], source: str = "PyG data") -> Frames:
    """Frames of a PyG data set or a list of ``Data``.

    Args:
        data: each with ``z`` (atoms,), ``pos`` (atoms, 3), ``energy`` () or (1,) and ``force``
            (atoms, 3), and maybe ``cell`` (3, 3), ``pbc`` (3,) and ``charge`` () or (1,).
        source: for messages.

    Raises:
        ValueError: there is no item, or one lacks a label.
    """
    items = list(data)
    if not items:
        raise InputError(f"{source}: expected one item or more, got none")
    for row, item in enumerate(items):
        missing = [name for name in FIELDS if getattr(item, name, None) is None]
        if missing:
            has = ", ".join(sorted(item.keys())) if hasattr(item, "keys") else type(item).__name__
            raise InputError(f"{source}: row {row}: expected {', '.join(FIELDS)}, got {has}")
    return Frames(
        z=np.concatenate([_array(item.z) for item in items]),
        pos=np.concatenate([_array(item.pos) for item in items]),
        n_atoms=np.array([len(item.z) for item in items]),
        energy=np.array([float(_array(item.energy).reshape(())) for item in items]),
        force=np.concatenate([_array(item.force) for item in items]),
        cell=np.stack([_optional(item, "cell", np.zeros((3, 3))) for item in items]),
        pbc=np.stack([_optional(item, "pbc", np.zeros(3, bool)) for item in items]),
        charge=np.stack([_optional(item, "charge", np.zeros((), np.int64)) for item in items]),
        source=source,
    )


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _optional(item: Any, name: str, default: np.ndarray) -> np.ndarray:
    value = getattr(item, name, None)
    return default if value is None else _array(value).reshape(default.shape).astype(default.dtype)
