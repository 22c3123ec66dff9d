import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.data.qm9.properties import PROPERTIES, named
from molgeo.prediction.layout import Digits, behind, decimals, rounded, text
from molgeo.predictor.header import Facts, Measured
from molgeo.properties import Property


@pytest.mark.parametrize(
    ("error", "places"),
    [
        (0.0427, 3),
        (0.1477, 2),
        (0.0996, 2),  # 0.10
        (6.65, 1),
        (9.96, 0),  # 10
        (66.5, 0),
        (1234.0, 0),
        (0.0, None),
        (-1.0, None),
        (math.nan, None),
        (math.inf, None),
        (None, None),
    ],
)
def test_two_digits_of_the_error_are_kept(error, places):
    assert decimals(error) == places


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.floats(-1e5, 1e5), st.floats(1e-6, 10))
def test_rounding_moves_a_value_by_little_of_its_error(value, error):
    places = decimals(error)
    assert abs(rounded(value, places) - value) <= 0.06 * error
    assert float(text(value, places)) == rounded(value, places)
    assert len(text(error, places).replace(".", "").lstrip("0")) == 2


def test_zeros_that_are_digits_are_kept_and_zero_has_no_sign():
    assert text(1.3, 3) == "1.300"
    assert text(-0.0001, 2) == "0.00"
    assert text(1.3, None) == "1.3"
    assert text(0.0, 20) == "0.000000000000000"
    assert math.copysign(1, rounded(-0.0001, 2)) == 1


def test_digits_that_no_float_holds_are_left_out():
    places = decimals(4e-16)
    assert text(2.7, places) == "2.70000000000000"
    assert rounded(0.1 + 0.2, places) == 0.3
    assert text(-11013.123456789012, places) == "-11013.1234567890"
    assert text(1e300, places) == f"{1e300:.0f}"
    assert text(math.nan, places) == "nan"


HEADER = Facts(
    metrics=Measured(mae={"gap_eV": 0.04, "u0_eV": 0.01}),
    from_smiles=Measured(mae={"gap_eV": 0.11}),
)


def digits(geometry="etkdg+mmff", header=HEADER, **row):
    of = Digits([*named(["gap", "u0"]), PROPERTIES["u0"].atomization], {"m": header})
    return of({"model": "m", "geometry": geometry, **row})


def test_the_rows_own_error_comes_first():
    assert digits(gap_eV_std=0.5)["gap_eV"] == 2
    assert digits(gap_eV_std=3.0)["gap_eV_low90"] == 1


def test_else_the_error_that_was_measured_at_such_geometries():
    assert digits()["gap_eV"] == 2  # 0.11
    assert digits("given")["gap_eV"] == 3
    assert digits("given")["u0_atomization_eV"] == digits("given")["u0_eV"] == 3


def test_else_all_digits_stay():
    assert digits()["u0_eV"] is None
    assert digits("given", Facts())["gap_eV"] is None


@pytest.mark.parametrize(
    ("value", "error", "minimum", "found"),
    [
        ("1.25", "0.50", 0.0, "± 0.50"),
        ("0.50", "0.50", 0.0, "± 0.50"),
        ("0.06", "0.14", 0.0, "(0 … 0.20)"),
        ("0.06", "0.14", -math.inf, "± 0.14"),
        ("1.20", "0.30", 1.0, "(1 … 1.50)"),
        ("3", "13", 0.0, "(0 … 16)"),
        ("1.25", "", 0.0, ""),
        ("", "", 0.0, ""),
    ],
)
def test_no_error_bar_leaves_the_range_of_its_property(value, error, minimum, found):
    assert behind(value, error, Property("mu", "D", minimum=minimum)) == found


@pytest.mark.parametrize(
    ("value", "error", "found"),
    [
        ("0.95", "0.03", "± 0.03"),
        ("0.95", "0.14", "(0.81 … 1)"),
        ("0.5", "0.9", "(0 … 1)"),
        ("0.05", "0.14", "(0 … 0.19)"),
    ],
)
def test_a_range_has_two_ends(value, error, found):
    assert behind(value, error, Property("share", "", minimum=0, maximum=1)) == found


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.floats(0, 1), st.floats(1e-4, 1e4))
@settings(deadline=None, max_examples=60, derandomize=True)
def test_rounding_leaves_no_range(minimum, width, place, error):
    one = Property("x", "", minimum=minimum, maximum=minimum + width)
    value = min(max(minimum + place * width, one.minimum), one.maximum)
    row = dict.fromkeys(("x", "x_low90", "x_high90", "x_lowest"), value)
    row |= {"x_std": error, "model": "m", "geometry": "given"}
    digits = Digits([one], {})(row)
    for column in ("x", "x_low90", "x_high90", "x_lowest"):
        assert one.minimum <= float(text(value, digits[column])) <= one.maximum
        assert one.minimum <= rounded(value, digits[column]) <= one.maximum
    assert digits["x_std"] == decimals(error)  # a width has no range
