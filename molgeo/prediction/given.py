"""Given coordinates are judged: where they come from decides which of two models fits them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from molgeo.prediction.conformer_average import CONFORMERS, WEIGHED_CONFORMERS
from molgeo.predictor.checkpoint import conformer_weights
from molgeo.predictor.header import Facts

if TYPE_CHECKING:
    from molgeo.chem.building import Built
    from molgeo.chem.molecule import Molecule

GIVEN: Final = "given"
"""A row's geometry if its coordinates were given, and look relaxed by a density functional or
cannot be judged; else the judgement follows in parentheses."""

NO_MINIMUM: Final = (
    "distorted coordinates (bond lengths like no minimum's; training had only minima)"
)
"""Why a model of relaxed molecules does not know coordinates in motion or with noise."""

_RELAXED: Final = ("relaxed at B3LYP", "MMFF94")


def knows_minima(header: Facts) -> bool:
    """Whether a model was trained at minima of B3LYP or of MMFF94, by its checkpoint's header."""
    return header.geometry_source.startswith(_RELAXED)


def knows_relaxed(header: Facts) -> bool:
    """Whether a model was trained at minima of B3LYP, by its checkpoint's header."""
    return header.geometry_source.startswith(_RELAXED[0])


def weigher_name(header: Facts) -> str | None:
    """The model that weighs conformers for a model whose labels are those of QM9's conformers.

    Args:
        header: of the model's checkpoint.

    Returns:
        Its name; None for a model of other labels, or if none is shipped.
    """
    return conformer_weights() if header.data == "QM9" else None


def usual_conformers(weigher: str | None) -> int:
    """How many conformers are made of a SMILES if no number is asked for.

    Args:
        weigher: name of the model that weighs them; None for none.
    """
    return CONFORMERS if weigher is None else WEIGHED_CONFORMERS


def is_as_given(geometry: str) -> bool:
    """Whether coordinates are the user's own, by a row's geometry."""
    return geometry == GIVEN or geometry.startswith(f"{GIVEN} ")


def is_distorted(geometry: str) -> bool:
    """Whether a row's geometry says that its coordinates are no minimum."""
    if not geometry.startswith(GIVEN):
        return False
    from molgeo.chem.geometry_source import DISTORTED

    return geometry == _said(DISTORTED)


def fits_cheap(geometry: str) -> bool:
    """Whether the model for MMFF94's minima has the smaller errors at such given coordinates."""
    if not geometry.startswith(GIVEN):
        return False
    from molgeo.chem.geometry_source import DISTORTED, MMFF94

    return geometry in (_said(MMFF94), _said(DISTORTED))


def judged(window: Sequence[Built], is_sound: Sequence[bool]) -> list[Built]:
    """Rows, whose molecules say where given coordinates come from.

    Args:
        window: rows.
        is_sound: of each row, whether it is a molecule that a model would predict.

    Returns:
        The rows in their order. All conformers of one row come from where most of them do.
    """
    rows = {
        k: built
        for k, built in enumerate(window)
        if is_sound[k] and isinstance(built, list) and built[0].geometry == GIVEN
    }
    result = list(window)
    molecules = [one for built in rows.values() for one in built]
    if not molecules:
        return result
    from molgeo.chem.geometry_source import DFT, judge

    ptr = np.cumsum([0, *(one.n_atoms for one in molecules)])
    z, pos = (np.concatenate([getattr(one, name) for one in molecules]) for name in ("z", "pos"))
    sources = iter(judge(z, pos, ptr))
    for k, built in rows.items():
        ((source, _),) = Counter(next(sources) for _ in built).most_common(1)
        if source not in (None, DFT):
            result[k] = _from(built, _said(source))
    return result


def _said(source: str) -> str:
    """What a row's geometry is of coordinates from one of `SOURCES`."""
    return f"{GIVEN} ({source})"


def _from(built: list[Molecule], geometry: str) -> list[Molecule]:
    return [replace(one, geometry=geometry) for one in built]
