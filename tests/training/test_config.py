"""Two kinds of runs, one flat file of keys."""

import math
from typing import get_type_hints

import pytest

from molgeo.training import ranges
from molgeo.training.config import ForceTrainingConfig, TrainingConfig, config_from


def test_the_kind_follows_from_the_data_file():
    assert type(config_from({"properties": ["gap"], "batch_size": 3})) is TrainingConfig
    got = config_from({"data": "water", "data_file": ["a.npz"], "energy_unit": "kcal/mol"})
    assert type(got) is ForceTrainingConfig
    assert got.model_name == "schnet-water"


def test_keys_of_the_other_kind_may_be_defaults_only():
    both = {**vars(TrainingConfig()), **vars(ForceTrainingConfig(data_file=["a.npz"]))}
    assert type(config_from(both)) is ForceTrainingConfig
    assert type(config_from({**both, "data": "", "data_file": []})) is TrainingConfig
    with pytest.raises(ValueError, match="energy_unit: needs data_file, got 'hartree'"):
        config_from({"energy_unit": "hartree"})
    with pytest.raises(ValueError, match="properties: has no meaning with data_file"):
        config_from({"data_file": ["a.npz"], "properties": ["gap"]})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": "gfn2"}, "data: expected 'qm9', or data_file"),
        ({"data_file": ["a"], "test_fraction": 0.0}, "test_fraction: expected a number between"),
        ({"data_file": ["a"], "force_weight": -1.0}, "force_weight: expected 0 or more, got -1"),
        ({"data_file": ["a"], "batch_size": 0}, "batch_size: expected 1 or more, got 0"),
        ({"epoch_size": -1}, "epoch_size: expected 0 or more"),
    ],
)
def test_what_means_nothing_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        config_from(fields)


def test_no_file_at_all():
    with pytest.raises(ValueError, match="data_file: expected one file or more"):
        ForceTrainingConfig()


def test_every_number_has_a_range():
    numbers = {
        name
        for kind in (TrainingConfig, ForceTrainingConfig)
        for name, hint in get_type_hints(kind).items()
        if hint in (int, float)
    }
    assert numbers == {*ranges.LEAST, *ranges.FRACTIONS, *ranges.PARTS}


@pytest.mark.parametrize("name", ["batch_size", "learning_rate", "ema_decay", "max_minutes"])
def test_no_number_is_taken_as_it_comes(name):
    for value in (math.nan, math.inf, 10**5000, -(10**5000), "3", None):
        with pytest.raises(ValueError, match=rf"^{name}: expected "):
            TrainingConfig(**{name: value})
