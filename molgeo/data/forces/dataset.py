"""Force data in molgeo's units: frames → checked, converted, split, flat tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from molgeo.data.forces.plausibility import check_units
from molgeo.data.frames import Frames
from molgeo.data.molecules import MoleculeSet
from molgeo.data.split import UNDECIDED, Split, split_groups
from molgeo.elements import SYMBOLS
from molgeo.runtime.errors import InputError, SettingError
from molgeo.units import ENERGY_UNITS, LENGTH_UNITS, force_unit

SHOWN: Final = 5
"""Bad rows that an error names."""


@dataclass(frozen=True)
class Units:
    """Units of a file.

    Attributes:
        energy: one of `molgeo.units.ENERGY_UNITS`.
        length: one of `molgeo.units.LENGTH_UNITS`.
        force: ``ENERGY/LENGTH``; empty for energy over length.
    """

    energy: str = "eV"
    length: str = "angstrom"
    force: str = ""

    def __post_init__(self) -> None:
        """Refuse unknown names."""
        for name, known in (("energy", ENERGY_UNITS), ("length", LENGTH_UNITS)):
            if (value := getattr(self, name)) not in known:
                raise SettingError(
                    f"{name}_unit: expected one of {', '.join(known)}, got {value!r}"
                )
        force_unit(self.force_name)

    @property
    def force_name(self) -> str:
        """The unit of forces by name."""
        return self.force or f"{self.energy}/{self.length}"


class ForceSet(NamedTuple):
    """A force data set.

    Attributes:
        molecules: labels ``energy`` in eV and ``force`` in eV/Å.
        parts: rows of its parts.
        free_atoms: atomic number → energy of the free atom in eV, as far as known.
        one_by_one: rows were split, and nothing says which belong together.
    """

    molecules: MoleculeSet
    parts: Split
    free_atoms: dict[int, float]
    one_by_one: bool = False


def force_set(
    frames: Frames,
    units: Units | None = None,
    free_atoms: Mapping[str, float] | None = None,
    validation_fraction: float = 0.05,
    test_fraction: float = 0.05,
    split_seed: int = 42,
    units_are_checked: bool = True,
) -> ForceSet:
    """Check, convert and split.

    Args:
        frames: in the file's units; a frame of a single neutral atom is a free atom and no training
            datum.
        units: of the file; None for eV and Å.
        free_atoms: element symbol → energy in the file's unit; before what the frames say.
        validation_fraction: part of the groups, after the test part, to validate on.
        test_fraction: part of the groups to test on, if the file has no test part of its own.
        split_seed: of the split.
        units_are_checked: refuse units that `molgeo.data.forces.plausibility` finds implausible.

    Returns:
        The set, in eV and Å.

    Raises:
        ValueError: there is nothing to train on, a label is missing, zero or not a number (the
            message names the rows), an element is unknown, or the units cannot be right.
    """
    units = units or Units()
    check_labels(frames)
    single = is_free_atom(frames)
    given = {_number(symbol): float(e) for symbol, e in (free_atoms or {}).items()}
    found = dict(
        zip(frames.z[frames.ptr[:-1][single]].tolist(), frames.energy[single], strict=True)
    )
    frames = frames.select(~single)
    if not len(frames):
        raise InputError(f"{frames.source}: expected frames of molecules, got none")
    energy_unit = ENERGY_UNITS[units.energy]
    molecules = to_ev(frames, units)
    if units_are_checked:
        check_units(molecules, units.energy, units.length, units.force)
    return ForceSet(
        molecules,
        split_groups(
            frames.group,
            frames.part,
            validation_fraction,
            test_fraction,
            split_seed,
            frames.source,
        ),
        {z: float(e) * energy_unit for z, e in (found | given).items()},
        bool((frames.group < 0).all() and (frames.part == UNDECIDED).any()),
    )


def is_free_atom(frames: Frames) -> NDArray[np.bool_]:
    """(frames,) whether a frame is a single neutral atom."""
    alone: NDArray[np.bool_] = (frames.n_atoms == 1) & (frames.charge == 0)
    return alone


def check_labels(frames: Frames) -> None:
    """Raise ValueError if a number is none, or if a label is zero because nobody computed it.

    A molecule's forces vanish together only if nobody has computed them.
    """
    frame = frames.frame_of_atom
    n = len(frames)
    bad = {
        "a coordinate is NaN or infinite": _any(~np.isfinite(frames.pos).all(1), frame, n),
        "a force is NaN or infinite": _any(~np.isfinite(frames.force).all(1), frame, n),
        "the energy is NaN or infinite": ~np.isfinite(frames.energy),
        "an atomic number is unknown": _any((frames.z < 1) | (frames.z >= len(SYMBOLS)), frame, n),
        "all forces are exactly zero, as if they were missing": (
            ~_any(frames.force.any(1), frame, n) & (frames.n_atoms > 1)
        ),
    }
    zero = frames.energy == 0.0
    if zero.sum() > 1:  # one zero may be the reference of relative energies
        bad["the energy is exactly zero, as if it were missing"] = zero
    for reason, rows in bad.items():
        if rows.any():
            (where,) = np.nonzero(rows)
            more = f" and {len(where) - SHOWN} more" if len(where) > SHOWN else ""
            listed = ", ".join(map(str, where[:SHOWN]))
            raise InputError(f"{frames.source}: {reason} (row {listed}{more} of {n}, from 0)")


def _any(atoms: Any, frame: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """(frames,) whether it holds for any atom of a frame."""
    return np.bincount(frame[atoms], minlength=n) > 0


def _number(symbol: str) -> int:
    if symbol not in SYMBOLS[1:]:
        raise SettingError(f"atom_references: expected symbols of elements, got {symbol!r}")
    return SYMBOLS.index(symbol)


def to_ev(frames: Frames, units: Units) -> MoleculeSet:
    """Flat tensors in eV and Å; converted in float64, positions kept in float32."""
    length = LENGTH_UNITS[units.length]
    periodic = bool(frames.pbc.any())
    return MoleculeSet(
        z=torch.from_numpy(frames.z.astype(np.uint8)),
        pos=torch.from_numpy((frames.pos * length).astype(np.float32)),
        ptr=torch.from_numpy(frames.ptr),
        y=torch.from_numpy(frames.energy * ENERGY_UNITS[units.energy]).unsqueeze(-1),
        idx=torch.arange(len(frames)),
        properties=("energy",),
        force=torch.from_numpy(frames.force.astype(np.float64) * force_unit(units.force_name)),
        cell=torch.from_numpy(frames.cell.astype(np.float64) * length) if periodic else None,
        pbc=torch.from_numpy(frames.pbc.astype(bool)) if periodic else None,
        charge=torch.from_numpy(frames.charge.astype(np.int64)) if frames.charge.any() else None,
    )
