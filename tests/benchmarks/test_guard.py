"""What the guard's benchmark calls caught, late, missed and stayed."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from molgeo.simulation.guard import bonds_of, broken_bonds

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def guard(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import guard

    return guard


def frame(k, force=0.1, **more):
    return {"frame": k, "force": force, "mean_force": 0.1, "spread": 0.1, "broken": False, **more}


START = frame(0)


@pytest.mark.parametrize(
    ("end", "frames", "verdict", "early"),
    [
        ("refused", [], "caught", True),
        ("ran", [frame(0), frame(9)], "stayed", False),
        ("ran", [frame(0), frame(5, 9.0), frame(9)], "missed", False),
        ("ran", [frame(0), frame(5, spread=2.0), frame(9)], "missed", False),
        ("stopped", [frame(0), frame(5, 9.0), frame(9)], "late", False),
        ("stopped", [frame(0), frame(9, broken=True)], "caught", False),
        ("stopped", [frame(0), frame(9)], "caught", True),
    ],
)
def test_verdicts(guard, end, frames, verdict, early):
    one = {"kind": "forced", "way": "hot", "end": end, "start": START, "frames": frames}
    assert guard.verdict(one) == verdict
    assert guard.is_too_early(one) is early
    assert "| **forced, all** | 1 |" in guard.table([one])


def test_ways_out_of_the_domain(guard):
    atoms, rng = molecule("CH3CH2OH"), np.random.RandomState(0)
    atoms.info["charge"] = 0
    assert broken_bonds(bonds_of(atoms), guard.WAYS["bond pulled"](atoms, rng))
    assert len(guard.WAYS["two hydrogens less"](atoms, rng)) == 7
    electrons = guard.WAYS["elements swapped"](atoms, rng).numbers.sum()
    assert electrons % 2 == 0
    pressed = guard.WAYS["compressed"](atoms, rng)
    assert pressed.get_all_distances().max() < 0.9 * atoms.get_all_distances().max()
