"""What counts as a value that no molecule has."""

import pytest
import torch

from molgeo.data.qm9.properties import named
from molgeo.predictor import Predictor
from molgeo.predictor.familiarity import MOST_MEAN, MOST_SUM, strangeness

KINDS = ("mean", "sum", "dipole", "extent")


def of(x, baseline=0.0, n_atoms=5, kind="mean"):
    column = torch.full((1, 4), float(x))
    own = torch.full((1, 4), float(baseline))
    return float(strangeness(column, own, torch.tensor([n_atoms]), KINDS)[0, KINDS.index(kind)])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_mean_is_bounded_whatever_the_size(sign):
    for n in (2, 20, 200):
        assert of(sign * MOST_MEAN, n_atoms=n) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["sum", "dipole", "extent"])
def test_what_grows_with_the_molecule_may_grow(kind):
    assert of(MOST_SUM, kind=kind) == pytest.approx(1.0)
    assert of(5 * MOST_SUM, n_atoms=100, kind=kind) == pytest.approx(1.0)


def test_an_extent_is_compared_with_its_baseline():
    # r² of a chain of n atoms grows like n³, and so does what the baseline leaves of it.
    assert of(500.0, baseline=1000.0, kind="extent") == pytest.approx(1.0)
    assert of(500.0, baseline=1000.0, kind="sum") == pytest.approx(500.0 / MOST_SUM)


@pytest.mark.parametrize("x", [float("nan"), float("inf")])
def test_no_number_is_stranger_than_any(x):
    assert of(x) == float("inf")


def test_a_predictor_tells_it_beside_values_and_signals():
    torch.manual_seed(0)
    predictor = Predictor("schnet", {"n_blocks": 1, "n_features": 16}, named(["gap", "alpha"]), 8)
    z, pos = torch.tensor([8, 1]), torch.tensor([[0.0, 0.0, 0.0], [0.97, 0.0, 0.0]])
    with torch.no_grad():
        before = predictor.judged(z, pos)
        predictor.heads.out_bias.add_(1000.0)
        after = predictor.judged(z, pos)
    assert (before.strangeness < 1).all()
    assert after.strangeness[0].tolist() == pytest.approx(
        [1000 / MOST_MEAN, 2000 / MOST_SUM], rel=0.01
    )
    assert before.signals is None
