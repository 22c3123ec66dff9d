"""The commands that move atoms: ``relax``, ``md`` and ``vib``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from jsonargparse import ArgumentParser, Namespace

Command = Callable[[str, str], ArgumentParser]
"""Makes the parser of a command from its name and what it does."""

EXAMPLES: Final = {
    "relax": "molgeo relax CCO --fmax 0.005 --output ethanol.extxyz",
    "md": "molgeo md CCO --temperature 350 --steps 20000 --output ethanol.extxyz",
    "vib": "molgeo vib O --symmetry-number 2",
}


def add(commands: Any, command: Command) -> None:
    """Add the commands to a parser's.

    Args:
        commands: the action that subcommands are added to.
        command: makes a parser.
    """
    commands.add_subcommand("relax", _relax_parser(command), help="geometry optimisation")
    commands.add_subcommand("md", _md_parser(command), help="molecular dynamics")
    commands.add_subcommand("vib", _vib_parser(command), help="frequencies and thermochemistry")


def _moving(command: Command, name: str, description: str, input: str) -> ArgumentParser:
    """What all commands that move atoms have in common."""
    parser = command(name, description)
    parser.add_argument("input", type=str, metavar="INPUT", help=input)
    parser.add_argument(
        "--model", default=None, type=str | None, help="force field; several with commas: ensemble"
    )
    parser.add_argument("--device", default="auto", type=str, help="auto, cpu, cuda …")
    parser.add_argument(
        "--allow-unfamiliar",
        action="store_true",
        help="molecules unlike the model's training data too, whose energies may be anything",
    )
    return parser


def _relax_parser(command: Command) -> ArgumentParser:
    many = "SMILES, file of any number of structures, or - for stdin"
    relax = _moving(command, "relax", "Move atoms to the next minimum of the energy.", many)
    relax.add_argument("--fmax", default=0.01, type=float, help="largest force left, eV/Å")
    relax.add_argument("--max-steps", default=1000, type=int, help="after which to give up")
    relax.add_argument("--output", default=None, type=str | None, help=".extxyz, .xyz or .traj")
    relax.add_argument("--force", action="store_true", help="replace the output")
    return relax


def _md_parser(command: Command) -> ArgumentParser:
    """Defaults are those of `molgeo.simulation.settings.MDSettings`, too slow to import here.

    A temperature that is not given is None: of nve, one that is given asks for new velocities.
    """
    one = "SMILES, file of one structure, or - for stdin"
    md = _moving(command, "md", "Molecular dynamics, by ASE's integrators.", one)
    md.add_argument("--ensemble", default="nvt", type=Literal["nve", "nvt", "npt"])
    md.add_argument(
        "--temperature",
        default=None,
        type=float,
        help="K; of nve, at the start, with new velocities; 300 if not given",
    )
    md.add_argument("--timestep", default=0.5, type=float, help="fs")
    md.add_argument("--steps", default=10_000, type=int, help="of the whole run")
    md.add_argument("--output", default="traj.extxyz", type=str, help=".extxyz, .xyz or .traj")
    md.add_argument("--log", default="md.csv", type=str, help="table of energies and more")
    md.add_argument("--page", default=None, type=str | None, help="default: OUTPUT with .html")
    md.add_argument("--interval", default=10, type=int, help="steps from frame to frame")
    md.add_argument("--seed", default=0, type=int, help="of random velocities and noise")
    md.add_argument(
        "--new-velocities",
        action="store_true",
        help="random ones of --temperature, even if the input has some",
    )
    md.add_argument("--resume", action="store_true", help="go on with the run of --output")
    md.add_argument(
        "--overwrite", "--force", action="store_true", help="replace the run of --output"
    )
    md.add_argument(
        "--thermostat",
        default="langevin",
        type=Literal["langevin", "bussi", "nose-hoover"],
        help="of nvt",
    )
    md.add_argument("--thermostat-time", default=100.0, type=float, help="fs")
    md.add_argument("--pressure", default=1.01325, type=float, help="bar, of npt")
    md.add_argument("--barostat-time", default=1000.0, type=float, help="fs, of npt")
    md.add_argument("--no-guard", action="store_true", help="never stop early")
    md.add_argument(
        "--max-disagreement", default=0.5, type=float, help="eV/Å, of an ensemble's forces"
    )
    md.add_argument("--dtype", default="float32", type=Literal["float32", "float64"])
    md.add_argument("--skin", default=0.5, type=float, help="Å of the neighbour list")
    return md


def _vib_parser(command: Command) -> ArgumentParser:
    one = "SMILES, file of one molecule, or - for stdin"
    vib = _moving(
        command, "vib", "Harmonic frequencies and thermochemistry at the next minimum.", one
    )
    vib.add_argument("--temperature", default=298.15, type=float, help="K")
    vib.add_argument("--pressure", default=1.01325, type=float, help="bar")
    vib.add_argument("--symmetry-number", default=1, type=int, help="2 for water, 12 for benzene")
    vib.add_argument("--output", default=None, type=str | None, help=".json or .txt")
    vib.add_argument("--force", action="store_true", help="replace the output")
    vib.add_argument("--format", default=None, type=Literal["table", "json"] | None)
    return vib


def _relax(options: Namespace) -> int:
    from molgeo.simulation.command import run_relax

    return run_relax(**vars(options))


def _md(options: Namespace) -> int:
    from dataclasses import fields

    from molgeo.simulation.command import run_md
    from molgeo.simulation.settings import MDSettings

    given = vars(options)
    given["guard"] = not given.pop("no_guard")
    if given["temperature"] is None:
        given["temperature"] = MDSettings.temperature
    elif given["ensemble"] == "nve":
        given["new_velocities"] = True
    settings = MDSettings(**{field.name: given.pop(field.name) for field in fields(MDSettings)})
    return run_md(settings=settings, **given)


def _vib(options: Namespace) -> int:
    from molgeo.simulation.command import run_vib

    return run_vib(**vars(options))


COMMANDS: Final[dict[str, Callable[[Namespace], int]]] = {
    "relax": _relax,
    "md": _md,
    "vib": _vib,
}
