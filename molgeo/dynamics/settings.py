"""How to simulate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from molgeo.chem.molecule import InputError
from molgeo.dynamics.guard import MAX_DISAGREEMENT
from molgeo.dynamics.integrators import ENSEMBLES, THERMOSTATS, Ensemble, Thermostat


@dataclass(frozen=True)
class MDSettings:
    """How to simulate.

    Attributes:
        ensemble: nve, nvt or npt.
        temperature: K, of the thermostat and of the initial momenta.
        timestep: fs.
        steps: of the whole run.
        thermostat: of nvt: langevin, bussi or nose-hoover.
        thermostat_time: fs within which heat is exchanged.
        pressure: bar, of npt.
        barostat_time: fs within which npt's volume answers.
        interval: steps between frames, which are rows of the table too.
        seed: of momenta and noise.
        guard: stop where the model knows nothing any more.
        max_disagreement: eV/Å, of an ensemble's forces, above which the guard stops.

    Raises:
        InputError: a value out of its range; the message names it.
    """

    ensemble: Ensemble = "nvt"
    temperature: float = 300.0
    timestep: float = 0.5
    steps: int = 10_000
    thermostat: Thermostat = "langevin"
    thermostat_time: float = 100.0
    pressure: float = 1.01325
    barostat_time: float = 1000.0
    interval: int = 10
    seed: int = 0
    guard: bool = True
    max_disagreement: float = MAX_DISAGREEMENT

    def __post_init__(self) -> None:
        for name, known in (("ensemble", ENSEMBLES), ("thermostat", THERMOSTATS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        positive = ("temperature", "timestep", "steps", "interval", "max_disagreement")
        for name in (*positive, "thermostat_time", "barostat_time"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise InputError(f"{name}: expected a number above zero, got {value}")
        if self.seed < 0:
            raise InputError(f"seed: expected zero or more, got {self.seed}")


CHANGEABLE: Final = ("steps", "guard", "max_disagreement")
"""Settings that a resumed run may have otherwise; all others make it the run that it is."""
