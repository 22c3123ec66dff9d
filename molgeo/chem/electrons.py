"""Charge and spin, wherever the author of a structure has written them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from molgeo.chem.molecule import unpaired_electrons

CHARGE_KEYS: Final = ("charge", "total_charge", "net_charge", "formal_charge", "chrg", "q")
SPIN_KEYS: Final = {
    **dict.fromkeys(["spin", "total_spin"], (0, 1)),
    **dict.fromkeys(["multiplicity", "mult", "spin_multiplicity"], (1,)),
    **dict.fromkeys(["uhf", "nopen", "unpaired_electrons"], (0,)),
}
"""Keys of ``atoms.info``, in any case of letters, and what is a closed shell.

``spin`` may be 0 or 1: it is a number of unpaired electrons to some and 2S + 1 to others, and to
both these are a closed shell, as one unpaired electron would be an odd number of electrons.
"""

MOST_CHARGE: Final = 1000  # e, beyond which a charge is a slip of the pen
_NEAR: Final = 0.1  # e, by which the sum of partial charges may miss a whole number


def whole_charge(value: Any) -> int:
    """A charge in e, from a number, text, or an array or tensor with one element.

    Raises:
        ValueError: it is no whole number of electrons.
    """
    try:
        number = float(_single(value))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"charge must be a number of electrons; got {_shown(value)}") from error
    if not abs(number) <= MOST_CHARGE or number != round(number):
        raise ValueError(f"charge must be a whole number of electrons; got {_shown(value)}")
    return round(number)


def charge_of(atoms: Any, extra: Mapping[str, Any] | None = None) -> int:
    """Total charge in e: what ``info`` says, else the sum of the initial charges, else zero.

    Args:
        atoms: `ase.Atoms`.
        extra: more of what ``info`` holds.

    Raises:
        ValueError: it is no whole number.
    """
    info = _lower({**atoms.info, **(extra or {})})
    for key in CHARGE_KEYS:
        if info.get(key) is not None:
            return whole_charge(info[key])
    charges = atoms.arrays.get("initial_charges")
    total = 0.0 if charges is None else float(charges.sum())
    if np.isfinite(total) and abs(total - round(total)) <= _NEAR:
        total = round(total)  # partial charges are rounded
    return whole_charge(total)


def open_shell_reason(atoms: Any) -> str | None:
    """What says that electrons of `ase.Atoms` are unpaired, as a sentence; None: a closed shell.

    Raises:
        ValueError: the charge is no whole number.
    """
    moments = atoms.arrays.get("initial_magmoms")
    if moments is not None and np.any(moments):
        return "initial_magnetic_moments are not zero: expected a closed shell"
    info = _lower(atoms.info)
    for key in SPIN_KEYS:
        reason = None if info.get(key) is None else spin_reason(key, info[key])
        if reason is not None:
            return reason
    return unpaired_electrons(atoms.numbers, charge_of(atoms), atoms.get_chemical_formula)


def spin_reason(key: str, value: Any) -> str | None:
    """Why a value of one of `SPIN_KEYS` is no closed shell, or None."""
    closed = SPIN_KEYS[key]
    try:
        is_closed = float(_single(value)) in closed
    except (TypeError, ValueError, OverflowError):
        is_closed = False
    if is_closed:
        return None
    return f"{key} is {_shown(value)}: expected a closed shell ({closed[-1]})"


def electronic_state(atoms: Any) -> tuple[Any, ...]:
    """What of ``info`` says charge or spin, to compare with that of other atoms."""
    known = {*CHARGE_KEYS, *SPIN_KEYS}
    return tuple((k, repr(v)) for k, v in sorted(_lower(atoms.info).items()) if k in known)


def _single(value: Any) -> Any:
    """The element of an array or tensor with one; anything else as it is."""
    if isinstance(value, bool):
        raise TypeError("a truth value is no number")
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value).item() if isinstance(value, np.ndarray | list | tuple) else value


def _shown(value: Any) -> str:
    """A value in a message, whatever its size."""
    try:
        plain = value.item() if isinstance(value, np.generic) else value
        text = " ".join(repr(plain).split())
    except Exception:  # whole numbers of thousands of digits are not written
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:40]}…"


def _lower(info: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in info.items()}
