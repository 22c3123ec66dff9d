"""A model of a user's own values: from a table to a checkpoint, its error bars and a report."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from molgeo.fitting.settings import FitSettings
from molgeo.runtime.errors import UnknownSettingError
from molgeo.runtime.plain_text import nearest, say

if TYPE_CHECKING:
    from molgeo.predictor import Predictor

__all__ = ["FitSettings", "fit"]


def fit(table: Any, target: Any, **settings: Any) -> Predictor:
    """Fit a model to values of molecules, as ``molgeo fit`` does.

    Args:
        table: name of a file, DataFrame, or an iterable of anything that `molgeo.predict` takes,
            with the values: columns, fields, ``info``, attributes of PyG's ``Data``.
        target: title of the column to learn, or several.
        settings: fields of `FitSettings`, such as ``unit``, ``split`` and ``output``.

    Returns:
        The model, ready to predict: ``molgeo.predict(inputs, model)``. It lies in the folder
        ``output`` too, with its report. Whether it is worth having is said on standard error.

    Raises:
        InputError: the table cannot be read, or has too few rows that can be used.
        SettingError: a setting, or a column that is not there or cannot be learned.
        FileExistsError: the folder holds a fit already, and neither ``resume`` nor ``force``.
    """
    known = [field.name for field in fields(FitSettings)]
    for name in settings.keys() - set(known):
        near = nearest(name, known) or f"; expected one of {', '.join(sorted(known))}"
        raise UnknownSettingError(f"{name}: no such setting of a fit{near}")
    from molgeo.fitting.run import fit_table
    from molgeo.predictor.checkpoint import load

    fitted = fit_table(table, FitSettings(target, **settings))
    for line in fitted.verdict:
        say(line)
    return load(fitted.path)
