"""YAML of configs from anyone: plain values, each written out, each key once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from molgeo.runtime.errors import SettingError
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.whole_file import replacing

MOST_BYTES: Final = 2**18
MOST_DEPTH: Final = 10


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A number may be written 1e-3, as in YAML 1.2, without a dot."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d{1,4}$"), list("-+0123456789")
)


def read_yaml(path: str | Path) -> Any:
    """The value of a YAML file.

    Args:
        path: of the file.

    Raises:
        OSError: it cannot be read.
        ValueError: as `parse_yaml`; it is a folder, or not UTF-8.
    """
    path = Path(path)
    where = one_line(path, 100)
    if path.exists() and not path.is_file():
        raise SettingError(f"{where}: expected a YAML file, got a folder, a pipe or a device")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    try:
        return parse_yaml(content.decode(), where)
    except UnicodeDecodeError:
        raise SettingError(f"{where}: expected YAML in UTF-8, got other bytes") from None


def write_yaml(path: Path, content: Any) -> None:
    """Write a YAML file, whole or not at all."""
    with replacing(path) as part:
        part.write_text(yaml.safe_dump(content, sort_keys=False))


def parse_yaml(text: str, where: str = "config") -> Any:
    """The value of a YAML text.

    Args:
        text: of a config.
        where: it comes from, for messages.

    Raises:
        ValueError: it is no YAML of bounded length and depth, gives a key twice, or has anchors,
            aliases or tags, by which a few lines may stand for gigabytes or for objects.
    """
    if len(text) > MOST_BYTES:
        raise SettingError(f"{where}: expected at most {MOST_BYTES:,} bytes of YAML")
    try:
        _check(text, where)
        return _value(text, where)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = one_line(getattr(error, "problem", None) or error, 120)
        raise SettingError(f"{where}: {line}no valid YAML: {problem}") from None


def _value(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, OverflowError) as error:
        reason = one_line(error, 100)
        raise SettingError(f"{where}: a number or a date that cannot be: {reason}") from None


def _check(text: str, where: str) -> None:
    """Refuse, event by event, what `yaml.load` should never see."""
    keys: list[set[str] | None] = []  # of each open collection; None for a list
    is_key: list[bool] = []
    documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refusal(event, where, "one document", "another")
        if isinstance(event, CollectionEndEvent):
            keys.pop()
            is_key.pop()
        if not isinstance(event, NodeEvent):
            continue
        if isinstance(event, AliasEvent) or event.anchor:
            what = "an alias" if isinstance(event, AliasEvent) else "an anchor"
            raise _refusal(event, where, "values written out", f"{what} {event.anchor!r}")
        if getattr(event, "tag", None) not in (None, "!"):
            raise _refusal(event, where, "plain values", f"the tag {event.tag!r}")
        if keys and (known := keys[-1]) is not None:
            if is_key[-1]:
                if not isinstance(event, ScalarEvent):
                    raise _refusal(event, where, "text as a key", "a list or keys")
                if event.value in known or event.value == "<<":
                    raise _refusal(event, where, "each key once", repr(event.value))
                known.add(event.value)
            is_key[-1] = not is_key[-1]
        if isinstance(event, CollectionStartEvent):
            keys.append(set() if isinstance(event, MappingStartEvent) else None)
            is_key.append(True)
            if len(keys) > MOST_DEPTH:
                raise _refusal(event, where, f"at most {MOST_DEPTH} levels", "more")


def _refusal(event: Any, where: str, expected: str, got: str) -> SettingError:
    line = event.start_mark.line + 1
    return SettingError(f"{where}: line {line}: expected {expected}, got {one_line(got, 60)}")
