"""How a fit is asked for."""

import pytest

from molgeo.fitting.settings import FitSettings
from molgeo.runtime.errors import SettingError


@pytest.mark.parametrize(
    ("given", "titles"),
    [
        ("logS", ["logS"]),
        ("logS, logP", ["logS", "logP"]),
        ('"solubility, corrected", logP', ["solubility, corrected", "logP"]),
        (["solubility, corrected"], ["solubility, corrected"]),
        ('d 5" tube', ['d 5" tube']),
    ],
)
def test_titles_are_parted_by_commas_but_those_in_quotes(given, titles):
    assert FitSettings(target=given).titles == titles
    assert FitSettings(target=given).units == [""] * len(titles)


@pytest.mark.parametrize("nothing", [None, "", " , ", []])
def test_a_target_is_needed(nothing):
    with pytest.raises(SettingError, match="target: expected the title of a column"):
        FitSettings(target=nothing)


def test_each_target_has_a_unit():
    assert FitSettings(target="a,b", unit="eV,D").units == ["eV", "D"]
    with pytest.raises(SettingError, match="unit: expected one for each of 2 targets, got 1"):
        FitSettings(target="a,b", unit="eV")
