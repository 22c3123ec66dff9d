import errno
import io
import json
import os
import sys

import pytest

from molgeo import writers
from molgeo.chem.molecule import InputError
from molgeo.writers import Output, WriteError, check_output

COLUMNS = ["id", "status", "gap_eV"]


def row(k, status="ok"):
    return {"id": k, "status": status, "gap_eV": k + 0.5 if status == "ok" else None}


def write(output, format, n, then=None):
    with Output(output, format, COLUMNS) as out:
        for k in range(n):
            out.write(row(k))
        if then is not None:
            raise then


class FullDisk(io.StringIO):
    """Takes so many rows, then fails as a full disk does."""

    def __init__(self, n):
        super().__init__()
        self.n = n

    def flush(self):
        self.n -= 1
        if self.n < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("output", "format", "expected"),
    [
        (None, None, "csv"),
        ("-", "csv", "csv"),
        ("a.csv", None, "csv"),
        ("a.JSON", None, "json"),
        ("a.jsonl", None, "jsonl"),
        ("a.txt", None, "table"),
        ("a.dat", "jsonl", "jsonl"),
        ("a.csv", "json", "json"),
    ],
)
def test_format_by_argument_or_ending(tmp_path, monkeypatch, output, format, expected):
    monkeypatch.chdir(tmp_path)
    assert check_output(output, format) == expected
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_gets_a_table(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert check_output(None, None) == check_output("-", None) == "table"
    assert check_output("-", "jsonl") == "jsonl"


def test_unknown_format_and_ending(tmp_path):
    with pytest.raises(InputError, match="unknown format 'xml': expected one of table, csv"):
        check_output(None, "xml")
    with pytest.raises(InputError, match="the ending says no format"):
        check_output(str(tmp_path / "out.dat"), None)


def test_a_folder_is_no_output(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match=r"a\.csv cannot be written: Is a directory"):
        check_output(str(tmp_path / "a.csv"), None)


def test_an_input_is_not_overwritten(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("smiles\nC\n")
    with pytest.raises(InputError, match="is an input too"):
        check_output(str(path), None, ["CCO", str(path)])


def test_checking_leaves_an_old_output_alone(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    check_output(str(path), None)
    assert path.read_text() == "old"


@pytest.mark.parametrize("format", ["csv", "jsonl", "json"])
def test_each_row_is_on_disk_before_the_next(tmp_path, format):
    path = tmp_path / "out"
    with Output(str(path), format, COLUMNS) as out:
        for k in range(3):
            out.write(row(k))
            assert f"{k}.5" in path.read_text()


def test_json_is_a_list_also_without_rows_and_after_an_error(tmp_path):
    path = tmp_path / "out.json"
    with Output(str(path), "json", COLUMNS):
        pass
    assert json.loads(path.read_text()) == []
    with pytest.raises(KeyError):
        write(str(path), "json", 1, then=KeyError)
    assert json.loads(path.read_text()) == [row(0)]


@pytest.mark.parametrize("format", ["csv", "json", "jsonl"])
def test_a_full_disk_says_how_many_rows_are_safe(monkeypatch, format):
    disk = FullDisk(2)
    monkeypatch.setattr(sys, "stdout", disk)
    message = "standard output: writing stopped after 2 rows, which are kept: No space left"
    with pytest.raises(WriteError, match=message):
        write(None, format, 5)
    assert "1.5" in disk.getvalue()


def test_a_full_disk_is_one_error_though_closing_fails_too(monkeypatch):
    disk = FullDisk(0)
    monkeypatch.setattr(disk, "close", disk.flush)
    monkeypatch.setattr(writers.Path, "open", lambda *_, **__: disk)
    with pytest.raises(WriteError, match=r"out\.csv: writing stopped after 0 rows"):
        write("out.csv", "csv", 1)


def test_a_reader_that_has_gone_is_for_the_command_to_handle(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(BrokenPipeError):
            write(None, "jsonl", 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)


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


class Silent:
    def write(self, row):
        """Take a row."""

    def close(self):
        """Write nothing."""


def stand_still(monkeypatch, error=None):
    """Standard error on a terminal, standard output in a pipe, and time that stands still."""
    error = error or Terminal()
    monkeypatch.setattr(writers, "Timer", Clock)
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    return error


def test_progress_waits_then_counts_on_a_terminal(monkeypatch):
    error = stand_still(monkeypatch)
    with Output(None, "csv", COLUMNS) as out:
        clock = out._progress._timer
        assert clock.seconds == writers.PATIENCE_S
        out.write(row(0))
        assert error.getvalue() == ""
        clock.strike()
        out.write(row(1, "error"))
    assert "1 molecules, 0 failed" in error.getvalue()
    assert "2 molecules, 1 failed" in error.getvalue()
    assert not clock.is_running


def test_progress_shows_before_the_first_row(monkeypatch):
    error = stand_still(monkeypatch)
    with Output(None, "csv", COLUMNS) as out:
        out._progress._timer.strike()
        assert "0 molecules, 0 failed" in error.getvalue()


def test_a_timer_that_strikes_too_late_shows_nothing(monkeypatch):
    error = stand_still(monkeypatch)
    with Output(None, "csv", COLUMNS) as out:
        out.write(row(0))
    out._progress._start()
    assert error.getvalue() == ""


def test_progress_is_silent_in_a_log(monkeypatch, tmp_path):
    error = stand_still(monkeypatch, io.StringIO())
    with Output(str(tmp_path / "out"), "csv", COLUMNS) as out:
        assert not out._progress._timer.is_running
        out.write(row(0))
    assert error.getvalue() == ""


@pytest.mark.parametrize(("format", "shown"), [("table", 3), ("csv", 0)])
def test_progress_does_not_write_between_the_rows_of_a_terminal(monkeypatch, format, shown):
    error = stand_still(monkeypatch)
    monkeypatch.setattr(writers, "BLOCK", 4)
    monkeypatch.setattr(sys, "stdout", Terminal())
    with Output(None, format, COLUMNS) as out:
        out._writer = Silent()
        out._progress._timer.strike()
        for k in range(shown):
            out.write(row(k))
            assert out._progress._bar is not None
        out.write(row(shown))
        assert out._progress._bar is None
        until_then = error.getvalue()
        assert "molecules" in until_then
        out.write(row(0))
    assert error.getvalue() == until_then
