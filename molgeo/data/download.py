"""Downloads that are resumed after they broke off."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

from molgeo.runtime.errors import DownloadError

CHUNK: Final = 1 << 18
TIMEOUT_S: Final = 30.0


def fetch(
    url: str,
    path: Path,
    md5: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Download a file, unless it is there already.

    What has arrived is kept in ``<path>.part`` and is not asked for again by the next call.

    Args:
        url: of the file.
        path: of its place here.
        md5: its checksum as its publisher states it, against damage on the way.
        progress: told (bytes, bytes in all).

    Returns:
        ``path``.

    Raises:
        OSError: the server cannot be reached or refuses, the connection broke off, or the checksum
            differs (then what has arrived is thrown away).
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        _receive(url, part, progress or (lambda done, total: None))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.unlink()  # longer than the file, or whole: only a fresh download can tell
        _receive(url, part, progress or (lambda done, total: None))
    except http.client.HTTPException as error:
        raise DownloadError(f"{url}: {error!r}") from error
    if md5 is not None and _md5(part) != md5:
        got = _md5(part)
        part.unlink()
        raise DownloadError(f"{url}: expected MD5 {md5}, got {got}")
    os.replace(part, path)
    return path


def _receive(url: str, part: Path, report: Callable[[int, int], None]) -> None:
    """Append what is missing of ``part``."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "molgeo"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        if response.status not in (http.HTTPStatus.OK, http.HTTPStatus.PARTIAL_CONTENT):
            raise DownloadError(f"{url}: expected status 200, got {response.status}")
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        have = have if resumed else 0
        total = have + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(CHUNK):
                file.write(block)
                have += len(block)
                report(have, max(have, total))
    if have < total:
        raise DownloadError(
            f"{url}: broken off after {have} of {total} bytes; the next call goes on"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
