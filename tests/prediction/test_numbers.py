import numpy as np
import pytest

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.prediction.columns import CONFORMER_COLUMNS, INTERVAL_COLUMNS, STD, SUFFIXES
from molgeo.prediction.conformer_average import conformer_average
from molgeo.prediction.numbers import Numbers
from molgeo.predictor.calibration import Calibration, Scale

KEYS = [*PROPERTIES, "u0_atomization"]
OUTPUTS = [*PROPERTIES.values(), PROPERTIES["u0"].atomization]
CALIBRATION = Calibration(8, 100, {name: Scale(0.5, 1.5, 3.0) for name in PROPERTIES})
POSITIVE = ["mu", "alpha", "gap", "r2", "zpve", "cv"]


def numbers(value, suffixes=SUFFIXES, calibration=CALIBRATION, of_conformers=True, n=3):
    values = np.full((n, len(KEYS)), value) + 0.1 * np.arange(n)[:, None]
    return Numbers(OUTPUTS, suffixes, calibration).of(values, np.arange(n) * 0.05, of_conformers)


def test_norms_extents_and_gaps_are_not_negative_and_all_else_may_be():
    assert [name for name, known in PROPERTIES.items() if known.minimum == 0] == POSITIVE
    found = numbers(-7.0)
    for key in KEYS:
        name = key.removesuffix("_atomization")
        column = PROPERTIES[name].column if name == key else f"{key}_eV"
        for suffix in ("", "_low90", "_high90", "_lowest", "_boltzmann"):
            value = found[column + suffix]
            assert value == 0 if name in POSITIVE else value < 0


def test_only_the_end_that_cannot_be_is_cut():
    found = numbers(1.0)
    average = conformer_average(np.array([[1.0], [1.1], [1.2]]), np.array([0.0, 0.05, 0.1]))
    half = 3.0 * (0.5 + average.std[0])
    assert found["mu_debye"] == pytest.approx(average.value[0])
    assert found["mu_debye_low90"] == 0
    assert found["mu_debye_high90"] == pytest.approx(average.value[0] + half)
    assert found["homo_eV_low90"] == pytest.approx(average.value[0] - half)
    assert found["mu_debye_std"] == pytest.approx(1.5 * (0.5 + average.std[0]))


def test_columns_of_a_property_stand_side_by_side():
    names = list(numbers(1.0))
    assert names[:7] == ["mu_debye" + suffix for suffix in SUFFIXES]
    assert ("", STD, *INTERVAL_COLUMNS, *CONFORMER_COLUMNS) == SUFFIXES
    assert names[7] == "alpha_bohr3"


def test_given_geometries_have_values_only():
    assert set(numbers(1.0, of_conformers=False, n=1)) == {
        name for name in numbers(1.0) if not name.endswith(SUFFIXES[1:])
    }


def test_without_a_calibration_nothing_is_said_of_errors():
    found = numbers(1.0, calibration=None)
    assert "mu_debye_conformer_std" in found
    assert not [name for name in found if name.endswith(("90", "V_std", "debye_std"))]


def test_what_is_not_finite_is_left_out():
    values = np.full((1, len(KEYS)), np.nan)
    assert Numbers(OUTPUTS, SUFFIXES, None).of(values, np.zeros(1), False) == {}
