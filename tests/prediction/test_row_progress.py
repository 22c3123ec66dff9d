import pytest

from molgeo.prediction import row_progress
from molgeo.prediction.row_progress import RowProgress


class Shown:
    """A bar that remembers what it was told."""

    def __init__(self, what, total, done):
        self.what, self.total, self.done = what, total, done
        self.last, self.is_stopped = None, False

    def show(self, done, note):
        self.last = (done, note)

    def stop(self):
        self.is_stopped = True


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch):
    monkeypatch.setattr(row_progress, "Bar", Shown)


def test_it_counts_rows_and_failures():
    progress = RowProgress()
    progress.advance(False)
    assert progress._bar.last == (1, "")
    progress.advance(True)
    assert progress._bar.last == (2, "1 failed")


def test_a_row_counts_once_it_has_coordinates_and_rows_of_an_earlier_run_count():
    progress = RowProgress(lambda: 1_000, done=900)
    assert (progress._bar.total(), progress._bar.done) == (1000, 900)
    progress.ready()
    progress.ready()
    progress.advance(False)
    assert progress._bar.last == (902, "")


@pytest.mark.parametrize("shown", [0, 3])
def test_it_makes_room_for_rows_on_the_terminal(shown):
    progress = RowProgress(until=shown)
    for _ in range(shown):
        progress.make_room()
        progress.advance(False)
        assert not progress._bar.is_stopped
    progress.make_room()
    assert progress._bar.is_stopped
