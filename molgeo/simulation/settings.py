"""How to simulate: the settings of a run of molecular dynamics."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal, get_args

from molgeo.chem.molecule import InputError

if TYPE_CHECKING:
    from ase import Atoms

Ensemble = Literal["nve", "nvt", "npt"]
Thermostat = Literal["langevin", "bussi", "nose-hoover"]

CHANGEABLE: Final = ("steps", "new_velocities", "guard", "max_disagreement")
"""Settings that a resumed run may change; all others make it the run that it is."""

OF_ENSEMBLES: Final = {
    "thermostat": ("nvt",),
    "thermostat_time": ("nvt", "npt"),
    "pressure": ("npt",),
    "barostat_time": ("npt",),
}
"""Settings that mean nothing to other ensembles."""

SETTLING: Final = 5.0
"""Times of the thermostat, after which 0.7% of a cold start are left."""

PERIOD_FS: Final = (9.0, 15.0)
"""Of the stiffest bonds, O–H and C≡N: the first for an atom of 1 u, and the least of heavy ones."""

STEPS_PER_PERIOD: Final = 4.5
"""With fewer steps the integrator is about to lose the vibration."""


@dataclass(frozen=True)
class MDSettings:
    """How to simulate.

    Attributes:
        ensemble: nve, nvt or npt.
        temperature: K, of the thermostat and of random velocities.
        timestep: fs.
        steps: of the whole run.
        thermostat: of nvt: langevin, bussi or nose-hoover.
        thermostat_time: fs within which heat is exchanged: the inverse friction of Langevin.
        pressure: bar, of npt.
        barostat_time: fs within which npt's volume answers.
        interval: steps between frames, which are rows of the table too.
        seed: of random velocities and noise.
        new_velocities: begin with random velocities, even if the input has some.
        guard: stop if the run leaves what the model knows.
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
    new_velocities: bool = False
    guard: bool = True
    max_disagreement: float = 0.5

    def __post_init__(self) -> None:
        for name, known in (("ensemble", Ensemble), ("thermostat", Thermostat)):
            if getattr(self, name) not in get_args(known):
                raise InputError(
                    f"{name}: expected one of {', '.join(get_args(known))}, "
                    f"got {getattr(self, name)!r}"
                )
        positive = ("temperature", "timestep", "steps", "interval", "max_disagreement")
        for name in (*positive, "thermostat_time", "barostat_time"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise InputError(f"{name}: expected a number above zero, got {value}")
        if self.seed < 0:
            raise InputError(f"seed: expected zero or more, got {self.seed}")

    @property
    def settling_fs(self) -> float:
        """Time that the thermostat needs, as far as is known beforehand; 0 without one."""
        return 0.0 if self.ensemble == "nve" else SETTLING * self.thermostat_time


def remarks(settings: MDSettings, atoms: Atoms) -> list[str]:
    """What of the settings is not used, or can hardly be meant, a sentence each.

    Args:
        settings: of the run.
        atoms: with their calculator.
    """
    default = {field.name: field.default for field in fields(MDSettings)}
    found = [
        f"{name.replace('_', '-')} is not used: it is of {' and '.join(ensembles)}, and the "
        f"ensemble is {settings.ensemble}"
        for name, ensembles in OF_ENSEMBLES.items()
        if settings.ensemble not in ensembles and getattr(settings, name) != default[name]
    ]
    is_ensemble = "forces_std" in atoms.calc.implemented_properties
    if settings.max_disagreement != default["max_disagreement"] and not is_ensemble:
        found.append("max-disagreement is not used: it is of several models, and there is one")
    lightest = float(atoms.get_masses().min())
    period = min(PERIOD_FS[0] * lightest**0.5, PERIOD_FS[1])
    if settings.timestep * STEPS_PER_PERIOD > period:
        found.append(
            f"a timestep of {settings.timestep:g} fs is long: bonds to the lightest atom "
            f"({lightest:.3g} u) vibrate within {period:.0f} fs; 0.5 to 1 fs are usual"
        )
    return found
