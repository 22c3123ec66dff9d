"""Several models side by side, as one potential: which may be together, and what they come to."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from molgeo.elements import SYMBOLS
from molgeo.models import DIRECT
from molgeo.predictor import checkpoint
from molgeo.predictor.domain import Domain
from molgeo.predictor.potential import Potential
from molgeo.predictor.predictor import Predictor
from molgeo.runtime.errors import SettingError
from molgeo.units import DEBYE

Model = str | Path | Predictor

SAME_ATOM: Final = 0.05
"""eV. Free atoms of one level of theory differ by less, whoever computed them."""

SAME_LEVEL: Final = 0.5
"""eV per atom. Models of one level of theory disagree by less on any molecule that they know."""

NOT_STATED: Final = "not stated"


def members(
    model: Model | Sequence[Model] | None,
    device: torch.device,
    dtype: torch.dtype,
    allow_untrained_forces: bool = False,
) -> list[Predictor]:
    """The models of an ensemble, frozen: nothing that happens to the given ones changes them.

    Args:
        model: name or path of a checkpoint, a predictor (which is copied), or a sequence of these;
            None for the default force field.
        device: on which they compute.
        dtype: of weights and positions.
        allow_untrained_forces: take models that never saw a force.

    Raises:
        ValueError: no model, an unknown one, one without forces, or models whose mean means
            nothing.
    """
    if model is None:
        given: list[Model] = [checkpoint.default_force_field()]
    else:
        given = [model] if isinstance(model, str | Path | Predictor) else list(model)
    if not given:
        raise SettingError("model: expected at least one, got an empty sequence")
    for k, each in enumerate(given):
        if any(each is other or (isinstance(each, str) and each == other) for other in given[:k]):
            raise SettingError(
                f"model: {getattr(each, 'name', each)} is given twice: an ensemble needs models "
                "that were trained apart"
            )
    models = []
    for each in given:
        own = copy.deepcopy(each) if isinstance(each, Predictor) else checkpoint.load(each)
        own.check_forces(allow_untrained_forces)
        models.append(own.requires_grad_(False).eval().to(device, dtype))
    check_levels(models)
    return models


def check_levels(models: Sequence[Predictor]) -> None:
    """Refuse models of two levels of theory: their energies have no mean, and no spread.

    Raises:
        ValueError: energies of two kinds, levels of theory or free atoms that are not the same.
    """
    first = models[0]
    needs = "model: an ensemble needs models of one level of theory; the"
    for other in models[1:]:
        both = f"of {first.name} and {other.name}"
        for what, a, b in (
            ("energies", first.energy.name, other.energy.name),
            ("levels of theory", first.header.level_of_theory, other.header.level_of_theory),
        ):
            if not {NOT_STATED, ""} & {a, b} and _plain(a) != _plain(b):
                raise SettingError(f"{needs} {what} {both} are {a} and {b}")
        free = [each.atom_reference[each.energy_index].cpu() for each in (first, other)]
        apart = (free[0] - free[1]).abs().nan_to_num()
        z = int(apart.argmax())
        if apart[z] > SAME_ATOM:
            a, b = (f"{float(row[z]):.3f}" for row in free)
            raise SettingError(f"{needs} free {SYMBOLS[z]} atom {both} has {a} and {b} eV")


def check_energies(potentials: Sequence[Potential], models: Sequence[Predictor]) -> str | None:
    """Why energies cannot be of one level of theory, if some model does not say which it has.

    Args:
        potentials: of one molecule, from each of the models.
        models: two or more.

    Returns:
        A sentence that names the reason, or None.
    """
    # A model that was never exported says nothing at all, and is its maker's own matter.
    if all(each.header.level_of_theory != NOT_STATED for each in models):
        return None
    energies = [float(each.energy[0]) for each in potentials]
    apart = max(energies) - min(energies)
    if not apart > SAME_LEVEL * len(potentials[0].energies):
        return None
    return (
        f"the energies of {', '.join(each.name for each in models)} are {apart:.3g} eV apart: "
        "expected models of one level of theory"
    )


def advice(z: Sequence[int], charge: int) -> str:
    """Which shipped force field knows a molecule that another one does not.

    Args:
        z: (atoms,) atomic numbers.
        charge: total charge, e.

    Returns:
        The end of a refusal, or "" if none does.
    """
    shipped, first = checkpoint.shipped(), checkpoint.DEFAULT_FORCE_FIELD
    for name in sorted(shipped, key=lambda name: name != first):
        domain = _domain_of_force_field(shipped[name])
        if domain is not None and domain.check(z, charge=charge) is None:
            return f"; take the model {name}, which knows such molecules"
    return ""


@cache
def _domain_of_force_field(path: Path) -> Domain | None:
    """What a shipped file's model was trained on; None if it is no force field, or damaged."""
    try:
        header = checkpoint.read_header(path)
    except checkpoint.CheckpointError:
        return None
    return header.domain if header.trained_on_forces else None


def on_host(potentials: Sequence[Potential], other: Tensor) -> tuple[list[Potential], Tensor]:
    """Potentials and another tensor on the host, by one copy: each copy waits for the device.

    Args:
        potentials: of models of one device.
        other: on that device too.

    Returns:
        The same, all of them float64.
    """
    tensors = [x for one in potentials for x in one if x is not None]
    flat = torch.cat([x.flatten() for x in (*tensors, other)]).cpu().double()
    parts = iter(flat.split([x.numel() for x in (*tensors, other)]))
    found = [
        Potential(*(None if x is None else next(parts).view(x.shape) for x in one))  # type: ignore[arg-type]
        for one in potentials
    ]
    return found, next(parts).view(other.shape)


def direct_forces(models: Sequence[Predictor]) -> str | None:
    """What forces are if those of a model are not the gradient of its energy; None if all are."""
    found = next((each.name for each in models if each.backbone.direct_forces), None)
    return None if found is None else f"the forces of {found} are {DIRECT}"


def largest_error(models: Sequence[Predictor]) -> float | None:
    """The expected error of an atom's force beyond which the models do not know such atoms.

    Args:
        models: one or more.

    Returns:
        eV/Å, the mean of the models' own limits; None if one of them has none.
    """
    limits = [float(known.limit) for each in models if (known := each.expected_errors)]
    return sum(limits) / len(limits) if len(limits) == len(models) else None


def mean(potentials: Sequence[Potential]) -> dict[str, Any]:
    """Means over models in ASE's names and units, and how wrong they may be.

    Args:
        potentials: of one molecule, from each model.

    Returns:
        ``energy``, ``free_energy``, ``energies``, and what there is of ``forces``, ``dipole``,
        ``strain_gradient`` and ``forces_std``, the expected size of the error of each atom's force,
        (atoms,) eV/Å. Of several models also ``energy_std``, the sample standard deviation. Their
        ``forces_std`` is ‖sample standard deviation‖ of the forces on an atom, or the mean of what
        they expect themselves if that is larger: models of the same data err together.
    """
    each = [_arrays(potential) for potential in potentials]
    names = [name for name in each[0] if all(name in one for one in each)]
    results: dict[str, Any] = {name: each[0][name].copy() for name in names}
    if len(each) > 1:
        stacked = {name: np.stack([one[name] for one in each]) for name in names}
        results = {name: values.mean(axis=0) for name, values in stacked.items()}
        results["energy_std"] = float(stacked["energy"].std(axis=0, ddof=1))
        told = results.pop("forces_std", 0.0)
        if "forces" in stacked:
            spread = np.linalg.norm(stacked["forces"].std(axis=0, ddof=1), axis=-1)
            results["forces_std"] = np.maximum(spread, told)
    results["energy"] = float(results["energy"])
    return {**results, "free_energy": results["energy"]}


def _arrays(potential: Potential) -> dict[str, Any]:
    """What a model gave of its one molecule, float64 on the host."""
    dipole, strain = potential.dipole, potential.strain_gradient
    named = {
        "energy": potential.energy[0],
        "energies": potential.energies,
        "forces": potential.forces,
        "dipole": None if dipole is None else DEBYE * dipole[0],
        "strain_gradient": None if strain is None else strain[0],
        "forces_std": potential.forces_std,
    }
    return {name: x.double().cpu().numpy() for name, x in named.items() if x is not None}


def _plain(text: str) -> str:
    return "".join(text.casefold().split())
