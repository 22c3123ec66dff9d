"""Frames: shapes are checked, selections and concatenations keep what belongs together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molgeo.data.frames import Frames, concatenate
from molgeo.data.split import UNDECIDED

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=8)


def frames(sizes, **fields):
    """Frames of these sizes whose arrays all tell where they come from."""
    n = sum(sizes)
    defaults = {
        "z": np.arange(1, n + 1),
        "pos": np.arange(3.0 * n).reshape(n, 3),
        "n_atoms": np.array(sizes),
        "energy": 1.0 + np.arange(len(sizes)),
        "force": 0.5 + np.arange(3.0 * n).reshape(n, 3),
    }
    return Frames(**(defaults | fields))


def test_defaults():
    got = frames([2, 3])
    assert got.part.tolist() == [UNDECIDED] * 2
    assert got.group.tolist() == [-1, -1]
    assert not got.pbc.any()
    assert got.cell.shape == (2, 3, 3)
    assert got.ptr.tolist() == [0, 2, 5]
    assert got.frame_of_atom.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("z", np.ones(4)),
        ("pos", np.ones((5, 2))),
        ("energy", np.ones(3)),
        ("force", np.ones((4, 3))),
        ("group", np.ones(1)),
        ("cell", np.ones((2, 3))),
        ("pbc", np.ones((3, 3), bool)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"file\.npz: {name}: expected shape"):
        frames([2, 3], **{name: value}, source="file.npz")


@given(sizes=SIZES, data=st.data())
def test_a_selection_is_the_frames_chosen(sizes, data):
    whole = frames(sizes)
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes))))
    got = whole.select(keep)
    assert len(got) == keep.sum()
    rows = [np.arange(a, b) for a, b in zip(whole.ptr, whole.ptr[1:], strict=False)]
    atoms = [a for rows_, kept in zip(rows, keep, strict=True) if kept for a in rows_]
    assert got.z.tolist() == whole.z[atoms].tolist()
    assert got.force.tolist() == whole.force[atoms].tolist()
    assert got.energy.tolist() == whole.energy[keep].tolist()


@given(first=SIZES, second=SIZES)
def test_concatenation_undoes_a_division(first, second):
    whole = frames(first + second)
    number = np.arange(len(whole))
    parts = [whole.select(number < len(first)), whole.select(number >= len(first))]
    joined = concatenate(parts)
    for name in ("z", "pos", "n_atoms", "energy", "force", "group", "part", "cell", "pbc"):
        assert getattr(joined, name).tolist() == getattr(whole, name).tolist()
