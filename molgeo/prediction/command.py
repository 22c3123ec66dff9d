"""The command ``molgeo predict``: rows to standard output or to a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from molgeo.prediction.run import PropertyRun, RowError
from molgeo.prediction.settings import OutputSettings, PredictSettings

SOME_ROWS_FAILED: Final = 3
"""Exit status where rows, one or all, could not be predicted."""


def run_predict(
    inputs: Sequence[str],
    settings: PredictSettings | None = None,
    output: OutputSettings | None = None,
) -> int:
    """Predict the rows of inputs and write them.

    Args:
        inputs: SMILES, ``-`` or names of files.
        settings: how to predict; None for the defaults.
        output: where to write, and as what; None for standard output.

    Returns:
        Exit status: 0 if all rows are fine, 3 if some failed. With ``strict`` the rows before
        the first bad one are written, and its message goes to standard error.

    Raises:
        InputError: wrong usage, unreadable input or unwritable output.
        WriteError: writing failed half-way; what was written stays.
    """
    from molgeo.chem.readers import check_sources
    from molgeo.writers import Output, check_output

    output = output or OutputSettings()
    check_sources(inputs)
    format = check_output(output.output, output.format, inputs)
    run = PropertyRun(settings or PredictSettings())
    n_failed = 0
    try:
        with Output(output.output, format, run.columns) as out:
            for row in run.rows(inputs):
                out.write(row)
                n_failed += row["status"] == "error"
    except RowError as error:
        sys.stderr.write(f"molgeo: {error}\n")
        return SOME_ROWS_FAILED
    return SOME_ROWS_FAILED if n_failed else 0
