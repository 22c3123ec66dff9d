"""Published errors to compare with."""

from __future__ import annotations

from typing import Final

QM9_MAE: Final[dict[str, dict[str, float]]] = {
    "SchNet": {
        "mu": 0.033,
        "alpha": 0.235,
        "homo": 0.041,
        "lumo": 0.034,
        "gap": 0.063,
        "r2": 0.073,
        "zpve": 0.0017,
        "u0": 0.014,
        "u298": 0.019,
        "h298": 0.014,
        "g298": 0.014,
        "cv": 0.033,
    },
    "DimeNet++": {
        "mu": 0.0297,
        "alpha": 0.0435,
        "homo": 0.0246,
        "lumo": 0.0195,
        "gap": 0.0326,
        "r2": 0.331,
        "zpve": 0.00121,
        "u0": 0.00632,
        "u298": 0.00628,
        "h298": 0.00653,
        "g298": 0.00756,
        "cv": 0.023,
    },
}
"""Test MAE on QM9, one model a property, in the units of `molgeo.properties`.

Source: second-hand, from the comparison tables of later papers, which agree on them; not checked
against the original papers (SchNet: Schütt et al. 2017, 2018; DimeNet++: Gasteiger et al. 2020).
"""
