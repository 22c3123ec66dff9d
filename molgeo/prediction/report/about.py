"""What was run, for the head of its page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from molgeo.prediction.run import PropertyRun
from molgeo.prediction.settings import OutputSettings
from molgeo.runtime.version import VERSION

MOST_INPUTS: Final = 10
"""Inputs that the command shows."""

_OF_A_TRY: Final = ("force", "resume")
"""Options that say how a run was begun, not what it is."""


def about_run(
    run: PropertyRun, output: OutputSettings, inputs: Sequence[str]
) -> list[tuple[str, str]]:
    """Names and values: the command, the models, the version, the time.

    Args:
        run: that predicts.
        output: where the rows go.
        inputs: of the command.
    """
    about = [("command", command_line(inputs, run.settings, output))]
    for model in run.provenance()["models"]:
        digest = f"sha256 {model['sha256']}" if model["sha256"] else ""
        parts = filter(None, (model["name"], digest, model["level_of_theory"]))
        about.append(("model", ", ".join(parts)))
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return [*about, ("molgeo", VERSION), ("date", now)]


def command_line(inputs: Sequence[str], *settings: Any) -> str:
    """The command with the options that are not the usual ones, as a shell takes it.

    Args:
        inputs: of the command; some stand for all if they are many.
        settings: dataclasses whose fields are options.
    """
    shown = [shlex.quote(one) for one in inputs[:MOST_INPUTS]]
    if len(inputs) > MOST_INPUTS:
        shown.append(f"… ({len(inputs) - MOST_INPUTS:,} more)")
    return " ".join(["molgeo predict", *shown, *_options(settings)])


def _options(settings: Sequence[Any]) -> Iterator[str]:
    for one in settings:
        for field in fields(one):
            value = getattr(one, field.name)
            if value == field.default or field.name in _OF_A_TRY:
                continue
            yield f"--{field.name.replace('_', '-')}"
            if value is not True:
                given = ",".join(value) if isinstance(value, list | tuple) else str(value)
                yield shlex.quote(given)
