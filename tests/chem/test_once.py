"""Work shared by threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from molgeo.chem.limits import Once


def test_threads_that_ask_together_share_one_call():
    asked, waiting = [], threading.Barrier(4)

    def slow(key, _):
        asked.append(key)
        return key.upper()

    once = Once(slow, most=5)

    def ask(key):
        waiting.wait()
        return once(key, None)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, ["a", "a", "b", "a"])) == ["A", "A", "B", "A"]
    assert sorted(asked) == ["a", "b"]


def test_the_latest_values_are_kept():
    asked = []
    once = Once(lambda key, _: asked.append(key) or key, most=2)
    for key in (1, 2, 1, 3, 1, 2):
        assert once(key, None) == key
    assert asked == [1, 2, 3, 2]


def test_an_error_is_raised_and_not_kept():
    results = iter([ValueError("why"), 7])

    def function(*_):
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    once = Once(function, most=2)
    with pytest.raises(ValueError, match="why"):
        once("key", None)
    assert once("key", None) == 7
