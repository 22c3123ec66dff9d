import dataclasses
import math

import pytest

from molgeo import Property
from molgeo.properties import check_properties, first_energy

ENERGY = Property("e", "eV", "sum", is_energy=True, description="energy, total")


@pytest.mark.parametrize(
    ("name", "unit", "column"),
    [
        ("logS", "log mol/L", "logS_log_mol_L"),
        ("density", "g/cm³", "density_g_cm_"),
        ("ring_count", "", "ring_count"),
        ("gap", "eV", "gap_eV"),
        ("μ", "e·Å", "μ_e_Å"),
    ],
)
def test_the_column_is_the_name_with_its_unit(name, unit, column):
    assert Property(name, unit).column == column
    assert Property(name, unit, column="own_name").column == "own_name"


def test_what_is_not_given():
    logs = Property("logS", "log mol/L")
    assert (logs.head, logs.symbol, logs.is_energy, logs.minimum) == (
        "mean",
        "logS",
        False,
        -math.inf,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        logs.unit = "mol"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "property '': name: expected letters, digits and _, got ''"),
        ({"name": "a,b"}, "name: expected letters, digits and _, got 'a,b'"),
        ({"name": "a b"}, "name: expected letters"),
        ({"name": "x" * 61}, "name: expected printable text of at most 60 characters"),
        ({"name": 3}, "name: expected printable text"),
        ({"unit": "e\x1bV"}, "unit: expected printable text of at most 40"),
        ({"unit": "x" * 41}, "unit: expected printable text of at most 40"),
        ({"symbol": "\n"}, "symbol: expected printable text"),
        ({"description": "x" * 201}, "description: expected printable text of at most 200"),
        ({"column": "=1+1"}, "column: expected letters, digits and _, got '=1\\+1'"),
        (
            {"head": "max"},
            "head: expected one of sum, mean, orbital, dipole, extent, moments, kernel",
        ),
        ({"minimum": math.nan}, r"minimum: expected -1e\+15 to 1e\+15, or -inf for none, got nan"),
        ({"maximum": math.nan}, r"maximum: expected -1e\+15 to 1e\+15, or inf for none, got nan"),
        ({"minimum": 1, "maximum": 1}, "maximum: expected a number above the minimum, 1, got 1"),
        (
            {"is_energy": True},
            "is_energy: expected True for a property of unit 'eV' and head 'sum'",
        ),
    ],
)
def test_fields_that_mean_nothing(fields, message):
    with pytest.raises(ValueError, match=message):
        Property(**{"name": "a", "unit": "eV", **fields})


def test_atomization_energy():
    free = ENERGY.atomization
    assert (free.name, free.column) == ("e_atomization", "e_atomization_eV")
    assert (free.description, free.symbol) == ("energy, atomization", "e at.")
    assert free.total is ENERGY
    assert not free.is_energy
    assert not Property("e", "eV", "sum", is_energy=True, maximum=0).atomization.is_bounded


def test_equal_are_those_whose_labels_are_the_same():
    same = Property("a", "eV", symbol="A", description="another text", minimum=0.0)
    assert same == Property("a", "eV") == Property("a", "eV", "orbital")
    assert same != Property("a", "kcal/mol")
    assert same != Property("b", "eV")
    assert Property("e", "eV", "sum") != ENERGY


def test_the_first_energy():
    assert first_energy([Property("a", "eV"), ENERGY]) is ENERGY
    assert first_energy([Property("a", "eV")]) is None


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ([], "expected 1 to 1000 of molgeo.Property, got 0"),
        ("gap", "got 'gap'"),
        (["gap"], "got 'gap'"),
        ([ENERGY] * 2, "expected each name once, got e, e"),
        (
            [Property("a", "m/s"), Property("a_m", "s")],
            "expected each column once, got a_m_s, a_m_s",
        ),
        ([ENERGY, Property("e_atomization", "eV")], "each name once, got e_atomization"),
        (
            [ENERGY, Property("h", "kcal/mol", "sum", tied_to=("e", 1.0))],
            "h is tied to e, so they need one unit and head, got kcal/mol and eV",
        ),
    ],
)
def test_properties_that_cannot_be_together(properties, message):
    with pytest.raises(ValueError, match=message):
        check_properties(properties)
