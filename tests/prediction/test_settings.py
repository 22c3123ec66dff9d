import inspect

import pytest

import molgeo
from molgeo.cli import program as cli
from molgeo.prediction.settings import OutputSettings, PredictSettings, takes_settings

FIELDS = ["model", "properties", "conformers", "batch_size", "device", "strict", "geometry"]


def seen(inputs, settings):
    """One line.

    Args:
        inputs: any.
        settings: each.
    """
    return inputs, settings


def test_each_setting_is_an_argument_with_its_default():
    signature = inspect.signature(molgeo.predict)
    assert list(signature.parameters)[:8] == ["inputs", *FIELDS]
    assert signature.parameters["geometry"].default == "auto"
    assert signature.parameters["conformers"].default is None


def test_each_setting_is_documented():
    listed = molgeo.predict.__doc__.split("Settings:")[1].splitlines()
    assert [line.split(":")[0].strip() for line in listed if line][: len(FIELDS)] == FIELDS


def test_settings_by_place_and_by_name():
    call = takes_settings(seen)
    assert call("C") == ("C", PredictSettings())
    assert call(["C"], "m", "gap", strict=True)[1] == PredictSettings("m", "gap", strict=True)
    assert call(inputs="C", geometry="given")[1].geometry == "given"


def test_a_typo_names_the_nearest():
    with pytest.raises(TypeError, match="seen: no argument 'modle'; did you mean 'model'"):
        takes_settings(seen)("C", modle="m")
    with pytest.raises(TypeError, match="no argument 'zzz'; known: inputs, model"):
        takes_settings(seen)("C", zzz=1)


def test_each_setting_is_an_option_of_the_command():
    options = vars(cli.build_parser().parse_args(["predict", "C"]).predict)
    for kind in (PredictSettings, OutputSettings):
        for name, default in vars(kind()).items():
            assert options.pop(name) == default
    assert options == {"inputs": ["C"]}


@pytest.mark.parametrize("name", ["max_atoms", "max_seconds", "max_memory"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "many"])
def test_limits_are_numbers_above_zero(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a .*number .* got"):
        PredictSettings(**{name: value})
