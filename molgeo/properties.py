"""What a property is: its name and unit, and the physics that its head follows.

A predictor carries its properties, and a checkpoint stores them whole: there is no table of known
ones here. QM9's stand in `molgeo.data.qm9.properties`, a force field's energy in
`molgeo.data.forces.properties`, and anybody's own is a `Property` that is handed to `Predictor`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal, get_args

HeadKind = Literal["sum", "mean", "orbital", "dipole", "extent", "moments", "kernel"]

ATOMIZATION: Final = "_atomization"
"""Ends the name of an energy relative to its free atoms: ``u0`` → ``u0_atomization``."""

LONGEST: Final = {"name": 60, "unit": 40, "symbol": 40, "description": 200, "column": 120}
"""Characters of each text of a property."""

HUGE: Final = 1e15
"""No number of a property is larger."""

MOST_PROPERTIES: Final = 1000
"""Of one predictor."""


@dataclass(frozen=True)
class Property:
    """One molecular property. Two are equal if one's labels are the other's, whatever the heads.

    Attributes:
        name: short name of letters, digits and ``_``, as in ``--properties``.
        unit: of predictions, labels and errors; "" for a number without one.
        head: how per-atom outputs become the property: ``sum`` (extensive), ``mean`` (intensive),
            ``orbital`` (intensive, of the part of the molecule that counts), ``dipole`` (norm of a
            sum of charges times positions), ``extent`` (second moment), ``moments`` (a network of
            how the atoms' features are distributed) or ``kernel`` (a Gaussian process on the same).
        symbol: as papers write it; the name if it is not given.
        description: one line for people.
        is_energy: a total energy in eV, which has free atoms and an atomization energy, and whose
            gradient is a force.
        is_probability: of one of two classes: labels are 0 and 1, and what the head gives is the
            logarithm of the odds. It lies between 0 and 1 and has no unit.
        minimum: no molecule's value is below it, in the unit: 0 for norms, extents and sums of
            squares. No predicted value and no end of an interval is below it.
        maximum: likewise, no value is above it: 100 for a share in percent.
        column: name with its unit, as in every output. If it is not given: NAME_UNIT, with ``_``
            in place of every character of the unit that is neither a letter nor a digit.
        tied_to: name of another property, and the constant by which this one lies above it, in the
            unit. If a model predicts both, both come from the mean of the two heads.
        total: of an atomization energy: the total energy that it belongs to.

    Raises:
        ValueError: a field means nothing.
    """

    name: str
    unit: str
    head: HeadKind = field(default="mean", compare=False)
    symbol: str = field(default="", compare=False)
    description: str = field(default="", compare=False)
    is_energy: bool = False
    is_probability: bool = False
    minimum: float = field(default=-math.inf, compare=False)
    maximum: float = field(default=math.inf, compare=False)
    column: str = field(default="", compare=False)
    tied_to: tuple[str, float] | None = field(default=None, compare=False)
    total: Property | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Fill in symbol and column, and refuse what means nothing."""
        if not self.column:
            unit = word_of(str(self.unit).replace("%", "percent"))
            object.__setattr__(self, "column", f"{self.name}_{unit}" if unit else self.name)
        if not self.symbol:
            object.__setattr__(self, "symbol", self.name)
        if self.is_probability:
            object.__setattr__(self, "minimum", 0.0)
            object.__setattr__(self, "maximum", 1.0)
        for key, longest in LONGEST.items():
            value = getattr(self, key)
            if not isinstance(value, str) or len(value) > longest or not value.isprintable():
                self._refuse(key, f"printable text of at most {longest} characters")
        for key in ("name", "column"):
            if not re.fullmatch(r"\w+", getattr(self, key)):
                self._refuse(key, "letters, digits and _")
        if self.head not in get_args(HeadKind):
            self._refuse("head", f"one of {', '.join(get_args(HeadKind))}")
        for key, none in (("minimum", -math.inf), ("maximum", math.inf)):
            if not (getattr(self, key) == none or abs(getattr(self, key)) <= HUGE):
                self._refuse(key, f"-{HUGE:g} to {HUGE:g}, or {none} for none")
        if not self.minimum < self.maximum:
            self._refuse("maximum", f"a number above the minimum, {self.minimum:g}")
        if self.tied_to is not None and not abs(self.tied_to[1]) <= HUGE:
            self._refuse("tied_to", f"a name and a constant from -{HUGE:g} to {HUGE:g}")
        if self.is_energy and (self.unit != "eV" or self.head != "sum"):
            self._refuse("is_energy", "True for a property of unit 'eV' and head 'sum' alone")
        if self.is_probability and (self.unit or self.head in ("dipole", "extent")):
            self._refuse(
                "is_probability", "True for a property without a unit, of head mean or sum"
            )

    def _refuse(self, key: str, expected: str) -> None:
        shown = f"{self.name!r:.60}"
        raise ValueError(
            f"property {shown}: {key}: expected {expected}, got {getattr(self, key)!r:.60}"
        )

    @property
    def is_bounded(self) -> bool:
        """Whether there are numbers that no molecule's value can be."""
        return self.minimum > -math.inf or self.maximum < math.inf

    @cached_property
    def atomization(self) -> Property:
        """The energy relative to free atoms that belongs to this total energy."""
        free = dataclasses.replace(
            self,
            name=self.name + ATOMIZATION,
            symbol=f"{self.symbol} at.",
            description=self.description.replace("total", "atomization"),
            is_energy=False,
            minimum=-math.inf,
            maximum=math.inf,
            column=f"{self.name}{ATOMIZATION}_{self.unit}",
            tied_to=None,
        )
        object.__setattr__(free, "total", self)
        return free


def word_of(text: str) -> str:
    """Text with ``_`` in place of every character that is neither a letter nor a digit."""
    return "".join(c if c.isalpha() or c.isdecimal() else "_" for c in text)


def names_of(properties: Iterable[Property]) -> tuple[str, ...]:
    """Names of some properties."""
    return tuple(one.name for one in properties)


def first_energy(properties: Iterable[Property]) -> Property | None:
    """The first energy of some properties: forces derive from it, conformers are weighted by it."""
    return next((one for one in properties if one.is_energy), None)


def check_properties(properties: Sequence[Property]) -> tuple[Property, ...]:
    """Refuse properties that one predictor cannot have together.

    Args:
        properties: of a predictor.

    Returns:
        The same.

    Raises:
        ValueError: there is none, one is no `Property`, two share a name or a column, or one is
            tied to another one of another unit.
    """
    known = list(properties)
    other = [one for one in known if not isinstance(one, Property)]
    if isinstance(properties, str) or other or not 0 < len(known) <= MOST_PROPERTIES:
        got = properties if isinstance(properties, str) else other[0] if other else len(known)
        raise ValueError(
            f"properties: expected 1 to {MOST_PROPERTIES} of molgeo.Property, got {got!r:.60}"
        )
    own = [*known, *(one.atomization for one in known if one.is_energy)]
    for key in ("name", "column"):
        values = [getattr(one, key) for one in own]
        if twice := [value for value in values if values.count(value) > 1]:
            raise ValueError(f"properties: expected each {key} once, got {', '.join(twice)}")
    by_name = {one.name: one for one in known}
    for one in known:
        other_one = by_name.get(one.tied_to[0]) if one.tied_to else None
        if other_one and (other_one.unit, other_one.head) != (one.unit, one.head):
            raise ValueError(
                f"properties: {one.name} is tied to {other_one.name}, so they need one unit and "
                f"head, got {one.unit} and {other_one.unit}"
            )
    return tuple(known)
