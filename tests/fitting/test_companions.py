"""Columns that say how a value is meant."""

import pytest

from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.fitting.columns import read_columns
from molgeo.runtime.errors import SettingError


def columns(target, named="", **cells):
    """Read a table whose titles have spaces in place of underscores."""
    titles = {name: name.replace("_", " ") for name in cells}
    n = len(next(iter(cells.values())))
    rows = [
        SmilesRow(
            "C" * (k + 1),
            input=f"mine.csv:{k + 2}",
            extra={titles[name]: own[k] for name, own in cells.items()},
        )
        for k in range(n)
    ]
    return read_columns(rows, [target], [named], "auto", "mine.csv")


def test_a_relation_tells_bounds():
    (one,), rows, remarks = columns(
        "Standard Value",
        Standard_Value=["1", "2", "3", "4", "7"],
        Standard_Relation=["'='", "'>'", "", "<=", "~"],
    )
    assert one.unit == ""
    assert [isinstance(row, BadRow) for row in rows] == [False, True, False, True, False]
    what = "a bound, not a value, by 'Standard Relation'"
    assert rows[1].message == f"'2' in Standard Value is {what}"
    assert remarks == [f"Standard Value: 2 of 5 values are left out: each is {what}"]


@pytest.mark.parametrize("title", ["Standard_Units", "units"])
def test_units_stand_in_a_column_of_their_own(title):
    cells = {"Standard_Value": ["1", "2", "3", ""], title: ["nM", "nM", "nM", "%"]}
    (one,), _, remarks = columns("Standard Value", **cells)
    assert one.unit == "nM"
    assert remarks == ["Standard Value: the unit is taken to be 'nM'; --unit names another"]
    cells[title] = ["nM", "uM", "nM", ""]
    with pytest.raises(SettingError, match=r"'uM' in 1 row; 'uM' first in mine.csv:3; bring all"):
        columns("Standard Value", **cells)


def test_a_unit_that_is_named_leaves_others_out():
    cells = {"y": ["1", "2", "3", "4"], "unit": ["nM", "uM", "nM", "nM"]}
    (one,), rows, _ = columns("y", "nM", **cells)
    assert one.unit == "nM"
    assert [isinstance(row, BadRow) for row in rows] == [False, True, False, False]
    assert rows[1].message == "'2' in y is in uM, not in nM"
    cells["unit"] = ["Unit 1", "Unit 2", "Unit 1", "Unit 3"]
    (one,), rows, _ = columns("y", "nM", **cells)
    assert one.unit == "nM"
    assert not any(isinstance(row, BadRow) for row in rows)


def test_columns_of_other_values_say_nothing():
    (one,), rows, remarks = columns(
        "IC50",
        IC50=["1", "2", "3"],
        dose_units=["mg", "ug", "mg"],
        dose_relation=["=", ">", "="],
        sign=["=", ">", "="],
        community=["a", "b", "c"],
    )
    assert (one.unit, remarks) == ("", [])
    assert not any(isinstance(row, BadRow) for row in rows)


def test_a_relation_that_is_none_is_left_alone():
    _, rows, _ = columns("y", y=["1", "2", "3"], relation=["uncle", ">", "="])
    assert not any(isinstance(row, BadRow) for row in rows)


def test_values_of_several_kinds_are_told():
    _, _, remarks = columns(
        "Standard Value", Standard_Value=["1", "2", "3"], Standard_Type=["IC50", "Ki", "IC50"]
    )
    assert remarks == [
        "Standard Value: 'Standard Type' tells values of several kinds apart, 'IC50' in 2 rows, "
        "'Ki' in 1 row; they are learned as one: keep the rows of one kind if they are not the "
        "same quantity"
    ]
