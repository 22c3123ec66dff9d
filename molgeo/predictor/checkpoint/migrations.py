"""From the header and weights of an older format to those of the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch import Tensor

from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor.header import HeaderError, property_records
from molgeo.runtime.plain_text import one_line

RawHeader = dict[str, Any]
"""A header as JSON has it."""

Weights = dict[str, Tensor]

NAMED: Final = {**PROPERTIES, ENERGY.name: ENERGY}
"""What the names of properties stand for in files of format 1, which hold nothing but names."""


def with_whole_properties(header: RawHeader, weights: Weights) -> tuple[RawHeader, Weights]:
    """Format 1 → 2: properties are stored whole, and their units with them."""
    config = header.get("config")
    names = config.get("properties") if isinstance(config, dict) else None
    if not isinstance(names, list) or not all(
        isinstance(one, str) and one in NAMED for one in names
    ):
        raise HeaderError(
            f"config.properties: expected some of {', '.join(NAMED)}, got {one_line(names, 60)}"
        )
    assert isinstance(config, dict)
    whole = {**config, "properties": property_records(NAMED[name] for name in names)}
    kept = {key: value for key, value in header.items() if key != "units"}
    return {**kept, "format": 2, "config": whole}, weights


def with_familiarity(header: RawHeader, weights: Weights) -> tuple[RawHeader, Weights]:
    """Format 2 → 3: a file may hold how far molecules are from its training data; none does."""
    return {**header, "format": 3}, weights


def with_expected_errors(header: RawHeader, weights: Weights) -> tuple[RawHeader, Weights]:
    """Format 3 → 4: a file may hold how wrong forces are; none does."""
    return {**header, "format": 4}, weights


MIGRATIONS: Final[dict[int, Callable[[RawHeader, Weights], tuple[RawHeader, Weights]]]] = {
    1: with_whole_properties,
    2: with_familiarity,
    3: with_expected_errors,
}
"""Format version → function that takes header and weights of that version to the next.

The weights are empty if only the header is read. The header is strict JSON of a known version, but
of unknown fields.
"""
