"""What may be given to a model as atoms."""

from __future__ import annotations

import torch
from torch import Tensor


def check_atoms(
    z: Tensor, pos: Tensor, batch: Tensor | None = None, charge: Tensor | None = None
) -> None:
    """Refuse what are no tensors of the kinds and shapes that belong together.

    Args:
        z: (atoms,) integers.
        pos: (atoms, 3) real numbers.
        batch: (atoms,) integers, or None.
        charge: (molecules,) integers, or None.

    Raises:
        TypeError: no tensors, or numbers of the wrong kind.
        ValueError: shapes that do not fit together.
    """
    optional = {"batch": batch, "charge": charge}
    given = {"z": z, "pos": pos, **{name: x for name, x in optional.items() if x is not None}}
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(tensor).__name__}")
        wanted = "real numbers" if name == "pos" else "integers"
        real = not (tensor.is_complex() or tensor.dtype == torch.bool)
        if not real or (name != "pos" and tensor.is_floating_point()):
            raise TypeError(f"{name}: expected {wanted}, got {tensor.dtype}")
    n = z.numel()
    if charge is not None and given.pop("charge").dim() != 1:
        raise ValueError(
            f"charge: expected shape (molecules,), one number each, got {tuple(charge.shape)}"
        )
    for name, tensor in given.items():
        shape = (n, 3) if name == "pos" else (n,)
        if tensor.shape != shape:
            raise ValueError(
                f"{name}: expected shape {shape} for {n} atoms, got {tuple(tensor.shape)}"
            )
