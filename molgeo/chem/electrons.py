"""Charge and spin of ASE's atoms, wherever their author has written them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

CHARGE_KEYS: Final = ("charge", "total_charge")
SPIN_KEYS: Final = ("spin", "multiplicity", "spin_multiplicity")
"""Keys of ``atoms.info``, in any case of letters."""


def charge_of(atoms: Any, extra: Mapping[str, Any] | None = None) -> int:
    """Total charge in e: what ``info`` says, else the sum of the initial charges, else zero.

    Args:
        atoms: `ase.Atoms`.
        extra: more of what ``info`` holds.

    Raises:
        ValueError: it is no number.
    """
    info = _lower({**atoms.info, **(extra or {})})
    charge = next((info[key] for key in CHARGE_KEYS if info.get(key) is not None), None)
    if charge is None:
        charges = atoms.arrays.get("initial_charges")
        charge = 0 if charges is None else charges.sum()
    try:
        return round(float(charge))
    except (TypeError, ValueError) as error:
        raise ValueError(f"charge must be a number of electrons; got {charge!r}") from error


def open_shell_reason(atoms: Any) -> str | None:
    """What says that electrons are unpaired, or None for a closed shell.

    ``spin`` may be 0 or 1: it is a number of unpaired electrons to some and 2S + 1 to others, and
    to both these are a closed shell, as one unpaired electron would be an odd number of electrons.

    Args:
        atoms: `ase.Atoms`.

    Returns:
        A sentence that names the reason, or None.
    """
    moments = atoms.arrays.get("initial_magmoms")
    if moments is not None and np.any(moments):
        return "initial_magnetic_moments are not zero: expected a closed shell"
    info = _lower(atoms.info)
    for key in SPIN_KEYS:
        closed = (0, 1) if key == "spin" else (1,)
        if info.get(key) is not None and info[key] not in closed:
            return f"{key} is {info[key]!r}: expected a closed shell ({closed[-1]})"
    if (int(atoms.numbers.sum()) - charge_of(atoms)) % 2:
        return (
            f"odd number of electrons ({atoms.get_chemical_formula()}): radicals are not "
            "supported; check for a missing hydrogen, or a charge that was not given"
        )
    return None


def electronic_state(atoms: Any) -> tuple[Any, ...]:
    """What of ``info`` says charge or spin, to compare with that of other atoms."""
    if not atoms.info:
        return ()
    known = {*CHARGE_KEYS, *SPIN_KEYS}
    return tuple((k, repr(v)) for k, v in sorted(_lower(atoms.info).items()) if k in known)


def _lower(info: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in info.items()}
