"""Progress bars: on terminals only, and only for what lasts."""

import io
import sys

from molgeo.runtime import progress as module
from molgeo.runtime.progress import Bar, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A timer that strikes when a test says so."""

    made = None

    def __init__(self, seconds, strike):
        self.seconds, self._strike = seconds, strike
        self.is_running = False
        Clock.made = self

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
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(module, "Timer", Clock)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def test_a_terminal_sees_how_far_it_is(monkeypatch):
    error = stand_still(monkeypatch)
    with progress("working") as report:
        Clock.made.strike()
        for done in range(4):
            report(done * 1000, 3000, "a note")
    assert "working" in error.getvalue()
    assert "3,000/3,000" in error.getvalue()
    assert "a note" in error.getvalue()


def test_it_appears_without_any_report(monkeypatch):
    error = stand_still(monkeypatch)
    with progress("loading"):
        Clock.made.strike()
    assert "loading" in error.getvalue()


def test_short_work_shows_no_bar(monkeypatch):
    error = stand_still(monkeypatch)
    with progress("working") as report:
        report(1, 2)
        assert Clock.made.seconds == module.PATIENCE_S
    Clock.made.strike()
    assert error.getvalue() == ""


def test_a_timer_that_strikes_too_late_shows_nothing(monkeypatch):
    error = stand_still(monkeypatch)
    bar = Bar("working")
    bar.stop()
    Clock.made._strike()
    assert error.getvalue() == ""


def test_anything_else_sees_nothing(monkeypatch):
    stand_still(monkeypatch)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("working") as report:
        assert not Clock.made.is_running
        report(1, 2)
    assert sys.stderr.getvalue() == ""


def test_the_whole_is_asked_for_when_the_bar_appears(monkeypatch):
    error = stand_still(monkeypatch)
    asked = []
    bar = Bar("rows", lambda: asked.append(1) or 1000, done=900)
    bar.show(901)
    assert not asked
    Clock.made.strike()
    bar.show(902)
    bar.stop()
    assert asked == [1]
    assert "901/1,000" in error.getvalue()
    assert "902/1,000" in error.getvalue()


def test_a_terminal_has_one_bar_at_a_time(monkeypatch):
    error = stand_still(monkeypatch)
    with progress("the whole"):
        Clock.made.strike()
        with progress("a part of it") as report:
            Clock.made.strike()
            report(1, 2)
    with progress("what follows"):
        Clock.made.strike()
    assert "the whole" in error.getvalue()
    assert "a part of it" not in error.getvalue()
    assert "what follows" in error.getvalue()
