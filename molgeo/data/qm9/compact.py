"""QM9 in half the space, to be carried to machines that cannot prepare it: 22 MB.

Labels are held as integers of their published digits, which gives the very float64 labels of the
prepared form; positions as multiples of `STEP` about each molecule's middle. The bytes of all
integers are sorted by their significance and compressed.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.labels import DECIMALS, in_units
from molgeo.runtime.errors import InputError

STEP: Final = 5e-6
"""Å. Coordinates are off by half of it at most; in float32 they are by a tenth of that."""


def packed(molecules: MoleculeSet, smiles: list[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of the compact form, and what a header says of them.

    Args:
        molecules: of the prepared form.
        smiles: of each.

    Raises:
        ValueError: a label has more digits than QM9's.
    """
    names = molecules.properties
    tensors = {
        "z": _packed(molecules.z),
        "n_atoms": _packed(molecules.ptr.diff()),
        "pos": _packed(_centred(molecules.pos.double().div(STEP).round(), molecules.ptr)),
        "idx": _packed(molecules.idx),
        "y": _packed(torch.stack([_digits(molecules.y[:, k], n) for k, n in enumerate(names)])),
        "smiles": _bytes(zlib.compress("\n".join(smiles).encode())),
    }
    decimals = [DECIMALS[name] for name in names]
    return tensors, {"properties": names, "step": STEP, "decimals": decimals}


def expanded(tensors: dict[str, Tensor], header: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of the prepared form from those of the compact one.

    Args:
        tensors: as `packed` gives them.
        header: as it gives it.
    """
    names = header["properties"]
    text = zlib.decompress(tensors["smiles"].numpy().tobytes()).decode()
    smiles = [s.encode() for s in text.split("\n")]
    scale = 10.0 ** np.array(header["decimals"])
    labels = _unpacked(tensors["y"]).reshape(len(names), -1).T / scale
    return {
        "z": torch.from_numpy(_unpacked(tensors["z"]).astype(np.uint8)),
        "pos": torch.from_numpy(
            (_unpacked(tensors["pos"]) * header["step"]).astype(np.float32).reshape(-1, 3)
        ),
        "ptr": _ends(_unpacked(tensors["n_atoms"])),
        "y": torch.from_numpy(in_units(np.ascontiguousarray(labels), names)),
        "idx": torch.from_numpy(_unpacked(tensors["idx"]).astype(np.int64)),
        "smiles": _bytes(b"".join(smiles)),
        "smiles_ptr": _ends(np.array([len(s) for s in smiles])),
    }


def _centred(steps: Tensor, ptr: Tensor) -> Tensor:
    """(atoms, 3) steps about the middle of each molecule's box, a whole number of steps."""
    size = ptr.diff()
    molecule = torch.repeat_interleave(torch.arange(len(size)), size).unsqueeze(-1).expand(-1, 3)
    none = steps.new_zeros(len(size), 3)
    low = none.scatter_reduce(0, molecule, steps, "amin", include_self=False)
    high = none.scatter_reduce(0, molecule, steps, "amax", include_self=False)
    return steps - ((low + high) / 2).floor().gather(0, molecule)


def _digits(values: Tensor, name: str) -> Tensor:
    """(molecules,) integers of a label's published digits."""
    unit, scale = in_units(np.ones(1), [name])[0], 10.0 ** DECIMALS[name]
    digits = np.rint(values.numpy() / unit * scale)
    again = in_units((digits / scale)[:, None], [name])[:, 0]
    if (again != values.numpy()).any():
        row = int(np.flatnonzero(again != values.numpy())[0])
        raise InputError(
            f"{name}: expected {DECIMALS[name]} decimals in QM9's unit, "
            f"got {values[row] / unit} in row {row}"
        )
    return torch.from_numpy(digits)


def _packed(values: Tensor) -> Tensor:
    """Integers of 32 bits as compressed bytes: all lowest bytes, then all higher ones …."""
    planes = values.numpy().astype("<i4").reshape(-1, 1).view(np.uint8).T
    return _bytes(zlib.compress(planes.tobytes()))


def _unpacked(packed: Tensor) -> np.ndarray:
    """(n,) int32."""
    planes = np.frombuffer(zlib.decompress(packed.numpy().tobytes()), np.uint8).reshape(4, -1)
    return np.ascontiguousarray(planes.T).view("<i4")[:, 0]


def _ends(sizes: np.ndarray) -> Tensor:
    """(n + 1,) int64: where each of n parts begins, and the end."""
    return torch.from_numpy(np.concatenate([[0], sizes.cumsum()]).astype(np.int64))


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
