"""Frames of the files that ASE reads, and of ASE's own objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
from ase import Atoms

from molgeo.data.frames import Frames
from molgeo.runtime.errors import InputError

ENERGY_KEYS: Final = ("energy", "REF_energy", "ref_energy", "dft_energy", "TotEnergy", "Energy")
FORCE_KEYS: Final = ("forces", "force", "REF_forces", "ref_forces", "dft_forces", "Forces")
"""Under which names labels are passed around, the likeliest first."""


def read_ase(
    path: Path, energy_key: str = "", force_key: str = "", labelled: bool = True
) -> Frames:
    """Read a file through ASE.

    Args:
        path: extxyz, xyz, ASE database, trajectory …
        energy_key: name of the energy; empty for the usual ones.
        force_key: name of the forces; empty for the usual ones.
        labelled: look for energies and forces; else they are zero.

    Raises:
        ValueError: ASE cannot read it, or a frame has no energy or no forces.
    """
    try:
        images = list(ase.io.iread(path, ":"))
    except Exception as error:  # every format of ASE fails in its own way
        raise InputError(f"{path}: ASE cannot read it: {error}") from error
    return frames_of_atoms(images, str(path), energy_key, force_key, labelled)


def frames_of_atoms(
    images: Iterable[Atoms],
    source: str = "atoms",
    energy_key: str = "",
    force_key: str = "",
    labelled: bool = True,
) -> Frames:
    """Frames of ASE's objects, with labels in their calculator, ``info`` or ``arrays``.

    An integer ``group`` in ``info`` says which frames belong together, as those of one molecule.
    The ``charge`` there is the total one, zero without it.
    ASE ≥ 3.23 moves the ``energy`` and ``forces`` of an extxyz into an attached calculator.

    Args:
        images: with labels.
        source: for messages.
        energy_key: name of the energy; empty for the usual ones.
        force_key: name of the forces; empty for the usual ones.
        labelled: look for energies and forces; else they are zero.

    Raises:
        ValueError: there is no frame, one has no energy or no forces (those of a single atom are
            zero), or a charge is no whole number.
    """
    images = list(images)
    if not images:
        raise InputError(f"{source}: expected frames, got none")
    energies, forces = [], []
    for row, atoms in enumerate(images):
        if not labelled:
            energies.append(0.0)
            forces.append(np.zeros((len(atoms), 3)))
            continue
        results = getattr(atoms.calc, "results", {})
        energy = _label("energy", (results, atoms.info), energy_key, ENERGY_KEYS, source, row)
        energies.append(float(energy))
        if len(atoms) == 1 and not _found((results, atoms.arrays), force_key, FORCE_KEYS):
            forces.append(np.zeros((1, 3)))
        else:
            places = (results, atoms.arrays)
            forces.append(_label("forces", places, force_key, FORCE_KEYS, source, row))
    return Frames(
        z=np.concatenate([a.numbers for a in images]),
        pos=np.concatenate([a.positions for a in images]),
        n_atoms=np.array([len(a) for a in images]),
        energy=np.array(energies),
        force=np.concatenate(forces),
        group=np.array([int(a.info.get("group", -1)) for a in images]),
        cell=np.stack([np.asarray(a.cell) * a.pbc.any() for a in images]),
        pbc=np.stack([a.pbc for a in images]),
        charge=np.array([_charge(a, source, row) for row, a in enumerate(images)]),
        source=source,
    )


def _charge(atoms: Atoms, source: str, row: int) -> int:
    value = atoms.info.get("charge", 0)
    try:
        charge = int(value)
        if charge == float(value):
            return charge
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{source}: row {row}: charge: expected a whole number, got {value!r}")


def _found(places: tuple[Any, ...], key: str, usual: tuple[str, ...]) -> list[Any]:
    """All values under a key, or else under the usual ones, the likeliest first."""
    keys = (key,) if key else usual
    return [place[name] for name in keys for place in places if name in place]


def _label(
    what: str, places: tuple[Any, ...], key: str, usual: tuple[str, ...], source: str, row: int
) -> Any:
    found = _found(places, key, usual)
    if not found:
        has = ", ".join(sorted({str(name) for place in places for name in place})) or "nothing"
        wanted = repr(key) if key else f"{what} (one of {', '.join(usual)})"
        raise InputError(f"{source}: row {row}: expected {wanted}, got {has}")
    return found[0]
