"""The header of a checkpoint: strict JSON of bounded size, whose fields have types and ranges."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn, get_args

from molgeo.elements import SYMBOLS
from molgeo.predictor.checkpoint.fields import (
    Check,
    FieldError,
    each,
    flag,
    is_finite,
    maybe,
    number,
    one_of,
    plain,
    record,
    row,
    table,
    text,
    whole,
)
from molgeo.properties import (
    ATOMIZATION,
    LONGEST,
    MOST_PROPERTIES,
    HeadKind,
    Property,
    check_properties,
)

Header = dict[str, Any]

SEAL: Final = "header_sha256"

MOST_CHARACTERS: Final = 2**20
MOST_DEPTH: Final = 16
MOST_DIGITS: Final = 18
MOST_ATOMS: Final = 2 * len(SYMBOLS)
"""Of a self-test, which has two of each element of the domain."""

_MARK: Final = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
"""What a scan for the depth of JSON has to look at: brackets, and where texts begin and end."""

_element: Final = whole(1, len(SYMBOLS) - 1)
_count: Final = whole()
_errors: Final = table(maybe(number()))
_scale: Final = record({"error": number(0), "sigma": number(0), "interval": number(0)})

_property: Final = record(
    {
        **{key: text(longest) for key, longest in LONGEST.items()},
        "head": one_of(get_args(HeadKind)),
        "is_energy": flag,
    },
    {"minimum": number(), "tied_to": row(text(LONGEST["name"]), number())},
)

_length: Final = number(0.01, 1000)
_environments: Final = record(
    {
        "configurations": _count,
        "periodic": _count,
        "counts": table(_count, most=10_000),
        "bonds": table(row(_length, _length), most=10_000),
        "formulas": each(text(200), most=100),
    },
    others=plain,
)

_FIELDS: Final[Check] = record(
    {
        "format": whole(),
        "config": record(
            {
                "model": text(100, least=1),
                "backbone": table(plain, most=100),
                "properties": each(_property, 1, MOST_PROPERTIES),
                "head_features": whole(1, 4096),
            }
        ),
        "domain": record(
            {
                "elements": each(_element, 1, len(SYMBOLS) - 1),
                "max_atoms": whole(1),
                "min_distance": number(0.01, 1000),
            },
            {"charge": whole(-1000, 1000), "environments": maybe(_environments)},
            others=plain,
        ),
        "self_test": record(
            {
                "z": each(_element, 1, MOST_ATOMS),
                "pos": each(row(*3 * [number(-1000, 1000)]), 1, MOST_ATOMS),
                "outputs": table(number(), most=2 * MOST_PROPERTIES),
            }
        ),
        "sha256": text(64, least=64),
    },
    {
        "name": text(200),
        "data": text(),
        "n_train": _count,
        "split": text(),
        "level_of_theory": text(),
        "geometry": text(),
        "geometry_source": text(),
        "trained_on_forces": flag,
        "units": table(text()),
        "epochs": _count,
        "steps": _count,
        "interrupted": flag,
        "validation_loss": maybe(number()),
        "training": table(plain),
        "command": text(20_000),
        "curve": each(row(_count, maybe(number()))),
        "hardware": text(),
        "commit": text(),
        "date": text(),
        "notes": text(20_000),
        "metrics": record(
            {},
            {
                "n": _count,
                "split": text(),
                "geometry": text(),
                "mae": _errors,
                "rmse": _errors,
            },
            others=plain,
        ),
        "from_smiles": record(
            {"n": _count, "failed": _count, "split": text(), "mae": _errors, "rmse": _errors},
            {"coverage": table(table(number(0, 1)))},
            others=plain,
        ),
        "calibration": each(
            record({"conformers": whole(0, 10**6), "n": whole(1), "scales": table(_scale)}),
            most=100,
        ),
    },
    others=plain,
)
"""What molgeo reads of a header; fields that it does not know are left alone."""


def parse(content: str) -> Any:
    """The value of a JSON text from anyone.

    Args:
        content: of any length.

    Raises:
        FieldError: it is too long or too deep, or has numbers that JSON or floats do not have.
        json.JSONDecodeError: it is no JSON.
    """
    if len(content) > MOST_CHARACTERS:
        raise FieldError(
            f"header: expected at most {MOST_CHARACTERS:,} characters, got {len(content):,}"
        )
    if _is_deep(content):  # seen before a parser has to find its way back
        raise FieldError(f"header: is nested more than {MOST_DEPTH} levels deep")
    return json.loads(content, parse_int=_integer, parse_float=_float, parse_constant=_constant)


def seal(header: Header) -> str:
    """A header as JSON text that ends in the SHA-256 of the rest.

    One text, because safetensors writes several metadata keys in random order, and the same model
    should be the same file.
    """
    checksum = hashlib.sha256(json.dumps(header, allow_nan=False).encode()).hexdigest()
    return json.dumps({**header, SEAL: checksum}, allow_nan=False)


def check_fields(header: Header) -> None:
    """Refuse a header of the present version whose fields are not what they should be.

    Args:
        header: as `parse` gives it, migrated.

    Raises:
        FieldError: a field is missing, of another type, out of range, or contradicts another one.
    """
    _FIELDS(header, "")
    test, elements = header["self_test"], header["domain"]["elements"]
    try:
        known = check_properties(properties_of(header["config"]))
    except ValueError as error:
        raise FieldError(f"config.properties: {error}") from error
    if sorted(set(elements)) != elements:
        raise FieldError(f"domain.elements: expected them in ascending order, got {elements}")
    if len(test["z"]) != len(test["pos"]):
        raise FieldError(
            f"self_test: expected as many positions as atoms, got {len(test['pos'])} of "
            f"{len(test['z'])} atoms"
        )
    if set(test["z"]) != set(elements):
        raise FieldError(
            f"self_test.z: expected the domain's elements {elements}, got {sorted(set(test['z']))}"
        )
    _check_outputs(known, test["outputs"])
    seen = header["domain"].get("environments") or {}
    for pair, (low, high) in seen.get("bonds", {}).items():
        if low > high:
            raise FieldError(f"domain.environments.bonds.{pair}: {low} is above {high}")
    for k, calibration in enumerate(header.get("calibration", [])):
        if missing := {one.name for one in known} - set(calibration["scales"]):
            raise FieldError(f"calibration[{k}].scales: {', '.join(sorted(missing))} is missing")


def properties_of(config: dict[str, Any]) -> tuple[Property, ...]:
    """The properties that a header's config holds."""
    records: list[dict[str, Any]] = config["properties"]
    for one in records:
        if "tied_to" in one:
            one["tied_to"] = tuple(one["tied_to"])
    return tuple(Property(**one) for one in records)


def config_record(config: dict[str, Any]) -> dict[str, Any]:
    """A predictor's config as a header holds it."""
    properties = [finite(dataclasses.asdict(one)) for one in config["properties"]]
    told = [{key: value for key, value in one.items() if value is not None} for one in properties]
    return {**config, "properties": told}


def finite(value: Any) -> Any:
    """A header's value with null in place of the numbers that JSON lacks: NaN and infinities."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value if is_finite(value) else None


def _check_outputs(properties: Sequence[Property], outputs: dict[str, float]) -> None:
    names = [one.name for one in properties]
    if missing := [name for name in names if name not in outputs]:
        raise FieldError(f"self_test.outputs: {', '.join(missing)} is missing")
    energies = {one.name + ATOMIZATION for one in properties if one.is_energy}
    for name in outputs:
        if name not in names and name not in energies:
            raise FieldError(f"self_test.outputs: expected {', '.join(names)}, got {name!r}")


def _is_deep(content: str) -> bool:
    """Whether brackets outside of texts are nested more than `MOST_DEPTH` levels deep."""
    depth, in_text = 0, False
    for mark in _MARK.findall(content):
        if mark == '"':
            in_text = not in_text
        elif not in_text and mark in "[{":
            depth += 1
            if depth > MOST_DEPTH:
                return True
        elif not in_text and mark in "]}":
            depth -= 1
    return False


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise FieldError(f"header: a number of {len(digits):,} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if not is_finite(value):
        raise FieldError("header: a number beyond the range of floats")
    return value


def _constant(name: str) -> NoReturn:
    raise FieldError(f"header: {name} is no number of JSON")
