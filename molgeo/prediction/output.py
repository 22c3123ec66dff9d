"""Where rows go: found out, and refused, before any work starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from molgeo.prediction.journal import check_started, journal_path, n_started
from molgeo.prediction.settings import OutputSettings
from molgeo.prediction.writers import FORMATS
from molgeo.runtime.errors import InputError
from molgeo.runtime.whole_file import is_same_file

STDOUT: Final = "-"
GEOMETRIES: Final = (".sdf", ".extxyz")
"""Endings of files of conformers."""
PAGE: Final = (".html", ".htm")
"""Endings of pages."""


class Target(NamedTuple):
    """Where rows go.

    Attributes:
        path: of the file; None for standard output.
        format: one of `molgeo.prediction.writers.FORMATS`.
        has_journal: the file is made from a journal once all rows are there; else, for standard
            output and for devices and pipes, rows are written as they come.
        geometries: file of conformers; None for none.
        report: page of the run; None for none.
    """

    path: Path | None
    format: str
    has_journal: bool
    geometries: Path | None
    report: Path | None = None

    @property
    def has_structures(self) -> bool:
        """Whether the structure of each row is wanted."""
        return self.format == "sdf" or self.report is not None


def check_output(settings: OutputSettings, inputs: Sequence[str] = ()) -> Target:
    """Find out whether the output can be written, and as what.

    Args:
        settings: as given. A format of None is that of the file's ending; on standard output it is
            a table for a terminal and csv for a pipe or a file.
        inputs: files that must not be overwritten.

    Returns:
        Where rows go.

    Raises:
        InputError: unknown format, a folder that is not there, no permission, a file that is there
            and may not be lost.
    """
    format = settings.format
    if format is not None and format not in FORMATS:
        raise InputError(f"unknown format {format!r}: expected one of {', '.join(FORMATS)}")
    beside = {
        "--write-geometries": (settings.write_geometries, GEOMETRIES),
        "--report": (settings.report, PAGE),
    }
    geometries, report = (_beside(name, *one, settings, inputs) for name, one in beside.items())
    if geometries is not None and geometries == report:
        raise InputError(f"{report} is --write-geometries too: give two files")
    if settings.output in (None, STDOUT):
        if settings.resume:
            raise InputError("--resume goes on with a file: give the --output of the run too")
        for each in (geometries, report):
            _check_new(each, settings.force)
        usual = "table" if sys.stdout.isatty() else "csv"
        return Target(None, format or usual, False, geometries, report)
    path = Path(str(settings.output))
    endings = {ending: name for name, (ending, _) in FORMATS.items()}
    format = format or endings.get(path.suffix.lower())
    if format is None:
        raise InputError(
            f"{path}: the ending says no format; end it in {', '.join(endings)} or give --format"
        )
    _check_writable(path, inputs)
    if path.exists() and not path.is_file():  # a device or a pipe
        return Target(path, format, False, geometries, report)
    path = path.resolve()
    check_started(journal_path(path), n_started(path), settings.resume, settings.force)
    if not settings.resume:
        for each in (path, geometries, report):
            _check_new(each, settings.force)
    return Target(path, format, True, geometries, report)


def _beside(
    option: str,
    name: str | None,
    endings: tuple[str, ...],
    settings: OutputSettings,
    inputs: Sequence[str],
) -> Path | None:
    """The path of a file that is made beside the output."""
    if name is None:
        return None
    path = Path(name)
    if path.suffix.lower() not in endings:
        raise InputError(f"{option} {path}: expected a name that ends in {' or '.join(endings)}")
    _check_writable(path, inputs)
    if path.exists() and not path.is_file():
        raise InputError(f"{option} {path}: expected the name of a file")
    if settings.output is not None and path.resolve() == Path(settings.output).resolve():
        raise InputError(f"{path} is --output too: give two files")
    return path.resolve()


def _check_new(path: Path | None, force: bool) -> None:
    if path is not None and path.exists() and not force:
        raise InputError(f"{path} exists: --force replaces it, or give another name")


def _check_writable(path: Path, inputs: Sequence[str]) -> None:
    if any(is_same_file(path, name) for name in inputs):
        raise InputError(f"{path} is an input too: give another --output")
    if path.is_dir():
        raise InputError(f"{path} cannot be written: Is a directory")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}")
    is_file = path.is_file() or not path.exists()
    if (path.exists() and not os.access(path, os.W_OK)) or (
        is_file and not os.access(path.parent, os.W_OK)
    ):
        raise InputError(f"{path} cannot be written: Permission denied")
