"""One value for a molecule from those of its conformers.

With w_c ∝ exp(−E_c / kT), E_c the predicted energies of the conformers and p_c a property:

* the **Boltzmann average** ``Σ_c w_c p_c`` at 298.15 K is what a gas of the molecule would show, as
  far as the energies are right;
* the value of the **lowest** conformer is ``p_c`` of the smallest E_c;
* the **value** that stands for the molecule is the same average at kT = `SOFTNESS`. Energies of
  conformers at force-field geometries are uncertain by some 0.05 eV, twice kT at 298 K, so that
  sharper weights follow the noise: the softer average is closer to QM9's labels for every property;
* the **spread** is the standard deviation under the weights of the value.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molgeo.units import BOLTZMANN

CONFORMERS: Final = 8
"""Made of each SMILES where no number is asked for. 1, 2, 4 and 8 were tried, each better than the
one before; a conformer costs some 6 ms."""

SOFTNESS: Final = 0.1
"""eV; chosen on 1,000 validation molecules from kT at 298 K, this, equal weights and the lowest."""

ROOM: Final = BOLTZMANN * 298.15
"""kT at 298.15 K, eV."""

Array = NDArray[np.float64]


class ConformerAverage(NamedTuple):
    """Four numbers of each property, (properties,) each."""

    value: Array
    std: Array
    lowest: Array
    boltzmann: Array


def conformer_average(values: Array, energies: Array) -> ConformerAverage:
    """Average over the conformers of one molecule.

    Args:
        values: (conformers, properties).
        energies: (conformers,) eV, up to a constant; all equal where none is known.

    Returns:
        The averages, in the units of ``values``.
    """
    soft, sharp = weights(energies, SOFTNESS), weights(energies, ROOM)
    value = soft @ values
    variance = soft @ (values - value) ** 2
    return ConformerAverage(
        value, np.sqrt(variance), values[int(energies.argmin())], sharp @ values
    )


def weights(energies: Array, kT: float) -> Array:
    """Shares of conformers in equilibrium: (conformers,), of sum 1.

    Args:
        energies: (conformers,) eV, up to a constant.
        kT: eV.
    """
    w: Array = np.exp((energies.min() - energies) / kT)
    return w / w.sum()
