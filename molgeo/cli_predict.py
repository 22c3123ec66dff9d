"""The command ``predict``: its options are the fields of the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

from jsonargparse import ArgumentParser, Namespace

from molgeo.prediction.settings import OutputSettings, PredictSettings

Command = Callable[[str, str], ArgumentParser]
"""Makes the parser of a command from its name and what it does."""

EXAMPLES: Final = {"predict": "molgeo predict CCO benzene.xyz --properties gap,mu --output out.csv"}


def add(commands: Any, command: Command) -> None:
    """Add the command to a parser's.

    Args:
        commands: the action that subcommands are added to.
        command: makes a parser.
    """
    predict = command("predict", "Properties of molecules.")
    predict.add_argument("inputs", nargs="+", metavar="INPUT", help="SMILES, file, or - for stdin")
    for settings in (PredictSettings, OutputSettings):
        _add_fields(predict, settings)
    commands.add_subcommand("predict", predict, help="properties of molecules")


def _add_fields(parser: ArgumentParser, settings: type) -> None:
    """One option per field."""
    for field in fields(settings):
        kind, words = field.metadata["type"], {"help": field.metadata["help"]}
        name = "--" + field.name.replace("_", "-")
        if kind is bool:
            parser.add_argument(name, action="store_true", default=field.default, **words)
        else:
            parser.add_argument(name, default=field.default, type=kind, **words)


def _predict(options: Namespace) -> int:
    from molgeo.prediction.command import run_predict

    given = vars(options)
    settings, output = (
        {field.name: given[field.name] for field in fields(kind)}
        for kind in (PredictSettings, OutputSettings)
    )
    return run_predict(given["inputs"], PredictSettings(**settings), OutputSettings(**output))


COMMANDS: Final[dict[str, Callable[[Namespace], int]]] = {"predict": _predict}
