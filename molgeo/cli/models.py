"""What is shipped: ``models`` and ``info``."""

from __future__ import annotations

from typing import Final

from jsonargparse import Namespace

from molgeo.cli.command import Command, Parser
from molgeo.runtime.errors import OK


def _models(options: Namespace) -> int:
    from molgeo.evaluation.cards import models_table

    models_table()
    return OK


def _info_options(parser: Parser) -> None:
    parser.add_argument("model", type=str, metavar="MODEL", help="shipped name or path")


def _info(options: Namespace) -> int:
    from molgeo.evaluation.cards import info

    info(options.model)
    return OK


COMMANDS: Final = (
    Command("models", "The models that are shipped.", "molgeo models", run=_models),
    Command(
        "info",
        "A model's card: training, domain, units, errors.",
        "molgeo info spectrum_net-qm9",
        _info_options,
        _info,
    ),
)
