"""Progress bars: on terminals only, and only for what lasts."""

import io
import sys

from molgeo.runtime import progress as module
from molgeo.runtime.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def bar(monkeypatch, stream, patience):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "PATIENCE_S", patience)
    with progress("working") as report:
        for done in range(4):
            report(done * 100, 300)
    return stream.getvalue()


def test_a_terminal_sees_how_far_it_is(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    shown = bar(monkeypatch, Terminal(), -1.0)
    assert "working" in shown
    assert "300/300" in shown


def test_short_work_shows_no_bar(monkeypatch):
    assert "working" not in bar(monkeypatch, Terminal(), 3600.0)


def test_anything_else_sees_nothing(monkeypatch):
    assert bar(monkeypatch, io.StringIO(), -1.0) == ""
