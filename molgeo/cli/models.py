"""What is shipped: ``models`` and ``info``."""

from __future__ import annotations

from jsonargparse import Namespace

from molgeo.cli.command import command, positional
from molgeo.runtime.errors import OK


@command("molgeo models")
def models(options: Namespace) -> int:
    """The models that are shipped."""
    from molgeo.evaluation.info import models_table

    models_table()
    return OK


@command("molgeo info spectrum_net-qm9", positional("model", "shipped name or path"))
def info(options: Namespace) -> int:
    """A model's card: training, domain, units, errors."""
    from molgeo.evaluation.info import info as print_info

    print_info(options.model)
    return OK
