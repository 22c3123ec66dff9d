"""QM9 in half the space, to be carried to machines that cannot prepare it: 22 MiB.

Labels are held as integers of their published digits, which gives the very float64 labels of the
prepared form; positions as multiples of `STEP` about each molecule's middle, hence to 1e-4 Å,
as gdb9 publishes them; SMILES compressed.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from molgeo.datasets.qm9_labels import DECIMALS, in_units
from molgeo.datasets.tensor_file import write_tensors

if TYPE_CHECKING:
    from molgeo.datasets.qm9 import QM9

STEP: Final = 2e-4
"""Å; in 16 bits, a molecule may be 13.1 Å long. QM9's longest is 11.9 Å."""


def write_compact(data: QM9, path: Path) -> None:
    """Write the compact form, all or nothing.

    Args:
        data: the prepared set. What was compact before stays the same.
        path: where to.

    Raises:
        ValueError: a molecule is too long, or a label has more digits than QM9's.
        OSError: the folder cannot be written to, or the disk is full.
    """
    molecules = data.molecules
    tensors = {
        "z": molecules.z,
        "n_atoms": molecules.ptr.diff().to(torch.uint8),
        "pos": _steps(molecules.pos, molecules.ptr),
        "idx": molecules.idx.to(torch.int32),
        "smiles": _bytes(zlib.compress("\n".join(data.all_smiles()).encode(), 9)),
    }
    for k, name in enumerate(molecules.properties):
        tensors[f"y_{name}"] = _digits(molecules.y[:, k], name)
    header = {
        "version": data.version,
        "properties": molecules.properties,
        "level_of_theory": data.level_of_theory,
        "step": STEP,
        "decimals": {name: DECIMALS[name] for name in molecules.properties},
    }
    write_tensors(tensors, header, path)


def expanded(tensors: dict[str, Tensor], header: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of the prepared form from those of the compact one.

    Args:
        tensors: as `write_compact` wrote them.
        header: as it wrote it.
    """
    smiles = [
        s.encode()
        for s in zlib.decompress(tensors["smiles"].numpy().tobytes()).decode().split("\n")
    ]
    names = header["properties"]
    labels = [tensors[f"y_{name}"].numpy() / 10.0 ** header["decimals"][name] for name in names]
    return {
        "z": tensors["z"],
        "pos": tensors["pos"].double().mul(header["step"]).float(),
        "ptr": _ends(tensors["n_atoms"].long()),
        "y": torch.from_numpy(in_units(np.stack(labels, axis=1), names)),
        "idx": tensors["idx"].long(),
        "smiles": _bytes(b"".join(smiles)),
        "smiles_ptr": _ends(torch.tensor([len(s) for s in smiles])),
    }


def _steps(pos: Tensor, ptr: Tensor) -> Tensor:
    """(atoms, 3) int16 from Å. Rounded before they are centred, which makes it repeatable."""
    steps = pos.double().div(STEP).round().long()
    size = ptr.diff()
    molecule = torch.repeat_interleave(torch.arange(len(size)), size).unsqueeze(-1).expand(-1, 3)
    none = steps.new_zeros(len(size), 3)
    low = none.scatter_reduce(0, molecule, steps, "amin", include_self=False)
    high = none.scatter_reduce(0, molecule, steps, "amax", include_self=False)
    longest = int((high - low).max())
    if longest >= 2**16:
        raise ValueError(
            f"positions: expected molecules up to {STEP * 2**16:.1f} Å, got {STEP * longest:.1f} Å"
        )
    middle = (low + high).div(2, rounding_mode="floor")
    return (steps - middle.gather(0, molecule)).to(torch.int16)


def _digits(values: Tensor, name: str) -> Tensor:
    """(molecules,) integers of a label's published digits, as narrow as they can be."""
    unit = in_units(np.ones(1), [name])[0]
    digits = np.rint(values.numpy() / unit * 10.0 ** DECIMALS[name])
    again = in_units((digits / 10.0 ** DECIMALS[name])[:, None], [name])[:, 0]
    if (again != values.numpy()).any():
        row = int(np.flatnonzero(again != values.numpy())[0])
        raise ValueError(
            f"{name}: expected {DECIMALS[name]} decimals in QM9's unit, "
            f"got {values[row] / unit} in row {row}"
        )
    narrow = torch.int16 if np.abs(digits).max() < 2**15 else torch.int32
    return torch.from_numpy(digits).to(narrow)


def _ends(sizes: Tensor) -> Tensor:
    """(n + 1,) where each of n parts begins, and the end."""
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
