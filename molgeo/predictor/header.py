"""What a checkpoint says of itself, as fields with types and ranges.

`Facts` is what somebody tells of a model: its data, its training, its errors. `Header` adds what
loading needs: config, domain and self-test. Both are read by attribute, ``header.domain.elements``.
A field that nobody told has an empty default. A header may come from a stranger, so types are
strict, numbers are finite and in a range, and texts and lists are of bounded length.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    field_serializer,
    model_validator,
)

from molgeo.elements import SYMBOLS
from molgeo.predictor.calibration import Calibration
from molgeo.predictor.domain import Domain
from molgeo.predictor.kernel import KernelShape
from molgeo.properties import (
    ATOMIZATION,
    HUGE,
    MOST_PROPERTIES,
    Property,
    check_properties,
    names_of,
)
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.validation import Count, Fraction, Number, explained

LENGTHS: Final = (0.01, 1000)
"""Å, between which distances in molecules lie."""
MOST_ATOMS: Final = 2 * len(SYMBOLS)
"""Of a self-test, which has two of each element of the domain."""

Text = Annotated[str, Field(max_length=1000)]
LongText = Annotated[str, Field(max_length=20_000)]
Coordinate = Annotated[float, Field(ge=-1000, le=1000)]
Element = Annotated[int, Field(ge=1, lt=len(SYMBOLS))]
Shares = Annotated[dict[str, Fraction], Field(max_length=MOST_PROPERTIES)]
Errors = Annotated[dict[str, Number | None], Field(max_length=MOST_PROPERTIES)]


class HeaderError(ValueError):
    """A field of a header is missing, or of a wrong type or range; the message names it."""


class Record(BaseModel):
    """Fields of exact types, and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class OpenRecord(BaseModel):
    """Fields of exact types, and others that are left alone."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_few_others(self) -> Self:
        if (n := len(self.model_extra or {})) > MOST_PROPERTIES:
            raise ValueError(f"expected at most {MOST_PROPERTIES} keys, got {n}")
        return self


class PredictorConfig(Record):
    """The arguments of `molgeo.predictor.Predictor`, all of them."""

    model: Annotated[str, Field(min_length=1, max_length=100)]
    backbone: Annotated[dict[str, Any], Field(max_length=100)]
    properties: Annotated[tuple[Property, ...], Field(min_length=1), FailFast()]
    head_features: Annotated[int, Field(ge=1, le=4096)]
    repulsion: bool = False
    kernel: KernelShape | None = None

    @field_serializer("properties")
    def _as_json(self, properties: tuple[Property, ...]) -> list[dict[str, Any]]:
        return property_records(properties)


class SelfTest(Record):
    """A molecule with the outputs that the model gave for it when it was written.

    An atomization energy is None if the free atom of an element is unknown.
    """

    z: Annotated[list[Element], Field(min_length=1, max_length=MOST_ATOMS), FailFast()]
    pos: Annotated[
        list[tuple[Coordinate, Coordinate, Coordinate]],
        Field(min_length=1, max_length=MOST_ATOMS),
        FailFast(),
    ]
    outputs: Annotated[dict[str, Number | None], Field(max_length=2 * MOST_PROPERTIES)]


class OfClass(OpenRecord):
    """A class of molecules: how many, and by column the share of labels within 90% intervals."""

    n: Count = 0
    within_90: Shares = {}


class Measured(OpenRecord):
    """Errors on a part of a data set, as `molgeo evaluate` gives them.

    Attributes:
        flagged: share of the molecules that is outside the model's domain.
        by_element: symbol → errors on the molecules that have this element.
        classes: name of a class of molecules, such as ``9 heavy atoms`` → its intervals.
        engine: force field that relaxed the molecules' conformers; "" for none.
        partner: model at cheap geometries whose values have a share in those of this one.
        weigher: model that said how much each conformer counts.
    """

    n: Count = 0
    failed: Count = 0
    split: Text = ""
    geometry: Text = ""
    mae: Errors = {}
    rmse: Errors = {}
    coverage: Annotated[dict[str, Shares], Field(max_length=MOST_PROPERTIES)] = {}
    forces_eV_A_by_element: Annotated[dict[str, Number], Field(max_length=len(SYMBOLS))] = {}  # noqa: N815
    by_charge: Annotated[dict[str, Measured], Field(max_length=100)] = {}
    by_element: Annotated[dict[str, Measured], Field(max_length=len(SYMBOLS))] = {}
    flagged: Fraction | None = None
    engine: Text = ""
    partner: Text = ""
    weigher: Text = ""
    classes: Annotated[dict[Text, OfClass], Field(max_length=100)] = {}


class Outside(Measured):
    """Errors on molecules unlike the training data, as `benchmarks/beyond_qm9` gives them.

    Attributes:
        source: what these molecules and their labels are.
        worst_flagged: column → the same share of the tenth with the largest errors.
    """

    source: Text = ""
    worst_flagged: Shares = {}


class Facts(OpenRecord):
    """What is told of a model beside what it is."""

    name: Annotated[str, Field(max_length=200)] = ""
    data: Text = ""
    n_train: Count = 0
    split: Text = ""
    level_of_theory: Text = ""
    geometry: Text = ""
    geometry_source: Text = ""
    trained_on_forces: bool = False
    epochs: Count = 0
    steps: Count = 0
    interrupted: bool = False
    validation_loss: Number | None = None
    training: Annotated[dict[str, Any], Field(max_length=1000)] = {}
    is_fit: bool = False
    command: LongText = ""
    curve: Annotated[list[tuple[Count, Number | None]], Field(max_length=10_000), FailFast()] = []
    hardware: Text = ""
    commit: Text = ""
    date: Text = ""
    notes: LongText = ""
    metrics: Measured = Measured()
    from_smiles: Measured = Measured()
    outside: Outside = Outside()
    outside_smiles: Outside = Outside()
    calibration: Annotated[list[Calibration], Field(max_length=100), FailFast()] = []
    familiarity: Count = 0
    kept: Measured = Measured()
    expected_errors: Count = 0
    sha256: Text = ""

    def told(self) -> dict[str, Any]:
        """What was told, as JSON has it."""
        return self.model_dump(mode="json", exclude_unset=True, exclude_none=True)


class Header(Facts):
    """The whole header of a checkpoint."""

    format: Count
    config: PredictorConfig
    domain: Domain
    self_test: SelfTest
    sha256: Annotated[str, Field(min_length=64, max_length=64)]

    @property
    def outputs(self) -> dict[str, Property]:
        """What the model predicts by its keys; its self-test says which free atoms it knows."""
        known = self.config.properties
        free = [one.atomization for one in known if one.is_energy]
        return {one.name: one for one in (*known, *free) if one.name in self.self_test.outputs}

    @model_validator(mode="after")
    def _fits_together(self) -> Header:
        """Refuse fields that are each possible, and together mean nothing."""
        for place, expected, got in (*_oddities(self.domain), *self._contradictions()):
            raise ValueError(f"{place}: expected {expected}, got {one_line(got, 60)}")
        return self

    def _contradictions(self) -> Iterator[tuple[str, str, object]]:
        """Place, what was expected there, and what is there."""
        known = check_properties(self.config.properties)
        test, elements = self.self_test, list(self.domain.elements)
        if len(test.z) != len(test.pos):
            yield "self_test", f"{len(test.z)} positions, one per atom", len(test.pos)
        if sorted(set(test.z)) != elements:
            yield "self_test.z", f"the domain's elements {elements}", sorted(set(test.z))
        names = names_of(known)
        free = {one.name + ATOMIZATION for one in known if one.is_energy}
        for name in names:
            if test.outputs.get(name) is None:
                yield "self_test.outputs", f"one of {name}", ", ".join(test.outputs)
        for name in test.outputs.keys() - {*names, *free}:
            yield "self_test.outputs", f"some of {', '.join(names)}", name
        for k, calibration in enumerate(self.calibration):
            place = f"calibration[{k}]"
            if missing := set(names) - calibration.scales.keys():
                yield f"{place}.scales", ", ".join(sorted(missing)), "none"
            if not (0 <= calibration.conformers <= 10**6 and 1 <= calibration.n <= 10**12):
                yield (
                    place,
                    "conformers from 0 and n from 1",
                    (calibration.conformers, calibration.n),
                )
            if not all(0 <= value <= HUGE for value in calibration.origin):
                yield f"{place}.origin", f"numbers from 0 to {HUGE:g}", calibration.origin
            if not 0 <= calibration.n_outside <= 10**12:
                yield f"{place}.n_outside", "a number from 0", calibration.n_outside
            for name, scale in calibration.scales.items():
                if len(scale.weights) not in (0, len(calibration.origin)):
                    yield f"{place}.scales.{name}.weights", "one per origin", len(scale.weights)
                numbers = (scale.error, scale.sigma, scale.interval, scale.spread, scale.apart)
                if not 0 <= scale.share <= 1:
                    yield f"{place}.scales.{name}.share", "a number from 0 to 1", scale.share
                numbers += (scale.falls, *scale.weights, *(scale.outside or ()))
                if not all(0 <= value <= HUGE for value in numbers):
                    yield f"{place}.scales.{name}", f"numbers from 0 to {HUGE:g}", scale


def property_records(properties: Iterable[Property]) -> list[dict[str, Any]]:
    """Properties as a header's JSON has them: what is None or infinite is left out."""
    records = [
        {f.name: getattr(one, f.name) for f in dataclasses.fields(one) if f.init}
        for one in properties
    ]
    absent = (None, -math.inf, math.inf)
    return [
        {k: v for k, v in one.items() if v not in absent and (k, v) != ("is_probability", False)}
        for one in records
    ]


def header_of(record: Mapping[str, Any]) -> Header:
    """A header of the present version from its JSON.

    Raises:
        HeaderError: a field is missing, of another type, out of range, or contradicts another one.
    """
    try:
        # As JSON, whose lists are tuples and whose whole numbers are floats where these are meant.
        return Header.model_validate_json(json.dumps(record))
    except ValidationError as error:
        raise HeaderError(explained(error)) from error


def _oddities(domain: Domain) -> Iterator[tuple[str, str, object]]:
    """What no domain can be: place, what was expected there, and what is there."""
    elements = list(domain.elements)
    if not elements or sorted(set(elements)) != elements:
        yield "domain.elements", "atomic numbers in ascending order", elements
    elif not 0 < elements[0] <= elements[-1] < len(SYMBOLS):
        yield "domain.elements", f"atomic numbers, 1 to {len(SYMBOLS) - 1}", elements
    for name, least, most in (
        ("max_atoms", 1, 10**12),
        ("min_distance", *LENGTHS),
        ("charge", -1000, 1000),
    ):
        if not least <= (value := getattr(domain, name)) <= most:
            yield f"domain.{name}", f"{least} to {most}", value
    if (charges := domain.charges) is not None:
        is_ascending = list(charges) == sorted(set(charges)) and 2 <= len(charges) <= 100
        if not (is_ascending and charges[0] >= -1000 and charges[-1] <= 1000):
            yield "domain.charges", "two or more from -1000 to 1000, ascending", charges
    if (kinds := domain.bond_kinds) is not None:
        place = "domain.bond_kinds"
        for count in (kinds.molecules, kinds.needed, *kinds.counts.values()):
            if not 0 <= count <= 10**12:
                yield f"{place}.counts", "whole numbers from 0", count
        if (longest := max(kinds.counts, key=len, default="")) and len(longest) > 200:
            yield f"{place}.counts", "kinds of at most 200 characters", longest
    if (seen := domain.environments) is None:
        return
    place = "domain.environments"
    for count in (seen.configurations, seen.periodic, *seen.counts.values()):
        if not 0 <= count <= 10**12:
            yield f"{place}.counts", "whole numbers from 0", count
    for pair, (low, high) in seen.bonds.items():
        if not LENGTHS[0] <= low <= high <= LENGTHS[1]:
            yield f"{place}.bonds.{pair}", "the shortest length and the longest, Å", (low, high)
    if len(seen.formulas) > 100 or any(len(one) > 200 for one in seen.formulas):
        yield f"{place}.formulas", "at most 100 of at most 200 characters", len(seen.formulas)
