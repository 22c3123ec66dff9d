"""What columns of values are."""

import pytest

from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.fitting.columns import read_columns
from molgeo.runtime.errors import InputError, SettingError


def rows_of(cells, title="y", **others):
    return [
        SmilesRow("C" * (k + 1), extra={title: cell, **{n: v[k] for n, v in others.items()}})
        for k, cell in enumerate(cells)
    ]


def columns(cells, title="y", wanted="y", unit="", kind="auto", **others):
    return read_columns(rows_of(cells, title, **others), [wanted], [unit], kind, "mine.csv")


def test_a_bound_sets_its_row_aside_and_is_counted():
    (one,), rows, remarks = columns(["1", "<2", "3", "", "4"])
    assert one.classes == ()
    assert isinstance(rows[1], BadRow)
    assert rows[1].message == "'<2' in y is a bound, not a value"
    assert rows[3].extra["y"] is None
    assert remarks == ["y: 1 of 4 values is left out: it is a bound, not a value"]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1,234", "0,5", "-2,125"], [1.234, 0.5, -2.125]),
        (["1,234", "1,234,567", "12"], [1234.0, 1234567.0, 12.0]),
        (["1,234", "1,500.5", "12.5"], [1234.0, 1500.5, 12.5]),
        (["1,234 mM", "2,5 mM", "3 mM"], [1.234, 2.5, 3.0]),
    ],
)
def test_other_cells_tell_what_a_comma_is(cells, values):
    _, rows, _ = columns(cells)
    assert [row.extra["y"] for row in rows] == values


def test_a_comma_that_may_be_either_is_refused():
    """What has none would be learned alone, and is no fair sample."""
    for cells in (
        ["1,234", "2,345", "12", "15"],
        ["1,234", "0,5", "1,234,567"],
        ["93,3", "3.258", "12"],
    ):
        with pytest.raises(SettingError, match=r"y: [12] of [34] values have a comma or a point"):
            columns(cells)


def test_whole_numbers_that_may_be_classes():
    _, _, remarks = columns([str(k % 3) for k in range(60)])
    assert remarks == [
        "y: 0, 1, 2 are learned as numbers, so that 1 is more than 0; of classes molgeo learns two "
        "at a time, in a column of their own"
    ]
    assert columns([str(k % 7) for k in range(60)])[2] == []


def test_a_unit_in_the_title():
    (one,), _, remarks = columns(["1", "2", "4"], "logS (log mol/L)", "logS")
    assert (one.name, one.unit) == ("logS", "log mol/L")
    assert "taken to be 'log mol/L'" in remarks[0]
    (one,), _, remarks = columns(["1", "2", "4"], "Measured [kcal/mol]", "measured", "kJ/mol")
    assert (one.unit, remarks) == ("kJ/mol", [])


def test_a_title_as_a_quotient():
    (one,), _, _ = columns(["1", "2", "4"], "ΔG / kcal/mol", "ΔG")
    assert (one.name, one.unit) == ("ΔG", "kcal/mol")
    (one,), _, _ = columns(["1", "2", "4"], "b/a", "b/a")
    assert (one.name, one.unit) == ("b/a", "")


def test_a_value_that_may_be_a_slip_is_named():
    _, _, remarks = columns(["1", "2", "3", "4", "-1e6"])
    assert remarks == [
        "y: very far from the others: 1 of 5 values, such as -1e+06 beside a median of 2; look "
        "whether that is right"
    ]


def test_mixed_units_are_refused():
    with pytest.raises(SettingError, match="values have the unit 'uM', the title has another"):
        columns(["1 uM", "2 uM", "4 uM"], "y (mM)")
    assert columns(["1 uM", "2 uM", "4 uM"], "y (mM)", unit="uM")[0][0].unit == "uM"
    with pytest.raises(SettingError, match=r"'mM' in 2 rows, 'uM' in 1 row; 'uM' first in"):
        columns(["1 mM", "2 mM", "4 uM"])
    (one,), rows, _ = columns(["1 mM", "2 mM", "3 mM", "4 uM", "5"], unit="mM")
    assert (one.unit, [row.extra["y"] for row in rows[:3]]) == ("mM", [1.0, 2.0, 3.0])
    assert [row.message for row in rows[3:]] == [
        "'4 uM' in y is in uM, not in mM",
        "'5' in y is in no unit, not in mM",
    ]
    (one,), rows, _ = columns(["1 mM", "2 mM", "4 mM"])
    assert (one.unit, [row.extra["y"] for row in rows]) == ("mM", [1.0, 2.0, 4.0])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["good", "bad", "fair"], "text in 3 of 3 rows, with 3 different values: 'good' in 1"),
        (["2", "2.0", "2"], "all values are 2: there is nothing to learn"),
        (["inf", "-inf", "1"], "all values are 1"),
    ],
)
def test_columns_that_cannot_be_learned(cells, message):
    with pytest.raises(SettingError, match=message):
        columns(cells)
    with pytest.raises(InputError, match="y: expected values, got none in 2 rows"):
        columns(["", "nan"])


def test_two_classes():
    (one,), rows, remarks = columns(["active", "inactive", "", "active"])
    assert one.classes == ("inactive", "active")
    assert [row.extra["y"] for row in rows] == [1.0, 0.0, None, 1.0]
    assert "the model gives the probability of 'active'" in remarks[0]
    (one,), rows, _ = columns(["0", "1", "1"])
    assert (one.classes, [row.extra["y"] for row in rows]) == (("0", "1"), [0.0, 1.0, 1.0])
    (one,), _, _ = columns(["0", "1", "1"], kind="regression")
    assert one.classes == ()
    with pytest.raises(SettingError, match="expected two classes, got 3 different numbers"):
        columns(["0", "1", "2"], kind="classification")


def test_classes_may_be_signs_and_differ_by_case():
    (one,), rows, _ = columns(["+", "-", "", "−", "+"])
    assert one.classes == ("-", "+")
    assert [row.extra["y"] for row in rows] == [1.0, 0.0, None, 0.0, 1.0]
    (one,), rows, _ = columns(["Yes", "No", "yes", "#N/A", "no", "No"])
    assert one.classes == ("No", "Yes")
    assert [row.extra["y"] for row in rows] == [1.0, 0.0, 1.0, None, 0.0, 0.0]


def test_conditions_in_a_title_are_no_unit():
    for title in ("logD (pH 7.4)", "logD [25 °C]", "logD (exp.)", "logD (n=3)", "logD (mean)"):
        (one,), _, remarks = columns(["1", "2", "4"], title, "logD")
        assert (one.name, one.unit, remarks) == ("logD", "", [])
    for unit in ("10^-6 cm/s", "1/cm", "kcal/mol", "K", "C/g", "M"):
        assert columns(["1", "2", "4"], f"x ({unit})", "x")[0][0].unit == unit


def test_values_of_many_decades_call_for_logarithms():
    _, _, remarks = columns(["0.1", "1", "10", "200", "5000"])
    assert "a column of logarithms suits them better" in remarks[-1]
    assert columns(["-1", "1", "10", "200", "5000"])[2] == []


def test_a_function_is_no_name_of_what_stands_in_brackets():
    (one,), _, remarks = columns(["1", "2", "4"], "log(S)", "log(S)")
    assert (one.name, one.unit, remarks) == ("log(S)", "", [])
    (one,), _, _ = columns(["1", "2", "4"], "logS (log(mol/L))", "logS")
    assert (one.name, one.unit) == ("logS", "log(mol/L)")


def test_other_columns_that_tell_the_value():
    others = {"logP_calc": ["9", "8", "7"], "copy": ["1", "2.0", "4"], "mass": ["3", "1", "2"]}
    _, _, remarks = columns(["1", "2", "4"], "logP", "logP", **others)
    assert remarks == [
        "'logP_calc', 'copy' may tell logP; the model does not see them, as it takes nothing but "
        "the molecules"
    ]


def test_a_short_name_is_no_part_of_a_word():
    others = {"density": ["9", "8", "7"], "y_log": ["3", "1", "2"]}
    _, _, remarks = columns(["1", "2", "4"], **others)
    assert [one.split(" may tell")[0] for one in remarks] == ["'y_log'"]


def test_a_title_that_is_not_there_or_is_there_twice():
    with pytest.raises(
        SettingError, match=r"no column 'logs'.*; beside the molecules there are 'y'"
    ):
        columns(["1", "2"], wanted="logs")
    rows = [SmilesRow("C", extra={"S (a)": "1", "S (b)": "2"})]
    with pytest.raises(SettingError, match=r"'S' may be 'S \(a\)' or 'S \(b\)': name one"):
        read_columns(rows, ["S"], [""], "auto", "x")
