"""Models that come with molgeo, and what a user's name of a model stands for."""

from __future__ import annotations

import hashlib
import os
import warnings
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from molgeo.predictor.checkpoint.file import CheckpointError
from molgeo.runtime.plain_text import nearest, one_line

DEFAULT_MODEL: Final = "spectrum_net-qm9"
"""Shipped model that predicts properties at given geometries if none is named."""

DEFAULT_OUTSIDE: Final = "spectrum_net-elements"
"""Shipped model that predicts what the default one does not know, at given geometries and from
SMILES: molecules with other elements, and those unlike QM9's."""

DEFAULT_SMILES_MODEL: Final = "schnet-qm9-cheap"
"""Shipped model that predicts them at MMFF94 geometries, which it was trained on."""

GEOMETRY_ENGINE: Final[str | None] = "spectrum_net-b3lyp"
"""Shipped force field that relaxes conformers for models of relaxed molecules; None for none. Its
minima must be those of the level that these models were trained at."""

CONFORMER_WEIGHTS: Final[str | None] = "spectrum_net-conformers"
"""Shipped model that says how likely a label of QM9 is of each conformer of a SMILES, for models
that were trained on these labels; None for none."""

DEFAULT_FORCE_FIELD: Final = "spectrum_net-aimnet2"
"""Shipped model that moves atoms if none is named."""

ENDING: Final = ".safetensors"


def shipped() -> dict[str, Path]:
    """Shipped models: name → file."""
    found: dict[str, Path] = {}
    for folder in _shipped_folders():
        for path in sorted(folder.glob(f"*{ENDING}")):
            found.setdefault(path.stem, path)
    return found


def find(name: str | Path) -> Path:
    """The file of a shipped model's name or of a path.

    A shipped name is always that model, whatever lies in the working folder: ``./NAME`` is a path.
    A file there that may have been meant is warned of.

    Raises:
        CheckpointError: there is neither such a file nor such a model.
    """
    known = shipped()
    if str(name) in known:
        _warn_of_files_of_that_name(str(name))
        return known[str(name)]
    if not str(name):
        raise CheckpointError("model: expected a name or a path, got ''")
    path, shown = Path(name), f"'{one_line(name, 60)}'"
    try:
        if path.exists():  # False for a name that no file can have
            return path
    except OSError as error:
        raise CheckpointError(f"model: {shown}: {error.strerror}") from error
    raise CheckpointError(
        f"model: {shown} is neither a file nor a shipped model "
        f"({', '.join(known) or 'none is shipped'}){nearest(str(name), known)}"
    )


def default_force_field() -> str:
    """Name of the model whose forces are used if none is named; an error if it is not there."""
    if DEFAULT_FORCE_FIELD in shipped():
        return DEFAULT_FORCE_FIELD
    raise CheckpointError(
        f"model: the default force field {DEFAULT_FORCE_FIELD!r} is not shipped with this "
        "molgeo; name a model that was trained on forces"
    )


def geometry_engine() -> str | None:
    """Name of the force field that relaxes conformers, if there is one."""
    return GEOMETRY_ENGINE


def conformer_weights() -> str | None:
    """Name of the model that weighs conformers, if there is one."""
    return CONFORMER_WEIGHTS


def check_shipped(path: Path) -> None:
    """Refuse a file among the shipped ones whose SHA-256 is not the one that the package has."""
    expected = digests().get(path.name)
    if expected is None:
        raise CheckpointError.of(
            path,
            "lies among the shipped models, but its SHA-256 is not in molgeo/checkpoints.sha256 "
            "(`make checksums` writes it anew); load it by its path",
        )
    if _digest(path) != expected:
        raise CheckpointError.of(
            path, "is not the file that was shipped: its SHA-256 differs; install molgeo again"
        )


def sha256(name: str | Path) -> str:
    """SHA-256 of a model's file: of a shipped one as the package has it, which loading checks.

    Raises:
        CheckpointError: there is no such model.
        OSError: the file cannot be read.
    """
    path = find(name)
    is_shipped = str(name) in shipped()
    return (is_shipped and digests().get(path.name)) or _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def digests() -> dict[str, str]:
    """SHA-256 of the shipped files: name of the file → 64 hexadecimal digits."""
    text = (resources.files("molgeo") / "checkpoints.sha256").read_text()
    rows = (line.split(maxsplit=1) for line in text.splitlines())
    return {name.lstrip("*"): digest for digest, name in rows}


def _shipped_folders() -> list[Path]:
    """The wheel's copy, and the folder of a checkout."""
    installed = Path(str(resources.files("molgeo") / "_checkpoints"))
    checkout = Path(__file__).resolve().parents[3] / "checkpoints"
    return [folder for folder in (installed, checkout) if folder.is_dir()]


def _warn_of_files_of_that_name(name: str) -> None:
    for file in (name, name + ENDING):
        if os.path.isfile(file):
            warnings.warn(
                f"model: {name!r} is the shipped model; the file in this folder is './{file}'",
                stacklevel=3,
            )
