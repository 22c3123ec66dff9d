"""Settings of what moves atoms. Each is written once, here: it is an option of the command too."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal, get_args

from molgeo.runtime.errors import InputError
from molgeo.runtime.options import option

if TYPE_CHECKING:
    from ase import Atoms

Ensemble = Literal["nve", "nvt", "npt"]
Thermostat = Literal["langevin", "bussi", "nose-hoover"]
Precision = Literal["float32", "float64"]

CHANGEABLE: Final = ("steps", "new_velocities", "guard", "max_force_error")
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
class ForceFieldSettings:
    """Which model moves the atoms, which molecules it may move, and how they are read."""

    model: str | None = option(
        None, "force field: shipped name or path; several with commas make an ensemble"
    )
    device: str = option("auto", "device to compute on: auto, cpu, cuda …")
    allow_unfamiliar: bool = option(
        False, "take molecules unlike the training data too: their energies may be anything"
    )
    input_format: str | None = option(
        None,
        "format of standard input or of the file: smi, xyz, extxyz, sdf …; else by the ending of "
        "the file, and SMILES lines on standard input",
    )
    compile: bool = option(
        False,
        "compile the model for this machine: half a minute once, and each step takes half to three "
        "quarters of the time; needs a C++ compiler",
    )


@dataclass(frozen=True)
class MDForceFieldSettings(ForceFieldSettings):
    """The same for molecular dynamics, which needs fewer digits and more speed."""

    dtype: Precision = option("float32", "precision of the model's numbers", Precision)
    skin: float = option(0.5, "distance beyond the cutoff that the neighbour list covers, Å")


@dataclass(frozen=True)
class RelaxSettings:
    """How ``molgeo relax`` moves atoms, and where it writes them."""

    fmax: float = option(0.01, "end when the largest force is below this, eV/Å")
    max_steps: int = option(1000, "steps after which to give up")
    batch_size: int | Literal["auto"] = option(
        "auto",
        "most structures of a batch; auto bounds the work of a batch; 1 relaxes one by one",
        str,
    )
    output: str | None = option(None, ".extxyz, .xyz or .traj; else extxyz on standard output")
    force: bool = option(False, "replace the output")


@dataclass(frozen=True)
class VibrationSettings:
    """What ``molgeo vib`` computes, and where it writes it."""

    temperature: float = option(298.15, "temperature, K")
    pressure: float = option(1.01325, "pressure, bar")
    symmetry_number: int = option(1, "rotational symmetry number: 2 for water, 12 for benzene")
    output: str | None = option(None, ".json or .txt; else standard output")
    force: bool = option(False, "replace the output")
    format: Literal["table", "json"] | None = option(
        None,
        "default: json in a pipe and in a file that ends in .json, else a table",
        Literal["table", "json"] | None,
    )


@dataclass(frozen=True)
class MDFiles:
    """Files of a run of ``molgeo md``, and what is done if they are there."""

    output: str = option("traj.extxyz", ".extxyz, .xyz or .traj; its state is kept beside it")
    log: str = option("md.csv", "table of energies and more, CSV")
    page: str | None = option(None, "HTML page of the run; default: OUTPUT with .html")
    resume: bool = option(False, "go on with the run of --output")
    overwrite: bool = option(False, "replace the files of another run", bool, "--force")


@dataclass(frozen=True)
class MDSettings:
    """How to simulate. Each field's ``metadata["help"]`` says what it does.

    Raises:
        InputError: a value out of its range; the message names it.
    """

    ensemble: Ensemble = option("nvt", "what is held constant", Ensemble)
    temperature: float = option(
        300.0,
        "temperature, K; 300 if not given. With nve: of the start, whose velocities are then new",
    )
    timestep: float = option(0.5, "time step, fs")
    steps: int = option(10_000, "steps of the whole run")
    thermostat: Thermostat = option("langevin", "thermostat of nvt", Thermostat)
    thermostat_time: float = option(
        100.0, "time within which heat is exchanged, fs: the inverse friction of Langevin"
    )
    pressure: float = option(1.01325, "pressure of npt, bar")
    barostat_time: float = option(1000.0, "time within which the volume of npt answers, fs")
    interval: int = option(10, "steps between frames; each frame is a row of the table too")
    seed: int = option(0, "seed of random velocities and noise")
    new_velocities: bool = option(
        False, "draw velocities at --temperature, even if the input has some"
    )
    guard: bool = option(True, "do not stop if the run leaves what the model knows")
    max_force_error: float | None = option(
        None,
        "stop if the expected error of the force on an atom is above this, eV/Å; default: two "
        "thirds of the model's own limit, 0.5 for several models without",
        float | None,
        "--max-disagreement",
    )

    def __post_init__(self) -> None:
        for name, known in (("ensemble", Ensemble), ("thermostat", Thermostat)):
            if getattr(self, name) not in get_args(known):
                raise InputError(
                    f"{name}: expected one of {', '.join(get_args(known))}, "
                    f"got {getattr(self, name)!r}"
                )
        positive = ("temperature", "timestep", "steps", "interval", "max_force_error")
        for name in (*positive, "thermostat_time", "barostat_time"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
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
    tells_errors = "forces_std" in atoms.calc.implemented_properties
    if settings.max_force_error is not None and not tells_errors:
        found.append("max-force-error is not used: the model tells no errors of its forces")
    if direct := getattr(atoms.calc, "direct_forces", None):
        found.append(f"{direct}: no energy is conserved, and the thermostat takes up what they add")
    lightest = float(atoms.get_masses().min())
    period = min(PERIOD_FS[0] * lightest**0.5, PERIOD_FS[1])
    if settings.timestep * STEPS_PER_PERIOD > period:
        found.append(
            f"a timestep of {settings.timestep:g} fs is long: bonds to the lightest atom "
            f"({lightest:.3g} u) vibrate within {period:.0f} fs; 0.5 to 1 fs are usual"
        )
    return found
