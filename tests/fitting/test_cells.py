"""What cells say."""

import math

import pytest

from molgeo.fitting.cells import Cell, cell_of, comma_of, of_signs, without_placeholders


@pytest.mark.parametrize(
    ("cell", "value", "unit"),
    [
        ("1.5", 1.5, ""),
        (" -2e3 ", -2000.0, ""),
        ("−3.2", -3.2, ""),
        ("3,5", 3.5, ""),
        ("1.2 ± 0.1", 1.2, ""),
        ("1.2+/-0.1 eV", 1.2, "eV"),
        ("1.23(4)", 1.23, ""),
        ("~ 5 mg/L", 5.0, "mg/L"),
        (7, 7.0, ""),
        ("1.234,5", 1234.5, ""),
        ("1.234.567", 1234567.0, ""),
        ("1'234.5 kg", 1234.5, "kg"),
        ("1 234", 1234.0, ""),
        ("12 345,5 mg", 12345.5, "mg"),
    ],
)
def test_numbers_as_people_write_them(cell, value, unit):
    found = cell_of(cell)
    assert (found.value, found.unit, found.fault) == (value, unit, "")


@pytest.mark.parametrize("cell", ["", None, "NaN", "n/a", float("nan"), "-", "—"])
def test_what_is_missing(cell):
    found = cell_of(cell)
    assert math.isnan(found.value)
    assert not found.fault


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("<0.5", "is a bound"),
        (">= 10", "is a bound"),
        ("inf", "is not finite"),
        ("high", "is no number"),
        ("1,234", "decimal mark or one of thousands"),
        ("1-Mar", "is no number"),
        (True, "is no number"),
    ],
)
def test_what_is_no_value(cell, fault):
    assert fault in cell_of(cell).fault


@pytest.mark.parametrize(
    ("cells", "comma"),
    [
        (["1,234", "0,5"], "decimal"),
        (["3.258", "93,3"], "decimal"),
        (["1.234,5"], "decimal"),
        (["1.234.567"], "decimal"),
        (["1,234", "12.5"], "thousands"),
        (["1,234,567"], "thousands"),
        (["0,5", "0.5"], "both"),
        (["1,234", "3.258", "7", None, 2.5], ""),
    ],
)
def test_numbers_that_can_be_read_in_one_way_tell_what_a_comma_is(cells, comma):
    assert comma_of(cells) == comma


def test_a_point_among_decimal_commas_may_be_one_of_thousands():
    assert "mark or one of thousands" in cell_of("3.258", "decimal").fault
    assert cell_of("3.258").value == 3.258
    assert cell_of("3.25", "decimal").value == 3.25
    assert cell_of(3.258, "decimal").value == 3.258


def test_nines_far_from_all_others_stand_for_missing_values():
    texts = ["-999", "1.5", "-2", "-999.0", "99", "", "-99999", "-99999"]
    found = without_placeholders(list(map(cell_of, texts)))
    assert [bool(one.fault) for one in found] == [k in (0, 3, 6, 7) for k in range(8)]
    assert "stand for a missing value, far from all others: -999" in found[0].fault
    # Once is a slip, and within the range of others it is a value.
    for values in ([-999, 1, 2], [99, 99, 0, 100], [99, 99, 5]):
        cells = [Cell(float(one)) for one in values]
        assert without_placeholders(cells) == cells


def test_signs_are_classes_if_a_column_has_nothing_else():
    assert [one.text for one in of_signs(["+", "−", None, "n/a", "-"])] == ["+", "-", "", "", "-"]
    assert of_signs(["-", "1", "-"]) == of_signs(["+", "-", 1.5]) == of_signs(["-", ""]) == []
