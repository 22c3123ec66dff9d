"""Molgeo's warnings are lines; other people's are left alone."""

import warnings

import pytest

from molgeo.evaluation import cards
from molgeo.runtime.plain_text import say_warnings


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)


def shown(filename, category=UserWarning):
    return warnings.formatwarning("a\nb\x1b[0m", category, filename, 3)


def test_our_own_are_one_line():
    say_warnings()
    assert shown(cards.__file__) == "molgeo: a b\\x1b[0m\n"


def test_a_process_may_run_any_number_of_commands():
    for _ in range(2000):
        say_warnings()
    assert "UserWarning: a\nb" in shown("/x/y.py")
    assert shown(cards.__file__) == "molgeo: a b\\x1b[0m\n"


def test_others_are_as_python_prints_them():
    before = [shown("/x/y.py"), shown(cards.__file__, DeprecationWarning)]
    say_warnings()
    assert [shown("/x/y.py"), shown(cards.__file__, DeprecationWarning)] == before
