import io
import sys

import pytest

from molgeo.data.qm9.properties import PROPERTIES, named
from molgeo.prediction import tables
from molgeo.prediction.layout import Layout
from molgeo.prediction.tables import TableWriter

COLUMNS = ["gap_eV", "u0_eV", "mu_debye", "u0_atomization_eV"]
OUTPUTS = {one.column: one for one in (*named(["gap", "u0", "mu"]), PROPERTIES["u0"].atomization)}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def row(k, smiles="CCO", message="", reason="", **values):
    return {
        "id": k,
        "name": "",
        "input": smiles,
        "smiles": smiles,
        "formula": "C2H6O",
        "n_atoms": 9,
        "geometry": "etkdg+mmff",
        "status": "error" if message else "ok",
        "message": message,
        "in_domain": None if message else not reason,
        "domain_reason": reason,
        "model": "toy",
        "level_of_theory": "",
        **dict.fromkeys(COLUMNS),
        **values,
    }


def digits(row):
    return {}


def table(rows, columns=COLUMNS, file=None, digits=digits):
    file = file or io.StringIO()
    writer = TableWriter(file, Layout(columns, OUTPUTS, digits))
    for each in rows:
        writer.write(each)
    writer.close()
    return file.getvalue()


VALUES = {"gap_eV": 6.5, "u0_eV": -4212.34567, "mu_debye": 1.5, "u0_atomization_eV": -33.1}


def test_one_molecule_is_a_list_with_units():
    lines = table([row(0, **VALUES)]).splitlines()
    assert lines[0] == "CCO"
    assert lines[1] == "C2H6O  9 atoms  etkdg+mmff  toy"
    assert [line.split()[-2:] for line in lines[2:]] == [
        ["6.5000", "eV"],
        ["-4212.3457", "eV"],
        ["1.5000", "D"],
        ["-33.1000", "eV"],
    ]
    assert "total" in lines[3]
    assert "atomization" in lines[5]
    assert len({line.rindex("  ") for line in lines[2:]}) == 1


def test_one_molecule_with_a_spread_over_conformers():
    columns = [*COLUMNS, "gap_eV_conformer_std"]
    text = table([row(0, **VALUES, gap_eV_conformer_std=0.25)], columns)
    assert "6.5000  ± 0.2500  eV" in text


def test_digits_that_mean_nothing_are_not_shown_and_points_stand_below_each_other():
    def some(row):
        return {"gap_eV": 1, "u0_eV": 3, "u0_atomization_eV": 3}

    text = table([row(0, **VALUES)], digits=some)
    lines = [line for line in text.splitlines() if line.endswith(("eV", "D"))]
    assert [line.split()[-2] for line in lines] == ["6.5", "-4212.346", "1.5000", "-33.100"]
    assert len({line.rindex(".") for line in lines}) == 1


def test_an_interval_is_a_column_of_the_list():
    columns = [*COLUMNS, "gap_eV_low90", "gap_eV_high90"]
    text = table([row(0, **VALUES, gap_eV_low90=6.25, gap_eV_high90=6.75)], columns)
    assert "90%: 6.2500 … 6.7500" in text


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_a_list_fits_a_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    suffixes = ("_std", "_low90", "_high90")
    columns = [name + s for name in COLUMNS for s in ("", *suffixes)]
    values = VALUES | {name + s: VALUES[name] for name in COLUMNS for s in suffixes}
    text = table([row(0, **values)], columns, Terminal())
    assert max(map(len, text.splitlines())) <= width
    assert text.count("90%:") == len(COLUMNS)


def test_errors_stand_beside_their_values_on_a_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    columns = ["gap_eV", "gap_eV_std", "gap_eV_conformer_std", "mu_debye"]
    values = {"gap_eV": 6.5, "gap_eV_std": 0.25, "gap_eV_conformer_std": 0.125, "mu_debye": 1.0}
    text = table([row(k, **values) for k in range(2)], columns, Terminal())
    assert "6.5000 ± 0.2500" in text
    assert "gap_eV_std" not in text
    assert "gap_eV_conformer_std" in text


def test_no_error_bar_of_a_terminal_leaves_the_range_of_its_property(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    columns = ["mu_debye", "mu_debye_std", "gap_eV", "gap_eV_std"]
    mu = [{"mu_debye": value, "mu_debye_std": 0.25} for value in (0.125, 1.5)]
    gap = {"gap_eV": 6.5, "gap_eV_std": 0.25}
    rows = [row(k, **one, **gap) for k, one in enumerate(mu)]
    text = table(rows, columns, Terminal(), lambda row: dict.fromkeys(columns, 3))
    lines = text.splitlines()[1:3]
    assert "0.125 (0 … 0.375)  6.500 ± 0.250" in lines[0]
    assert "1.500 ± 0.250      6.500 ± 0.250" in lines[1]
    text = table(rows[:1], columns, digits=lambda row: dict.fromkeys(columns, 3))
    assert "0.125  (0 … 0.375)  D" in text
    assert "6.500  ± 0.250      eV" in text


@pytest.mark.parametrize("file", [io.StringIO, Terminal])
@pytest.mark.parametrize("n", [1, 2])
def test_escapes_in_names_and_messages_are_shown_not_sent(monkeypatch, file, n):
    monkeypatch.setenv("TERM", "dumb")
    evil = "\x1b]0;title\x07\x9b31m\u202egnp\r\n\ud800"
    rows = [row(k, message=evil) | {"name": evil, "model": evil} for k in range(n)]
    text = table(rows, file=file())
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "\\x1b]0;title" in text
    assert text.count("\\u202e") >= 2


def test_one_bad_molecule_is_its_message():
    assert table([row(0, message="what to do")]).endswith("error: what to do\n")


def test_many_molecules_are_aligned_lines():
    rows = [row(0, **VALUES), row(1, "C" * 60, **VALUES), row(2, "C1CC", message="unclosed ring")]
    head, first, second, third = table(rows).splitlines()
    assert head.split() == ["id", "molecule", *COLUMNS, "domain", "model", "message"]
    assert first.index("6.5000") == second.index("6.5000")
    assert second.split()[1] == "C" * 31 + "…"
    assert third.split() == ["2", "C1CC", *"-----", "toy", "unclosed", "ring"]


def test_blocks_share_one_header_and_their_widths(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK", 2)
    lines = table([row(k, **VALUES) for k in range(5)]).splitlines()
    assert len(lines) == 6
    assert [line.split()[0] for line in lines] == ["id", "0", "1", "2", "3", "4"]
    assert len({line.index("6.5000") for line in lines[1:]}) == 1


def test_a_pipe_is_as_wide_as_it_is_said_to_be(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    rows = [row(k, **VALUES) for k in range(2)]
    monkeypatch.delenv("COLUMNS", raising=False)
    assert len(table(rows, file=sys.stdout).splitlines()) == 3
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("COLUMNS", "50")
    text = table(rows, file=sys.stdout)
    assert max(map(len, text.splitlines())) <= 50
    assert text.splitlines()[-1] == "model: toy"
    assert len(table(rows).splitlines()) == 3  # a file has no width


@pytest.mark.parametrize("width", [40, 60, 200])
def test_on_a_terminal_every_line_fits(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    text = table([row(0, **VALUES), row(1, "C1CC", message="m " * 60)], file=Terminal())
    assert max(map(len, text.splitlines())) <= width
    assert all(name in text for name in COLUMNS)
    assert "row 1 (C1CC): m m m" in text


def test_the_model_is_named_below_the_table_of_a_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(tables, "BLOCK", 2)
    for n in (2, 5):
        text = table([row(k, **VALUES) for k in range(n)], file=Terminal())
        assert text.count("toy") == 1
        assert text.splitlines()[-1].count("model: toy") == 1
    assert table([], file=Terminal()) == ""


def test_a_smiles_is_no_markup(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = table([row(k, "[nH]1[bold]:c:", **VALUES) for k in range(2)], file=Terminal())
    assert "[nH]1[bold]:c:" in text


def test_a_molecule_outside_the_domain_is_marked_and_its_reason_said(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [row(0, **VALUES), row(1, "N=N", reason="rare bond X (in none)", **VALUES)]
    text = table(rows, file=Terminal())
    assert "1  N=N !" in text
    assert "CCO !" not in text
    assert "row 1 (N=N): outside the domain: rare bond X (in none)" in text
    assert table(rows[1:]).splitlines()[2] == "outside the domain: rare bond X (in none)"
    inside, outside = table(rows).splitlines()[1:]
    assert inside.split()[-3:] == ["inside", "toy", "-"]
    assert outside.split()[-6:] == ["toy", "rare", "bond", "X", "(in", "none)"]


def test_the_level_of_theory_stands_with_the_model(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    rows = [row(k, **VALUES, level_of_theory="B3LYP") for k in range(2)]
    assert table(rows, file=Terminal()).splitlines()[-1].count("model: toy (B3LYP)") == 1
    assert table(rows[:1]).splitlines()[1].endswith("  toy  B3LYP")
