"""The commands that move atoms: ``relax``, ``md`` and ``vib``."""

from __future__ import annotations

from jsonargparse import Namespace

from molgeo.cli.command import Parser, add_fields, command, positional, settings_from
from molgeo.simulation.settings import (
    ForceFieldSettings,
    MDFiles,
    MDForceFieldSettings,
    MDSettings,
    RelaxSettings,
    VibrationSettings,
)


@command(
    "molgeo relax CCO --fmax 0.005 --output ethanol.extxyz",
    positional("input", "SMILES, file of any number of structures, or - for stdin"),
    ForceFieldSettings,
    RelaxSettings,
)
def relax(options: Namespace) -> int:
    """Move atoms to the next minimum of the energy."""
    from molgeo.simulation.command import run_relax

    force_field = settings_from(options, ForceFieldSettings)
    return run_relax(options.input, force_field, settings_from(options, RelaxSettings))


def _md_settings(parser: Parser) -> None:
    """No temperature is None: one that is given to nve asks for new velocities."""
    add_fields(parser, MDSettings, temperature=None)


@command(
    "molgeo md CCO --temperature 350 --steps 20000 --output ethanol.extxyz",
    positional("input", "SMILES, file of any number of structures, or - for stdin"),
    MDForceFieldSettings,
    _md_settings,
    MDFiles,
)
def md(options: Namespace) -> int:
    """Molecular dynamics, by ASE's integrators."""
    from molgeo.simulation.command import run_md

    if options.temperature is None:
        options.temperature = MDSettings.temperature
    elif options.ensemble == "nve":
        options.new_velocities = True
    return run_md(
        options.input,
        settings_from(options, MDForceFieldSettings),
        settings_from(options, MDSettings),
        settings_from(options, MDFiles),
    )


@command(
    "molgeo vib O --symmetry-number 2",
    positional("input", "SMILES, file of any number of molecules, or - for stdin"),
    ForceFieldSettings,
    VibrationSettings,
)
def vib(options: Namespace) -> int:
    """Harmonic frequencies and thermochemistry at the next minimum."""
    from molgeo.simulation.vib_command import run_vib

    force_field = settings_from(options, ForceFieldSettings)
    return run_vib(options.input, force_field, settings_from(options, VibrationSettings))
