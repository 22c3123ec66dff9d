"""What a word that a user gives names: a file, standard input, or a structure."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from molgeo.chem.files.formats import (
    DEFAULT,
    ReadOptions,
    by_ending,
    ending_of,
    format_of,
    formats,
)
from molgeo.chem.parsing import is_inchi, mol_from_smiles, rdkit_messages
from molgeo.runtime.errors import InputError

STDIN: Final = "-"

_OTHER_ENDINGS: Final = re.compile(
    r"\.(jsonl?|ndjson|ya?ml|toml|pdf|docx?|md|log|out|inp|gjf|com|fchk|cube?|png|svg|np[yz]|"
    r"h5|hdf5|pkl|pickle|zip|tar|tgz|bz2|xz|7z|gz|mae|maegz|cml|pdb|pdbqt|ent|mol2|cif|mmcif|vasp|"
    r"poscar|contcar|feather|arrow|pq|sqlite|html|xml|rxn|cdx|cdxml|safetensors|ckpt|pt)"
)
"""Endings of files that are not read: a word that has one is no SMILES with a mistake."""

_SPREADSHEETS: Final = frozenset({".xlsx", ".xlsm", ".xls", ".ods", ".numbers"})
"""More of them, whose tables can be saved as what is read."""

_ENDING: Final = re.compile(r"\.(?=.*[ad-mq-z])[a-z][a-z0-9_]{1,9}")
"""What may be the ending of a file, but is no row of atoms: one of its letters is none."""


def check_sources(sources: Iterable[Any], options: ReadOptions = DEFAULT) -> None:
    """Find files that cannot be read before any work starts; other sources are not looked at.

    Raises:
        InputError: the first that cannot be read, or a format that does not exist.
    """
    if options.input_format is not None and options.input_format not in formats():
        near = difflib.get_close_matches(options.input_format, formats(), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ":"
        raise InputError(
            f"input_format {options.input_format!r} is unknown{hint} expected one of "
            f"{', '.join(formats())}"
        )
    for source in sources:
        if isinstance(source, str | Path) and source != STDIN:
            path = locate(source, options)
            if path is not None and _is_blank(path):
                raise InputError(f"{path} is empty: it has no molecules")


def locate(source: str | Path, options: ReadOptions = DEFAULT) -> Path | None:
    """The readable file of a known kind that a word names, or None if it is a SMILES.

    A name that exists on disk is a file.

    Raises:
        InputError: a file that is not there, is not readable or has an unknown ending.
    """
    text = os.fspath(source)
    path = Path(text)
    is_folder = os.path.isdir(text)
    if os.path.exists(text) and not is_folder:
        if format_of(path, options) is None:
            raise InputError(f"{path} {_foreign(path)}")
        if not os.access(text, os.R_OK):
            raise InputError(f"{path}: no permission to read it")
        return path
    end = ending_of(path)
    is_known = end != "" and end in by_ending()  # which looks for installed packages
    if isinstance(source, Path) or is_known or _names_file(text, is_folder):
        what = "is a folder" if is_folder else "there is no such file"
        help = f"{path / '*.sdf'} gives its files" if is_folder else _alike(path)
        raise InputError(f"{path}: {what}; {help}, or give a SMILES")
    return None


def _names_file(text: str, is_folder: bool) -> bool:
    """Whether a word can only be the name of a file or folder, which is not there."""
    end = Path(text).suffix.lower()
    is_file = end in _SPREADSHEETS or _OTHER_ENDINGS.fullmatch(end) is not None
    return (is_file or is_folder) and not _may_be_structure(text)


def names_no_file(text: str) -> bool:
    """Whether a word that is neither a file nor a SMILES looks more like the former."""
    like = _ENDING.fullmatch(Path(text).suffix) or text.startswith(("./", "../", "~/"))
    like = like or (os.sep in text and os.path.isdir(os.path.dirname(text)))
    return bool(like) and not any(map(str.isspace, text)) and not _may_be_structure(text)


def _may_be_structure(text: str) -> bool:
    """Whether a word is a structure, or has no letter that would make it a name."""
    if is_inchi(text) or not any(map(str.isalnum, text)):
        return True
    with rdkit_messages():
        return mol_from_smiles(text.strip()) is not None


def _foreign(path: Path) -> str:
    """What is wrong with the ending of a file that is there, and what helps."""
    if path.suffix.lower() in _SPREADSHEETS:
        return "is a spreadsheet: save its sheet as csv, and give that file"
    return (
        f"is a file with an unknown ending: expected {_plain_endings()}, text files also with .gz; "
        "give it the ending of its format, or say --input-format to a command that has it (a "
        "SMILES of that name can be given on standard input)"
    )


def _plain_endings() -> str:
    """What is read, without the endings of the same in compressed form."""
    return f"one of {', '.join(end for end in by_ending() if not end.endswith('.gz'))}"


def _alike(path: Path) -> str:
    """The file that may have been meant, else which ones are read."""
    try:
        near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1, cutoff=0.8)
    except (OSError, ValueError):
        near = []
    if near:
        return f"did you mean {path.parent / near[0]}?"
    return f"give {_plain_endings()}"


def _is_blank(path: Path) -> bool:
    """Whether a regular file has no text; from a pipe, what is looked at would be lost."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(4096)
    return len(head) < 4096 and not head.strip()
