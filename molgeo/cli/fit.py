"""The command ``fit``: its options are the fields of the settings."""

from __future__ import annotations

from jsonargparse import Namespace

from molgeo.cli.command import command, positional, settings_from
from molgeo.fitting.settings import FitSettings


@command(
    "molgeo fit solubility.csv --target logS --unit mol/L",
    positional("table", "file of molecules and values: csv, tsv, parquet, sdf, extxyz, db …"),
    FitSettings,
)
def fit(options: Namespace) -> int:
    """Make a model of a table of molecules and values of your own."""
    from molgeo.fitting.run import fit_table
    from molgeo.runtime.errors import FAILED, OK
    from molgeo.runtime.plain_text import say

    try:
        fitted = fit_table(options.table, settings_from(options, FitSettings))
    except KeyboardInterrupt:
        say("interrupted; the same command with --resume goes on")
        return FAILED
    for line in fitted.lines:
        print(line)
    return OK
