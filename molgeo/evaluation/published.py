"""Published errors to compare with."""

from __future__ import annotations

from typing import Final

from molgeo.data.qm9.properties import NAMES

_ROWS: Final = {
    # mu, alpha, homo, lumo, gap, r2, zpve, u0, u298, h298, g298, cv
    "SchNet": "0.033 0.235 0.041 0.034 0.063 0.073 0.0017 0.014 0.019 0.014 0.014 0.033",
    "DimeNet++": "0.0297 0.0435 0.0246 0.0195 0.0326 0.331 0.00121 0.00632 0.00628 0.00653 0.00756 "
    "0.023",
}

QM9_MAE: Final[dict[str, dict[str, float]]] = {
    model: dict(zip(NAMES, map(float, row.split()), strict=True)) for model, row in _ROWS.items()
}
"""Test MAE on QM9, one model per property, in the units of `molgeo.data.qm9.properties`.

Source: second-hand, from the comparison tables of later papers, which agree on them; not checked
against the original papers (SchNet: Schütt et al. 2017, 2018; DimeNet++: Gasteiger et al. 2020).
"""
