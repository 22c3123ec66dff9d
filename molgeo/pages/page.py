"""One HTML file with all that it needs: template, style, scripts and their licences.

A browser runs the scripts of a page by their hashes alone, and loads nothing (its Content Security
Policy). Text of any origin is escaped by the template; values for scripts are JSON in an element
that is no script.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape

from molgeo.runtime.errors import InputError
from molgeo.runtime.plain_text import one_line
from molgeo.runtime.version import VERSION
from molgeo.runtime.whole_file import replacing

_OWN: Final = "molgeo.pages"

_LICENCES: Final = {"3Dmol-min.js": "3Dmol.LICENSE", "table-core.js": "table-core.LICENSE"}
"""Scripts of other projects → their licences."""


def render(room: str, template: str, scripts: Sequence[str] = (), **values: Any) -> str:
    """The text of a page.

    Args:
        room: package with ``templates`` and, if it has scripts of its own, ``assets``.
        template: its name; it extends ``base.html``.
        scripts: names of assets, of the room or of `molgeo.pages`, in the order in which they run.
        values: of the template.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(one) for one in (room, _OWN)]),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["line"] = lambda text: one_line(text, 2000)
    texts = [_asset(name, room) for name in scripts]
    return environment.get_template(template).render(
        **values,
        scripts=texts,
        policy=_policy(texts),
        style=_asset("page.css", _OWN),
        licences=[_asset(_LICENCES[name], _OWN) for name in scripts if name in _LICENCES],
        version=VERSION,
    )


def write(path: Path, text: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    try:
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def packed(value: Any) -> str:
    """JSON, compressed, as text that stands in a page until a script unpacks it."""
    raw = json.dumps(value, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode()


def _asset(name: str, room: str) -> str:
    places = (resources.files(one) / "assets" / name for one in (room, _OWN))
    return next(place for place in places if place.is_file()).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    """What a browser may do for a page: run these scripts, and nothing from elsewhere."""
    digests = (hashlib.sha256(text.encode()).digest() for text in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    allowed = allowed or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )
