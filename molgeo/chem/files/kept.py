"""Which columns and fields of inputs are taken along, known before the first row is read."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from molgeo.chem.files.formats import FORMATS, format_of
from molgeo.chem.files.reading import Reading
from molgeo.chem.files.sources import STDIN, locate
from molgeo.chem.files.tables import parquet_columns, read_parquet
from molgeo.chem.files.text import STDIN_NAME, Lines, open_text, stdin_lines
from molgeo.chem.molecule import InputError


def kept_columns(sources: Iterable[Any], reading: Reading) -> list[str]:
    """Names of all columns and fields that rows of some inputs may bring along.

    Of a table that is its header; of an SDF the fields of its first records. A named pipe is not
    looked into, as what was read of it would be gone.

    Args:
        sources: as in `molgeo.chem.files.readers.read`; only files and standard input are looked
            into.
        reading: says which columns are kept.

    Returns:
        Names as in the inputs, each one once, in the order of the inputs.

    Raises:
        InputError: a file that cannot be read, or a table without a column of structures.
    """
    names: dict[str, None] = {}
    for source in sources:
        if isinstance(source, str | Path):
            names |= dict.fromkeys(_names(source, reading))
    return list(names)


def _names(source: str | Path, reading: Reading) -> Iterable[str]:
    if source == STDIN:
        look = FORMATS[reading.input_format or "smi"].kept
        return look(stdin_lines(), STDIN_NAME, reading) if look else ()
    path = locate(source, reading)
    format = None if path is None or not path.is_file() else format_of(path, reading)
    if path is None or format is None:
        return ()
    if format.read is read_parquet:
        return parquet_columns(path, reading)
    if format.kept is None:
        return ()
    try:
        with open_text(path) as file:
            return format.kept(Lines(file), str(path), reading)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
