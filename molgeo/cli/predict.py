"""The command ``predict``: its options are the fields of the settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final, cast

from jsonargparse import ArgumentParser, Namespace

from molgeo.prediction.columns import MEANINGS
from molgeo.prediction.settings import OutputSettings, PredictSettings
from molgeo.properties import PROPERTIES
from molgeo.runtime.exit_status import MEANING

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
    predict.epilog = cast(Any, _epilog)  # made when it is shown: formats are slow to import
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


def _epilog() -> str:
    """What can be predicted, read and written, and what the exit status says."""
    from molgeo.chem.files.formats import formats
    from molgeo.prediction.writers import FORMATS as OUTPUTS

    properties = [(one.name, one.unit, one.description) for one in PROPERTIES.values()]
    energies = ", ".join(one.name for one in PROPERTIES.values() if one.is_energy)
    return "\n".join(
        [
            "properties, with the units of their columns:",
            *_columns(properties),
            f"  {energies}: with _atomization too, relative to free atoms (u0_atomization).",
            "  Which of them there are depends on the model: molgeo info MODEL.",
            "",
            "columns of each property, such as gap_eV_std:",
            *_columns(list(MEANINGS.items())),
            "",
            "input: SMILES or InChI, - for lines of them on standard input, or files:",
            *_columns([(name, " ".join(one.endings)) for name, one in formats().items()]),
            "  Text files may be gzipped (.gz).",
            "",
            "output:",
            *_columns([(name, *about) for name, about in OUTPUTS.items()]),
            "",
            "exit status:",
            *_columns([(str(status), meaning) for status, meaning in MEANING.items()]),
            "",
            f"example: {EXAMPLES['predict']}",
        ]
    )


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of text, aligned."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _predict(options: Namespace) -> int:
    from molgeo.prediction.command import run_predict

    given = vars(options)
    settings, output = (
        {field.name: given[field.name] for field in fields(kind)}
        for kind in (PredictSettings, OutputSettings)
    )
    return run_predict(given["inputs"], PredictSettings(**settings), OutputSettings(**output))


COMMANDS: Final[dict[str, Callable[[Namespace], int]]] = {"predict": _predict}
