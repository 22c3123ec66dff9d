"""Whatever the text, one line that a terminal shows and does not obey."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.runtime.plain_text import LINE, one_line, say


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("water", "water"),
        ("a\n\tb\r\n  c ", "a b c"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("exe.\u202egpj", r"exe.\u202egpj"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("\udcff", r"\udcff"),
        ("[/bold]", "[/bold]"),
        ("Å ⟨R²⟩ 水", "Å ⟨R²⟩ 水"),
        (ValueError("no\nway"), "no way"),
        ("", ""),
    ],
)
def test_one_line(text, expected):
    assert one_line(text) == expected


def test_the_middle_of_a_long_line_is_left_out():
    assert one_line("a" * 500 + "end") == "a" * 199 + "…" + "a" * 97 + "end"
    assert one_line("start" + " " * 10**6 + "end") == "start … end"
    assert one_line("abcdef", 3) == "a…f"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(), st.integers(3, LINE))
def test_any_text(text, most):
    line = one_line(text, most)
    assert len(line) <= most
    assert line.isprintable()
    assert one_line(line, most) == line


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=LINE))
def test_what_is_printable_and_short_is_kept(text):
    assert one_line(text) == text


def test_what_is_said_is_one_line_of_molgeos(capsys):
    say("rows of a\nb\x1b[31m")
    assert capsys.readouterr() == ("", "molgeo: rows of a b\\x1b[31m\n")
