"""A file that grows row by row: nothing is lost or there twice, wherever it was torn."""

import json

import ase.io
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.generate.journal import FrameJournal

FAILED = {2, 5}
FRAMES = {0: 1, 1: 3, 3: 2, 4: 1, 6: 2}
"""Frames of each row that does not fail."""


def frames(row):
    return [Atoms("OH", [[0, 0, k], [0, 0, k + 1.0 + row]]) for k in range(FRAMES[row])]


def finish(journal, stop=7):
    for row in range(journal.next_row, stop):
        if row in FAILED:
            journal.fail(row, f"reason {row}")
        else:
            journal.add(row, frames(row))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Bytes of an undisturbed run's two files."""
    path = tmp_path_factory.mktemp("whole") / "out.extxyz"
    finish(FrameJournal(path, {"a": 1}))
    return path.read_bytes(), path.with_name("out.extxyz.failed.jsonl").read_bytes()


def test_rows_in_order(whole, tmp_path):
    (tmp_path / "x.extxyz").write_bytes(whole[0])
    images = ase.io.read(tmp_path / "x.extxyz", ":")
    assert [a.info["row"] for a in images] == [r for r, n in FRAMES.items() for _ in range(n)]
    assert [json.loads(line)["row"] for line in whole[1].splitlines()] == sorted(FAILED)


@settings(deadline=None, max_examples=60)
@given(stop=st.integers(0, 7), lost=st.integers(0, 90))
def test_a_killed_run_ends_as_an_undisturbed_one(whole, tmp_path_factory, stop, lost):
    """Rows up to ``stop`` were written, the last ``lost`` bytes of the newest file were not."""
    path = tmp_path_factory.mktemp("killed") / "out.extxyz"
    failed = path.with_name("out.extxyz.failed.jsonl")
    finish(FrameJournal(path, {"a": 1}), stop)
    newest = failed if stop - 1 in FAILED else path
    if newest.exists():
        content = newest.read_bytes()
        # At most what was written last, of one row, can be torn.
        size = len(content) - _before(path, failed, stop, newest)
        newest.write_bytes(content[: len(content) - min(lost, size)])
    journal = FrameJournal(path, {"a": 1})
    finish(journal)
    assert path.read_bytes() == whole[0]
    assert failed.read_bytes() == whole[1]
    assert journal.n_failed == len(FAILED)


def _before(path, failed, stop, newest):
    """Bytes of the newest file before its last row was written."""
    other = path.with_name("other") / path.name
    finish(FrameJournal(other, {"a": 1}), max(stop - 1, 0))
    same = other if newest == path else other.with_name(failed.name)
    return len(same.read_bytes()) if same.exists() else 0


def test_another_run_is_refused(tmp_path):
    path = tmp_path / "out.extxyz"
    FrameJournal(path, {"a": 1, "b": [1, 2]})
    FrameJournal(path, {"a": 1, "b": [1, 2]})
    with pytest.raises(ValueError, match="holds another run: a was 1 and is 2 now"):
        FrameJournal(path, {"a": 2, "b": [1, 2]})
    (tmp_path / "mine.extxyz").write_text("1\n\nH 0 0 0\n")
    with pytest.raises(ValueError, match=r"mine\.extxyz exists, but .* does not"):
        FrameJournal(tmp_path / "mine.extxyz", {})
