"""From the header and weights of an older format to those of the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch import Tensor

from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor.checkpoint.fields import FieldError, each, one_of, refuse
from molgeo.predictor.checkpoint.header import Header, config_record

Weights = dict[str, Tensor]

NAMED: Final = {**PROPERTIES, ENERGY.name: ENERGY}
"""What the names of properties stand for in files of format 1, which hold nothing but names."""


def with_whole_properties(header: Header, weights: Weights) -> tuple[Header, Weights]:
    """Format 1 → 2: properties are stored whole, with units and heads."""
    config: Any = header.get("config")
    if not isinstance(config, dict):
        raise refuse("config", "an object", config)
    if "properties" not in config:
        raise FieldError("config.properties: is missing")
    names = config["properties"]
    each(one_of(NAMED), 1, len(NAMED))(names, "config.properties")
    whole = config_record({**config, "properties": [NAMED[name] for name in names]})
    return {**header, "format": 2, "config": whole}, weights


MIGRATIONS: Final[dict[int, Callable[[Header, Weights], tuple[Header, Weights]]]] = {
    1: with_whole_properties,
}
"""Format version → function that takes header and weights of that version to the next.

The weights are empty if only the header is read. The header is strict JSON of a known version, but
of unknown fields.
"""
