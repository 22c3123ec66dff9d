"""What the commands that move atoms accept, and what they say of the rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ase import Atoms

from molgeo.runtime.errors import InputError, UserError
from molgeo.runtime.plain_text import say
from molgeo.runtime.whole_file import is_same_file, new_file
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.compiled import is_compiled
from molgeo.simulation.motion import has_velocities
from molgeo.simulation.settings import ForceFieldSettings, Precision


def title(atoms: Atoms) -> str:
    """What a structure is called: its name or SMILES, and its formula."""
    formula = atoms.get_chemical_formula()
    label = atoms.info.get("name") or atoms.info.get("smiles")
    return f"{label} ({formula})" if label else formula


def placed(atoms: Atoms) -> str:
    """The title of a structure, and the place in a file that it comes from."""
    place = atoms.info.get("input")
    return f"{place}: {title(atoms)}" if place else title(atoms)


def writable(output: str | None, input: str, endings: tuple[str, ...], force: bool) -> Path | None:
    """The path of an output, refused before any work is done for it."""
    if output is None:
        return None
    not_the_input(input, Path(output))
    return new_file(output, endings, force)


def not_the_input(input: str, *paths: Path) -> None:
    """Refuse to write over what is read."""
    for path in paths:
        if is_same_file(path, input):
            raise InputError(f"{path} is the input too: give another name")


def refusal(atoms: Atoms, allowed: bool, by_stress: bool = False) -> str | None:
    """Why a structure is refused of which the model knows nothing; what it knows in part is said.

    Args:
        atoms: with a calculator.
        allowed: refuse nothing.
        by_stress: what is to be done depends on the stress, which no open molecule teaches.
    """
    found = atoms.calc.unfamiliar(atoms)
    if found is None:
        return None
    if allowed or not (found.grave or (by_stress and found.periodic)):
        say(f"{title(atoms)}: {found}: its energies and forces may be anything there")
        return None
    return f"{found}; --allow-unfamiliar goes on all the same"


def admit(atoms: Atoms, allow_unfamiliar: bool, by_stress: bool = False) -> None:
    """Refuse what the model must not see, before any file is opened."""
    atoms.calc.check(atoms)
    reason = refusal(atoms, allow_unfamiliar, by_stress)
    if reason:
        raise InputError(f"{title(atoms)}: {reason}")


def say_velocities(atoms: Atoms, what: str) -> None:
    """Say of velocities that they are not used; what is written has none."""
    if has_velocities(atoms):
        say(f"{title(atoms)}: its velocities are not used: {what} begins at rest")
    atoms.arrays.pop("momenta", None)


def refused_reason(
    atoms: Atoms,
    allow_unfamiliar: bool,
    by_stress: bool = False,
    check: Callable[[Atoms], None] | None = None,
) -> str | None:
    """Why a structure is refused, as one of many; None if it is not.

    Args:
        atoms: with a calculator.
        allow_unfamiliar: as of `refusal`.
        by_stress: as of `refusal`.
        check: raises a `UserError` for what is not fit for what is to be done.
    """
    try:
        atoms.calc.check(atoms)
        if check is not None:
            check(atoms)
        return refusal(atoms, allow_unfamiliar, by_stress)
    except UserError as error:
        return str(error)


def _names(names: str | None) -> str | list[str] | None:
    """One name or path, or several with commas; a path may have a comma itself."""
    if names is None or "," not in names or os.path.exists(names):
        return names
    return [name.strip() for name in names.split(",")]


def calculator_of(
    force_field: ForceFieldSettings, dtype: Precision = "float64", skin: float = 0.5
) -> MolgeoCalculator:
    """A calculator that leaves warnings and the start to `admission` and `structures`."""
    calculator = MolgeoCalculator(
        _names(force_field.model),
        force_field.device,
        dtype,
        skin,
        allow_unfamiliar=True,
        check_geometry=False,
        replay="compiled" if force_field.compile else "auto",
    )
    if force_field.compile and not all(map(is_compiled, calculator.models)):
        many = "half a minute for each precision and model, once on this machine"
        say(f"compiling {calculator.model_name}: {many}")
    return calculator
