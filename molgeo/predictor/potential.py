"""What a simulation asks a model for."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Potential(NamedTuple):
    """The energy of molecules, as simulations ask for it.

    Attributes:
        energy: (molecules,) float64, total, eV.
        energies: (atoms,) float64, eV; each molecule's sum to its energy, references included.
        forces: (atoms, 3) eV/Å, the negative gradient; None if not asked for.
        strain_gradient: (molecules, 3, 3) eV, symmetric; over the volume it is the stress. None
            if not asked for.
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
