"""The commands that move atoms: ``relax``, ``md`` and ``vib``."""

from __future__ import annotations

from typing import Final

from jsonargparse import Namespace

from molgeo.cli.command import Command, Parser, add_fields, settings_from
from molgeo.simulation.settings import (
    ForceFieldSettings,
    MDFiles,
    MDForceFieldSettings,
    MDSettings,
    RelaxSettings,
    VibrationSettings,
)


def _relax_options(parser: Parser) -> None:
    many = "SMILES, file of any number of structures, or - for stdin"
    parser.add_argument("input", type=str, metavar="INPUT", help=many)
    add_fields(parser, ForceFieldSettings, RelaxSettings)


def _md_options(parser: Parser) -> None:
    """No temperature is None: one that is given to nve asks for new velocities."""
    one = "SMILES, file of one structure, or - for stdin"
    parser.add_argument("input", type=str, metavar="INPUT", help=one)
    add_fields(parser, MDForceFieldSettings, MDSettings, MDFiles, temperature=None)


def _vib_options(parser: Parser) -> None:
    one = "SMILES, file of one molecule, or - for stdin"
    parser.add_argument("input", type=str, metavar="INPUT", help=one)
    add_fields(parser, ForceFieldSettings, VibrationSettings)


def _relax(options: Namespace) -> int:
    from molgeo.simulation.command import run_relax

    force_field = settings_from(options, ForceFieldSettings)
    return run_relax(options.input, force_field, settings_from(options, RelaxSettings))


def _md(options: Namespace) -> int:
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


def _vib(options: Namespace) -> int:
    from molgeo.simulation.command import run_vib

    force_field = settings_from(options, ForceFieldSettings)
    return run_vib(options.input, force_field, settings_from(options, VibrationSettings))


COMMANDS: Final = (
    Command(
        "relax",
        "Move atoms to the next minimum of the energy.",
        "molgeo relax CCO --fmax 0.005 --output ethanol.extxyz",
        _relax_options,
        _relax,
    ),
    Command(
        "md",
        "Molecular dynamics, by ASE's integrators.",
        "molgeo md CCO --temperature 350 --steps 20000 --output ethanol.extxyz",
        _md_options,
        _md,
    ),
    Command(
        "vib",
        "Harmonic frequencies and thermochemistry at the next minimum.",
        "molgeo vib O --symmetry-number 2",
        _vib_options,
        _vib,
    ),
)
