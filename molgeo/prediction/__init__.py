"""From any input to rows of properties, in Python: a table, or one row at a time.

`settings` says how molecules are predicted, `run` predicts them in windows, `command` is
``molgeo predict``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from molgeo.prediction.settings import PredictSettings, takes_settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PredictSettings", "predict", "predict_rows"]


@takes_settings
def predict(inputs: Any, settings: PredictSettings) -> pd.DataFrame:
    """Properties of molecules as a table.

    Args:
        inputs: one input or any iterable of inputs, as in `molgeo.chem.files.readers.read`: SMILES,
            InChI, names of files, DataFrames, `ase.Atoms`, PyG ``Data``, RDKit ``Mol``, pairs
            ``(z, pos)`` with Å.
        settings: each of the settings below is an argument of its own.

    Returns:
        One row per molecule: `molgeo.prediction.rows.ROW_COLUMNS`, then the properties with
        their units in their names, then the columns that come along from the inputs, as they are:
        all of a DataFrame's, if ``keep_columns`` does not say otherwise. Its ``attrs`` hold the
        version of ``molgeo``, the ``models`` (name, sha256, level of theory), and ``units`` of the
        columns with numbers.

    Raises:
        InputError: an input, property or device that is not there.
        RowError: a row that is bad or outside the model's domain, and ``strict``.
    """
    import pandas as pd

    from molgeo.prediction.run import PropertyRun

    run = PropertyRun(settings)
    rows = list(run.rows(inputs))
    kept = dict.fromkeys(name for row in rows for name in row)
    table = pd.DataFrame(rows, columns=list(dict.fromkeys([*run.columns, *kept])))
    types = dict.fromkeys(run.number_columns, "float64")
    table = table.astype({"n_atoms": "Int64", "in_domain": "boolean", **types})
    table.attrs.update(run.provenance())
    return table


@takes_settings
def predict_rows(inputs: Any, settings: PredictSettings) -> Iterator[dict[str, Any]]:
    """As `predict`, but one row at a time, in constant memory: ``inputs`` may be endless.

    Args:
        inputs: as in `predict`.
        settings: each of the settings below is an argument of its own.

    Returns:
        One dictionary per molecule, with one value per column; None if there is none.

    Raises:
        InputError: as in `predict`.
        RowError: as in `predict`.
    """
    from molgeo.prediction.run import PropertyRun

    return PropertyRun(settings).rows(inputs)
