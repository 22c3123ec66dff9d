from collections import Counter

import numpy as np
import pytest
import torch

from molgeo.evaluation.coverage import by_class, coverage, size_classes
from molgeo.evaluation.properties import Collected
from molgeo.predictor.calibration import Calibration, Scale
from molgeo.properties import Property

GAP, MU = Property("gap", "eV"), Property("mu", "D")


def named(heavy, least):
    found = size_classes(np.array(heavy), least)
    return {name: int(among.sum()) for name, among in found.items()}


def test_sizes_of_few_molecules_are_taken_together():
    heavy = [1] * 1 + [4] * 2 + [7] * 3 + [8] * 5 + [9] * 20
    assert named(heavy, 5) == {"1 to 7 heavy atoms": 6, "8 heavy atoms": 5, "9 heavy atoms": 20}
    assert named([*heavy, 10, 11], 5)["9 to 11 heavy atoms"] == 22
    assert named([3, 4], 5) == {"3 to 4 heavy atoms": 2}
    assert named([1], 1) == {"1 heavy atom": 1}
    assert named([], 5) == {}


@pytest.fixture
def found():
    n = 40
    errors = torch.zeros(n, 2, dtype=torch.float64)
    errors[:10, 0] = 0.15  # within twice the error, not within one
    errors[:5, 0] = 1.0  # in none
    labels = torch.zeros(n, 2, dtype=torch.float64)
    labels[20:, 1] = torch.nan
    flagged = torch.arange(n) < 4
    nothing = torch.zeros(n, 2, dtype=torch.float64)
    heavy = torch.tensor([8] * 20 + [9] * 20)
    larger = torch.zeros(n, dtype=torch.bool)
    rows = torch.arange(n)
    return Collected(
        [GAP, MU], errors, nothing, labels, Counter(), rows, None, flagged, larger, heavy
    )


@pytest.fixture
def known():
    scale = Scale(error=0.1, sigma=1.0, interval=2.0)
    return Calibration(8, 100, {"gap": scale, "mu": scale})


def test_shares_are_those_of_molecules_with_a_label(found, known):
    shares = coverage(found, known)
    assert shares["gap_eV"] == {"std": 0.75, "low90_high90": 0.875}
    assert shares["mu_D"] == {"std": 1.0, "low90_high90": 1.0}
    nothing = found._replace(labels=torch.full_like(found.labels, torch.nan))
    assert coverage(nothing, known) == {}


def test_shares_of_each_class(found, known):
    classes = by_class(found, known)
    assert {name: one["n"] for name, one in classes.items()} == {
        "inside the domain": 36,
        "outside it": 4,
        "8 heavy atoms": 20,
        "9 heavy atoms": 20,
    }
    assert classes["outside it"]["within_90"]["gap_eV"] == 0.0
    assert classes["inside the domain"]["within_90"]["gap_eV"] == pytest.approx(35 / 36)
    assert classes["8 heavy atoms"]["within_90"] == {"gap_eV": 0.75, "mu_D": 1.0}
    assert classes["9 heavy atoms"]["within_90"] == {"gap_eV": 1.0}
    inside = found._replace(flagged=torch.zeros(40, dtype=torch.bool))
    assert "outside it" not in by_class(inside, known)
