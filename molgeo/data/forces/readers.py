"""Readers of the files in which energies and forces are passed around.

| file | layout |
|---|---|
| npz | rMD17 as split: ``nuclear_charges, train_coords, train_energies, train_forces, test_…`` |
| npz | one molecule: ``nuclear_charges, coords, energies, forces``, or sGDML's ``z, R, E, F`` |
| npz | any molecules, atoms concatenated: ``z, r, f, n, e``, maybe ``charge, group, part`` |
| others | extxyz, xyz, db, traj and whatever else ASE reads with energies and forces |

All give `Frames` in the file's own units. A frame of a single neutral atom is a free atom. The last
three arrays have a number of each frame: ``charge``, its total charge in e; ``group`` (or ``qm9``),
the same for frames that belong together; ``part``, 0 to train on, 1 to validate on, 2 to test on,
-1 if it is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.data.frames import Frames, concatenate
from molgeo.data.split import PARTS, TEST, TRAIN, UNDECIDED
from molgeo.runtime.errors import InputError

Arrays = Mapping[str, NDArray[Any]]

GROUP_KEYS: Final = ("qm9", "group")
"""Arrays of the concatenated layout that say which frames belong together."""


def read_frames(path: str | Path, energy_key: str = "", force_key: str = "") -> Frames:
    """Read one file.

    Args:
        path: see the table above.
        energy_key: name of the energy in what ASE reads; empty for the usual ones.
        force_key: name of the forces in what ASE reads; empty for the usual ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no energies and forces in a known layout; the message says what it has.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a file of energies and forces")
    if path.suffix == ".npz":
        return _read_npz(path)
    from molgeo.data.ase_frames import read_ase  # the one reader that needs ASE

    return read_ase(path, energy_key, force_key)


def read_structures(path: str | Path) -> Frames:
    """Read structures without labels; energies and forces are zero.

    Args:
        path: an npz of concatenated atoms, with ``z, r, n`` and maybe ``charge``, or what ASE
            reads. Whole numbers ``r`` are in mÅ, others in Å.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no structures.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a file of structures")
    if path.suffix != ".npz":
        from molgeo.data.ase_frames import read_ase

        return read_ase(path, labelled=False)
    with np.load(path, allow_pickle=False) as file:
        if missing := {"z", "r", "n"} - set(file.files):
            raise InputError(f"{path}: expected the arrays z, r, n, got no {sorted(missing)[0]}")
        arrays = {name: file[name] for name in ("z", "r", "n", "charge") if name in file.files}
    r, n = arrays["r"], len(arrays["n"])
    return Frames(
        z=arrays["z"],
        pos=r / 1000.0 if np.issubdtype(r.dtype, np.integer) else r,
        n_atoms=arrays["n"].astype(np.int64),
        energy=np.zeros(n),
        force=np.zeros((len(r), 3)),
        charge=_whole("charge", arrays, str(path)),
        source=str(path),
    )


def _read_npz(path: Path) -> Frames:
    with np.load(path, allow_pickle=False) as file:
        names = set(file.files)
        for needed, layout in LAYOUTS:
            if needed <= names:
                try:
                    arrays = {name: file[name] for name in names if name in KNOWN}
                except ValueError as error:
                    raise InputError(
                        f"{path}: holds pickled objects, which are not read: {error}"
                    ) from error
                return layout(arrays, str(path))
    known = "; ".join(", ".join(sorted(needed)) for needed, _ in LAYOUTS)
    raise InputError(
        f"{path}: expected the arrays of one of the layouts ({known}), "
        f"got {', '.join(sorted(names))}"
    )


def _split_layout(arrays: Arrays, source: str) -> Frames:
    """RMD17 with its official split."""
    parts = []
    for name, part in (("train", TRAIN), ("test", TEST)):
        if f"{name}_coords" in arrays:
            pos, energy, force = (arrays[f"{name}_{k}"] for k in ("coords", "energies", "forces"))
            z = arrays["nuclear_charges"]
            parts.append(_one_molecule(z, pos, energy, force, source, part))
    return concatenate(parts)


def _stacked_layout(z: str, pos: str, energy: str, force: str) -> Callable[[Arrays, str], Frames]:
    """One molecule, frames along the first axis."""

    def layout(arrays: Arrays, source: str) -> Frames:
        return _one_molecule(arrays[z], arrays[pos], arrays[energy], arrays[force], source)

    return layout


def _one_molecule(
    z: NDArray[Any],
    pos: NDArray[Any],
    energy: NDArray[Any],
    force: NDArray[Any],
    source: str,
    part: int | None = None,
) -> Frames:
    """Frames of one molecule: ``z`` (atoms,), ``pos`` and ``force`` (frames, atoms, 3)."""
    if pos.ndim != 3 or pos.shape[1:] != (z.size, 3) or force.shape != pos.shape:
        raise InputError(
            f"{source}: expected coordinates and forces (frames, {z.size}, 3), "
            f"got {pos.shape} and {force.shape}"
        )
    n = len(pos)
    return Frames(
        z=np.tile(z.ravel(), n),
        pos=pos.reshape(-1, 3),
        n_atoms=np.full(n, z.size),
        energy=energy.reshape(-1).astype(np.float64),
        force=force.reshape(-1, 3),
        part=np.zeros(0, np.int64) if part is None else np.full(n, part),
        source=source,
    )


def _concatenated_layout(arrays: Arrays, source: str) -> Frames:
    """Any molecules, all atoms concatenated."""
    group = next((arrays[key] for key in GROUP_KEYS if key in arrays), np.zeros(0))
    part = _whole("part", arrays, source)
    if len(wrong := part[~np.isin(part, (*PARTS.values(), UNDECIDED))]):
        raise InputError(
            f"{source}: part: expected 0 to train on, 1 to validate on, 2 to test on or -1, got "
            f"{wrong[0]}"
        )
    return Frames(
        z=arrays["z"],
        pos=arrays["r"],
        n_atoms=arrays["n"].astype(np.int64),
        energy=arrays["e"].astype(np.float64),
        force=arrays["f"],
        group=group.astype(np.int64),
        part=part,
        charge=_whole("charge", arrays, source),
        source=source,
    )


def _whole(name: str, arrays: Arrays, source: str) -> NDArray[np.int64]:
    """Whole numbers of frames; empty if the file has none."""
    found = arrays.get(name, np.zeros(0))
    whole = found.astype(np.int64)
    if (whole != found).any():
        row = int((whole != found).argmax())
        raise InputError(f"{source}: {name}: expected whole numbers, got {found[row]} (row {row})")
    return whole


LAYOUTS: Final[Iterable[tuple[set[str], Callable[[Arrays, str], Frames]]]] = (
    ({"nuclear_charges", "train_coords", "train_energies", "train_forces"}, _split_layout),
    (
        {"nuclear_charges", "coords", "energies", "forces"},
        _stacked_layout("nuclear_charges", "coords", "energies", "forces"),
    ),
    ({"z", "R", "E", "F"}, _stacked_layout("z", "R", "E", "F")),
    ({"z", "r", "f", "n", "e"}, _concatenated_layout),
)
"""Arrays that a layout needs, and its reader."""

KNOWN: Final = {
    *(name for needed, _ in LAYOUTS for name in needed),
    *GROUP_KEYS,
    "charge",
    "part",
    "test_coords",
    "test_energies",
    "test_forces",
}
