"""Features of molecules or of atoms, as a trained model has them: for other methods to learn from.

Rows go the way of predictions: they are read, refused, embedded in three dimensions and relaxed as
`molgeo.prediction.run` does it, and a row that fails keeps its place. Features of a molecule are
the mean over its atoms, or their sum, and the mean over its conformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from molgeo.elements import SYMBOLS
from molgeo.prediction.batches import form
from molgeo.prediction.rows import output_name
from molgeo.prediction.run import PropertyRun
from molgeo.prediction.settings import EmbedSettings, takes_settings
from molgeo.runtime.errors import OK, SOME_FAILED, InputError
from molgeo.runtime.plain_text import one_line, say
from molgeo.runtime.whole_file import new_file, replacing

if TYPE_CHECKING:
    import pandas as pd

    from molgeo.chem.molecule import Molecule
    from molgeo.prediction.batches import BatchPredictor

Floats = NDArray[np.float32]

ENDINGS: Final = (".npz", ".parquet", ".csv")
"""Of files that features are written to."""

ABOUT: Final = ("id", "name", "input", "smiles", "status", "message", "in_domain", "domain_reason")
"""Columns before the features, as those of predictions."""

OF_ATOMS: Final = ("atom", "element")
"""Columns of an atom: its number in the molecule, from 0, and its symbol."""


@partial(takes_settings, kind=EmbedSettings)
def embed(inputs: Any, settings: EmbedSettings) -> pd.DataFrame:
    """Features of molecules, as a trained model has them.

    Args:
        inputs: as of `molgeo.predict`.
        settings: each of the settings below is an argument of its own.

    Returns:
        One row per molecule, or with ``atoms`` one per atom: `ABOUT`, of an atom `OF_ATOMS`, what
        comes along from the inputs, and the features ``f0``, ``f1`` … as float32. A row that fails
        has none, and says why in ``message``. Its ``attrs`` hold ``model`` and ``model_sha256``.

    Raises:
        InputError: an input or device that is not there, or no model.
        RowError: a row that is bad or outside the model's domain, and ``strict``.
    """
    return _table(inputs, settings)


def _table(inputs: Any, settings: EmbedSettings) -> pd.DataFrame:
    """What `embed` returns."""
    import pandas as pd

    run = PropertyRun(settings)
    model = run.models.given
    width = int(model.predictor.backbone.feature_dim)
    about: list[dict[str, Any]] = []
    features: list[Floats] = []
    own_columns, taken = set(run.columns), [*ABOUT, *OF_ATOMS, *(f"f{k}" for k in range(width))]
    for row, found in _embedded(run, inputs, settings):
        own = {name: row[name] for name in ABOUT}
        own |= {output_name(name, taken): row[name] for name in row if name not in own_columns}
        if found is None:
            about.append(own)
            features.append(np.full((1, width), np.nan, np.float32))
            continue
        z, each = found
        if settings.atoms:
            about += [{**own, "atom": k, "element": SYMBOLS[n]} for k, n in enumerate(z.tolist())]
        else:
            about.append(own)
        features.append(each)
    kept = dict.fromkeys(name for own in about for name in own)
    columns = dict.fromkeys([*ABOUT, *(OF_ATOMS if settings.atoms else ()), *kept])
    left = pd.DataFrame(about, columns=list(columns)).astype({"in_domain": "boolean"})
    for name in left.columns.difference([*ABOUT, *OF_ATOMS]):
        with suppress(ValueError, TypeError):  # text stays text
            left[name] = pd.to_numeric(left[name])
    if settings.atoms:
        left = left.astype({"atom": "Int64"})
    matrix = np.concatenate(features) if features else np.zeros((0, width), np.float32)
    right = pd.DataFrame(matrix, columns=[f"f{k}" for k in range(width)])
    table = pd.concat([left, right], axis=1)
    table.attrs.update(model=model.name, model_sha256=model.sha256)
    return table


def run_embed(inputs: Sequence[str], settings: EmbedSettings, output: str, force: bool) -> int:
    """The command ``molgeo embed``: features into a file.

    Args:
        inputs: SMILES, files, or ``-`` for lines on standard input.
        settings: how features are made.
        output: file to write, with one of `ENDINGS`.
        force: replace a file that is there.

    Returns:
        The exit status.
    """
    path = new_file(output, ENDINGS, force)
    table = _table(list(inputs), settings)
    write_features(path, table)
    failed = table[table.status != "ok"]
    n = int(table.id.nunique()) - len(failed)
    of_atoms = f"{len(table) - len(failed):,} atoms of " if settings.atoms else ""
    by, failures = table.attrs["model"], f"{len(failed)} row{'s' * (len(failed) != 1)} failed"
    width = len(_features(table))
    say(f"{path}: {width} features of {of_atoms}{n:,} molecules by {by}; {failures}")
    if len(failed):
        first = failed.iloc[0]
        say(f"the first that failed: {first.input}: {one_line(first.message, 200)}")
    return SOME_FAILED if len(failed) else OK


def write_features(path: Path, table: pd.DataFrame) -> None:
    """Write features by the ending of a file, whole or not at all.

    Args:
        path: with one of `ENDINGS`. In ``.npz`` there are ``features``, (rows, n) float32, and
            each other column by its name; ``atom`` is -1 of a row that failed.
        table: as `embed` returns it.

    Raises:
        InputError: pyarrow is missing, or the file cannot be written.
    """
    with replacing(path) as part:
        try:
            if path.suffix.lower() == ".npz":
                with part.open("wb") as file:
                    np.savez_compressed(file, **_arrays(table))  # type: ignore[arg-type]
            elif path.suffix.lower() == ".csv":
                table.to_csv(part, index=False)
            else:
                table.to_parquet(part, index=False)
        except ImportError as error:
            raise InputError(
                f"{path}: parquet files are written by pyarrow, which is not installed: "
                "pip install pyarrow, or choose .npz"
            ) from error
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _features(table: pd.DataFrame) -> list[str]:
    """Names of the columns with features."""
    return [name for name in table if name[0] == "f" and name[1:].isdigit()]


def _arrays(table: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """The columns of a table without objects, which NumPy would pickle."""
    names = _features(table)
    found: dict[str, NDArray[Any]] = {"features": table[names].to_numpy(np.float32)}
    for name in table.columns.difference(names, sort=False):
        column = table[name]
        if name in ("id", "atom"):
            found[name] = column.fillna(-1).to_numpy(np.int64)
        elif name == "in_domain":
            found[name] = column.fillna(False).to_numpy(bool)
        elif name not in ABOUT and column.dtype.kind in "biuf":
            found[name] = column.to_numpy(np.float64)
        else:
            found[name] = column.fillna("").astype(str).to_numpy(np.str_)
    return found


def _embedded(
    run: PropertyRun, inputs: Any, settings: EmbedSettings
) -> Iterator[tuple[dict[str, Any], tuple[NDArray[np.int64], Floats] | None]]:
    """Each row, with the atoms and the features of its molecule or of its atoms; None if it failed.

    Features are (1, width), or (atoms, width) in the order of the input's atoms.
    """
    model = run.models.given
    model.kept = {}
    for window in run.windows(inputs):
        molecules = [one for result in window for one in result.conformers]
        found = features_of_atoms(model, molecules)
        place = 0
        for result in window:
            own = found[place : place + len(result.conformers)]
            place += len(own)
            if not own:
                yield result.row, None
                continue
            each = np.mean(np.stack(own), axis=0)  # over the conformers
            if not settings.atoms:
                each = getattr(each, settings.pooling)(axis=0, keepdims=True)
            yield result.row, (result.conformers[0].z, each.astype(np.float32))
        model.kept.clear()


def features_of_atoms(model: BatchPredictor, molecules: Sequence[Molecule]) -> list[Floats]:
    """Features of the atoms of molecules, (atoms, features) each, in the order of their atoms.

    Args:
        model: whose features they are, which keeps them. What it has not predicted it predicts.
        molecules: that it has nothing against.
    """
    assert model.kept is not None
    if unknown := [one for one in molecules if form(one) not in model.kept]:
        model.values(unknown)
    found = [model.kept[form(one)] for one in molecules]
    return [
        own if one.frame is None else own[one.frame.order]
        for own, one in zip(found, molecules, strict=True)
    ]
