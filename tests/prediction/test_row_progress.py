import io
import sys

import pytest

from molgeo.prediction import row_progress
from molgeo.prediction.row_progress import RowProgress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A timer that strikes when a test says so."""

    def __init__(self, seconds, strike):
        self.seconds, self._strike = seconds, strike
        self.is_running = False

    def start(self):
        self.is_running = True

    def cancel(self):
        self.is_running = False

    def strike(self):
        if self.is_running:
            self._strike()


def stand_still(monkeypatch):
    """Standard error on a terminal, and time that stands still."""
    stream = Terminal()
    monkeypatch.setattr(row_progress, "Timer", Clock)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_it_waits_then_counts_on_a_terminal(monkeypatch):
    error = stand_still(monkeypatch)
    progress = RowProgress()
    assert progress._timer.seconds == row_progress.PATIENCE_S
    progress.advance(False)
    assert error.getvalue() == ""
    progress._timer.strike()
    progress.advance(True)
    progress.stop()
    assert "1 rows, 0 failed" in error.getvalue()
    assert "2 rows, 1 failed" in error.getvalue()
    assert not progress._timer.is_running


def test_a_known_number_of_rows_tells_the_time_that_is_left(monkeypatch):
    error = stand_still(monkeypatch)
    progress = RowProgress(lambda: 1_000, done=900)
    progress._timer.strike()
    assert progress._fields()["left"] == ""
    monkeypatch.setattr(row_progress.time, "monotonic", lambda: progress._started + 10.0)
    progress.advance(False)
    assert progress._fields() == {"completed": 901, "failed": 0, "left": "16 min left"}
    progress.stop()
    progress.ready()
    progress.ready()
    assert progress._fields()["completed"] == 902
    assert "901 of 1,000 rows, 0 failed" in error.getvalue()


def test_a_timer_that_strikes_too_late_shows_nothing(monkeypatch):
    error = stand_still(monkeypatch)
    progress = RowProgress()
    progress.stop()
    progress._start()
    assert error.getvalue() == ""


def test_it_is_silent_in_a_log(monkeypatch):
    monkeypatch.setattr(row_progress, "Timer", Clock)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    progress = RowProgress()
    assert not progress._timer.is_running
    progress.stop()


@pytest.mark.parametrize("shown", [0, 3])
def test_it_makes_room_for_rows_on_the_terminal(monkeypatch, shown):
    error = stand_still(monkeypatch)
    progress = RowProgress(until=shown)
    progress._timer.strike()
    for _ in range(shown):
        progress.make_room()
        progress.advance(False)
        assert progress._bar is not None
    progress.make_room()
    assert progress._bar is None
    assert "rows" in error.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (720, "12 min"), (12_600, "3.5 h"), (72_000, "20 h"), (400_000, "4.6 days")],
)
def test_times_are_for_people(seconds, text):
    assert duration(seconds) == text
