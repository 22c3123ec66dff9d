"""The command ``molgeo predict``: rows to standard output or to a file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from molgeo.prediction.expected import expected_rows
from molgeo.prediction.journal import Journal, journal_path
from molgeo.prediction.output import Target, check_output
from molgeo.prediction.run import PropertyRun, RowError
from molgeo.prediction.settings import OutputSettings, PredictSettings
from molgeo.prediction.sinks import Sink, Stream, WholeFile
from molgeo.runtime.errors import OK, SOME_FAILED, InputError
from molgeo.runtime.plain_text import say
from molgeo.runtime.version import VERSION

if TYPE_CHECKING:
    from molgeo.prediction.report.page import RowPage


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
        the first one that is bad or outside the domain are written, and why it is goes to standard
        error.

    Raises:
        InputError: wrong usage, unreadable input or unwritable output.
        WriteError: writing failed half-way; the rows so far are kept.
    """
    from molgeo.chem.files.readers import check_sources

    settings, output = settings or PredictSettings(), output or OutputSettings()
    check_sources(inputs, settings.read_options())
    target = check_output(output, inputs)
    if output.resume and _is_finished(target):
        say(f"{target.path} is there, and no run of it was stopped: nothing is left to do")
        return OK
    tables: list[str] = []

    def chosen(line: str) -> None:
        tables.append(line)
        say(line)

    run = PropertyRun(settings, chosen)
    run.fix_columns(inputs)
    started = time.monotonic()
    stopped = None
    page = _page(run, target, output, inputs)
    with closing(_sink(run, target, output, inputs, page)) as sink:
        try:
            for window in run.windows(inputs, sink.done(), sink.ready):
                sink.write(window)
        except RowError as error:
            stopped = error
        except (KeyboardInterrupt, InputError):
            if kept := sink.kept():
                say(kept)
            raise
        sink.finish(is_whole=stopped is None)
    if outside := sink.tally.outside():
        say(outside)
    if stopped is None and not sink.on_screen:
        say(sink.tally.line(sink.n_new, time.monotonic() - started))
    if settings.smiles_column is not None and not tables:
        say("--smiles-column is not used: no input is a table")
    for name, input in run.late.items():
        say(f"{name!r} of {input} is left out: the inputs did not show it when the output began")
    if stopped is not None:
        kept = f"; {sink.kept()}" if target.has_journal else ""
        say(f"{stopped}{kept}")
    return SOME_FAILED if stopped is not None or sink.tally.n_failed else OK


def _is_finished(target: Target) -> bool:
    """Whether the file is there and no run of it was stopped."""
    path = target.path
    return path is not None and path.is_file() and not journal_path(path).exists()


def _page(
    run: PropertyRun, target: Target, output: OutputSettings, inputs: Sequence[str]
) -> RowPage | None:
    """The page of the run, if there is to be one."""
    if target.report is None:
        return None
    from molgeo.prediction.report.about import about_run
    from molgeo.prediction.report.page import RowPage

    return RowPage(about_run(run, output, inputs), run.layout(output.raw_csv))


def _sink(
    run: PropertyRun,
    target: Target,
    output: OutputSettings,
    inputs: Sequence[str],
    page: RowPage | None,
) -> Sink:
    layout, total = run.layout(output.raw_csv), partial(expected_rows, inputs)
    if not target.has_journal or target.path is None:
        return Stream(target, layout, total, page)
    try:
        about = _about(run, target, inputs)
        journal = Journal(target.path, about, output.resume, output.force)
    except OSError as error:
        raise InputError(f"{target.path} cannot be written: {error.strerror}") from error
    return WholeFile(target, layout, journal, total, page)


def _about(run: PropertyRun, target: Target, inputs: Sequence[str]) -> dict[str, Any]:
    """What tells this run from others: only the same run can use its journal."""
    settings = {name: value for name, value in vars(run.settings).items() if name != "strict"}
    return {
        "molgeo": VERSION,
        "inputs": list(inputs),
        **settings,
        "device": run.models.given.device.type,
        "models": {one.name: one.sha256 for one in run.models.all if one.path},
        "engine": run.models.engine.sha256 if run.models.engine else "",
        "columns": run.columns,
        "report": str(target.report or ""),
        "structures": target.has_structures,
        "geometries": str(target.geometries or ""),
    }
