"""Shapes of the learning-rate schedules."""

import math
from itertools import pairwise

import pytest

from molgeo.training.optimisation import learning_rate_factor
from molgeo.training.qm9 import QM9Config


def factors(total=1000, **fields):
    factor = learning_rate_factor(QM9Config(**fields), total)
    return [factor(step) for step in range(total + 1)]


@pytest.mark.parametrize("schedule", ["cosine", "stable", "exponential", "constant"])
def test_warm_up_is_linear_and_ends_at_the_peak(schedule):
    f = factors(schedule=schedule, warmup_steps=100)
    assert f[:100] == pytest.approx([(step + 1) / 100 for step in range(100)])
    assert f[100] == pytest.approx(1.0)


@pytest.mark.parametrize("schedule", ["cosine", "stable", "exponential", "constant"])
def test_no_warm_up(schedule):
    assert factors(schedule=schedule, warmup_steps=0)[0] == 1.0


def test_cosine_falls_to_zero():
    f = factors(schedule="cosine", warmup_steps=200)
    assert f[600] == pytest.approx(0.5)
    assert f[400] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert f[1000] == pytest.approx(0.0, abs=1e-12)
    assert all(a >= b for a, b in pairwise(f[200:]))


def test_stable_is_constant_then_linear_to_zero():
    f = factors(schedule="stable", warmup_steps=10, decay_fraction=0.25)
    assert set(f[10:751]) == {1.0}
    assert f[875] == pytest.approx(0.5)
    assert f[1000] == 0.0


def test_stable_with_a_later_end_agrees_until_the_decay():
    """So a run may be lengthened when it is resumed."""
    short = factors(1000, schedule="stable", decay_fraction=0.3)
    long = factors(2000, schedule="stable", decay_fraction=0.3)
    assert short[:701] == long[:701]


def test_exponential_is_dimenets():
    """×0.01 every 4 million steps."""
    factor = learning_rate_factor(QM9Config(schedule="exponential", warmup_steps=3000), 10**7)
    assert factor(3000 + 4_000_000) == pytest.approx(0.01)
    assert factor(3000 + 2_000_000) == pytest.approx(0.1)


def test_constant_stays():
    assert set(factors(schedule="constant", warmup_steps=5)[5:]) == {1.0}
