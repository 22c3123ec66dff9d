"""What a calculator remembers has bounds."""

import copy
import pickle

import numpy as np
import pytest

from molgeo.simulation.memory import MOST, MOST_ATOMS, Memory


def test_the_latest_are_remembered():
    memory = Memory()
    for k in range(MOST + 3):
        memory.keep(k, 10, {"energy": k})
    assert memory.find(2, ["energy"]) is None
    assert memory.find(3, ["energy"]) == {"energy": 3}
    memory.keep(3, 10, {"energy": 3, "forces": np.zeros(3)})  # again, so it is the latest
    memory.keep("new", 10, {"energy": 0})
    assert memory.find(3, ["forces"]) is not None
    assert memory.find(4, ["energy"]) is None


def test_all_that_is_asked_for_must_be_known():
    memory = Memory()
    memory.keep("a", 1, {"energy": 1.0})
    assert memory.find("a", ["energy", "forces"]) is None
    memory.find("a", ["energy"])["energy"] = 2.0
    assert memory.find("a", ["energy"]) == {"energy": 1.0}


def test_large_structures_are_forgotten_sooner():
    memory = Memory()
    for k in range(3):
        memory.keep(k, MOST_ATOMS, {"energy": k})
    assert [memory.find(k, ["energy"]) is None for k in range(3)] == [True, True, False]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_begin_anew(clone):
    memory = Memory()
    memory.keep("a", 1, {"energy": 1.0})
    assert clone(memory).find("a", ["energy"]) is None
