"""Small works take one thread, unless a user decided."""

import pytest
import torch

from molgeo.runtime import threads
from molgeo.runtime.threads import SET_BY_USERS, one_thread


@pytest.fixture(autouse=True)
def _two_by_default(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "BY_DEFAULT", 2)
    for name in SET_BY_USERS:
        monkeypatch.delenv(name, raising=False)
    yield
    torch.set_num_threads(before)


def within(is_small):
    with one_thread(is_small):
        return torch.get_num_threads()


def test_small_works_take_one():
    assert within(True) == 1
    assert within(False) == 2
    assert torch.get_num_threads() == 2


def test_the_number_comes_back_after_an_error():
    with pytest.raises(ValueError, match="bad"), one_thread(True):
        raise ValueError("bad")
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("name", SET_BY_USERS)
def test_the_environment_counts(monkeypatch, name):
    monkeypatch.setenv(name, "2")
    assert within(True) == 2


def test_another_number_counts():
    torch.set_num_threads(3)
    assert within(True) == 3
