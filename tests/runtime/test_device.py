"""Work for a device: cut into bounded parts, of which one is always in flight."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.runtime.device import bounded, one_behind, received


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 60))
def test_parts_are_bounded_whole_and_no_smaller_than_need_be(costs, most):
    parts = [costs[part] for part in bounded(costs, most)]
    assert [cost for part in parts for cost in part] == costs
    assert all(len(part) == 1 or sum(part) <= most for part in parts)
    for part, following in pairwise(parts):
        assert sum(part) + following[0] > most


def test_without_a_bound_there_is_one_part():
    assert list(bounded([1, 2, 3], np.inf)) == [slice(0, 3)]
    assert list(bounded([], np.inf)) == []


@pytest.mark.parametrize("n", [0, 1, 4])
def test_each_work_is_handed_out_after_the_next_one_began(n):
    events = []

    def begun():
        for k in range(n):
            events.append(f"begin {k}")
            yield k

    events.extend(f"read {k}" for k in one_behind(begun()))
    expected = ["begin 0"] if n else []
    for k in range(1, n):
        expected += [f"begin {k}", f"read {k - 1}"]
    assert events == expected + ([f"read {n - 1}"] if n else [])


def test_what_is_on_the_host_has_arrived():
    x = torch.arange(3.0)
    assert received(x)() is x
