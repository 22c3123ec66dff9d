"""What a simulation and a training on forces ask a model for.

Forces are the negative gradient of the energy, but those of a backbone with `direct_forces`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch import Tensor

from molgeo.graph import Graph

if TYPE_CHECKING:
    from molgeo.predictor.predictor import Predictor


class Potential(NamedTuple):
    """The energy of molecules, as simulations ask for it.

    Attributes:
        energy: (molecules,) float64, total, eV.
        energies: (atoms,) float64, eV; each molecule's sum to its energy, references included.
        forces: (atoms, 3) eV/Å; None if not asked for, but direct ones are always there.
        strain_gradient: (molecules, 3, 3) eV, symmetric, the derivative of the energy; over the
            volume it is the stress. None if not asked for.
        dipole: (molecules, 3) float64, Debye; None if the model predicts no dipole in D. Training
            sees its norm only, so that all of a molecule's dipoles may have the wrong sign.
        forces_std: (atoms,) eV/Å, the expected size of the error of each atom's force; None if the
            model does not tell (`molgeo.predictor.expected_errors`).
    """

    energy: Tensor
    energies: Tensor
    forces: Tensor | None
    strain_gradient: Tensor | None
    dipole: Tensor | None
    forces_std: Tensor | None


ALIKE: Final = {torch.float32: 1e-3, torch.float64: 1e-7}
"""eV and eV/Å, and of the largest force: other orders of sums change the rounding alone, but what a
strange model may keep of a graph would change all."""


def unlike(found: Potential, expected: Potential) -> str | None:
    """Which of the results is another one than that of the evaluation; None if none is.

    Args:
        found: by another way.
        expected: by `Predictor.potential`, with forces.
    """
    assert expected.forces is not None
    alike = ALIKE.get(expected.forces.dtype, ALIKE[torch.float32])
    largest = 1.0 + float(expected.forces.nan_to_num(0.0, 0.0, 0.0).abs().max())
    for name, value in expected._asdict().items():
        size = len(expected.energies) if name in ("energy", "strain_gradient", "dipole") else 1
        own, tolerance = getattr(found, name), alike * largest * size
        if value is None:
            continue
        if not torch.allclose(own.to(value), value, 0.0, tolerance, equal_nan=True):
            return name
    return None


def standardised_forces(
    predictor: Predictor, z: Tensor, pos: Tensor, graph: Graph, create_graph: bool = False
) -> tuple[Tensor, Tensor]:
    """What force training fits: the energy in units of `scale`, and the forces.

    Args:
        predictor: with an energy.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) Å.
        graph: edges within `cutoff`.
        create_graph: so that energy and forces can be differentiated by the weights.

    Returns:
        (molecules,), baseline removed, and (atoms, 3); times `scale` they are eV and eV/Å.

    Raises:
        SettingError: the model has no energy.
    """
    is_direct = predictor.backbone.direct_forces
    with torch.set_grad_enabled(create_graph or not is_direct):
        pos = pos.detach().requires_grad_(not is_direct)
        features, forces = predictor.backbone.features_and_forces(z, pos, graph)
        energy = predictor.of_features(features, z, pos, graph)[:, predictor.energy_index]
        if forces is None:
            (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=create_graph)
            forces = -gradient
    return energy, forces
