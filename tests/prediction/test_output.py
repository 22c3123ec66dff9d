import io
import os
import sys

import pytest

from molgeo.prediction.output import check_output
from molgeo.prediction.settings import OutputSettings
from molgeo.runtime.errors import InputError


class Terminal(io.StringIO):
    def isatty(self):
        return True


def check(output, format=None, inputs=(), **settings):
    return check_output(OutputSettings(output, format, **settings), inputs)


@pytest.mark.parametrize(
    ("output", "format", "expected"),
    [
        (None, None, "csv"),
        ("-", "csv", "csv"),
        ("a.csv", None, "csv"),
        ("a.JSON", None, "json"),
        ("a.jsonl", None, "jsonl"),
        ("a.txt", None, "table"),
        ("a.tsv", None, "tsv"),
        ("a.sdf", None, "sdf"),
        ("a.dat", "jsonl", "jsonl"),
        ("a.csv", "json", "json"),
    ],
)
def test_format_by_argument_or_ending(tmp_path, monkeypatch, output, format, expected):
    monkeypatch.chdir(tmp_path)
    target = check(output, format)
    assert target.format == expected
    assert target.has_journal == (output not in (None, "-"))
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_gets_a_table(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert check(None).format == check("-").format == "table"
    assert check("-", "jsonl").format == "jsonl"


def test_unknown_format_and_ending(tmp_path):
    with pytest.raises(InputError, match="unknown format 'xml': expected one of table, csv"):
        check(None, "xml")
    with pytest.raises(InputError, match="the ending says no format"):
        check(str(tmp_path / "out.dat"))
    with pytest.raises(InputError, match=r"expected a name that ends in \.sdf or \.extxyz"):
        check(None, write_geometries="out.pdb")


def test_a_folder_is_no_output(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match=r"a\.csv cannot be written: Is a directory"):
        check(str(tmp_path / "a.csv"))
    with pytest.raises(InputError, match="there is no folder"):
        check(str(tmp_path / "none" / "a.csv"))


def test_an_input_is_not_overwritten(tmp_path):
    path = tmp_path / "a.sdf"
    path.write_text("smiles\nC\n")
    for settings in ({"output": str(path)}, {"output": None, "write_geometries": str(path)}):
        with pytest.raises(InputError, match="is an input too"):
            check(**settings, inputs=["CCO", str(path)], force=True)


def test_what_is_there_is_not_overwritten_without_force(tmp_path):
    path, other = tmp_path / "a.csv", tmp_path / "a.sdf"
    for each in (path, other):
        each.write_text("old")
    with pytest.raises(InputError, match=r"a\.csv exists: --force replaces it"):
        check(str(path))
    with pytest.raises(InputError, match=r"a\.sdf exists: --force replaces it"):
        check(None, write_geometries=str(other))
    assert check(str(path), write_geometries=str(other), force=True).path == path.resolve()
    assert path.read_text() == other.read_text() == "old"


def test_one_file_is_not_two_outputs(tmp_path):
    path = str(tmp_path / "a.sdf")
    with pytest.raises(InputError, match="give two files"):
        check(path, write_geometries=path)


def test_a_device_or_a_pipe_is_written_to_as_it_is(tmp_path):
    assert not check(os.devnull, "csv").has_journal
    os.mkfifo(tmp_path / "pipe.csv")
    assert not check(str(tmp_path / "pipe.csv")).has_journal


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert check(str(tmp_path / "link.csv")).path == (tmp_path / "real.csv").resolve()


def test_standard_output_cannot_be_gone_on_with():
    with pytest.raises(InputError, match="--resume goes on with a file"):
        check(None, resume=True)
