"""A map over processes: in order, and whatever dies."""

import os

import pytest

from molgeo.generate.workers import Failure, ordered_map


def careful(x):
    if x == "bad":
        raise ValueError("no\nway")
    if x == "crash":
        os._exit(1)
    if x == "empty":
        raise KeyError
    return 2 * x


def test_in_this_process():
    got = list(ordered_map(careful, [1, "bad", 3, "empty"], workers=1))
    assert got == [2, Failure("ValueError: no way"), 6, Failure("KeyError")]


def test_items_are_taken_as_needed():
    def source():
        yield 1
        raise RuntimeError("the source broke")

    results = ordered_map(careful, source(), workers=1)
    assert next(results) == 2
    with pytest.raises(RuntimeError, match="the source broke"):
        next(results)


def test_a_process_that_dies_takes_no_other_item_with_it():
    items = [1, 2, "crash", 3, "bad", *range(10, 20)]
    got = list(ordered_map(careful, items, workers=2))
    assert [type(x) is Failure for x in got] == [x in ("crash", "bad") for x in items]
    assert "process died" in got[2].reason
    assert got[5:] == [2 * x for x in range(10, 20)]
