"""Conformers of SMILES, made once per molecule: whatever table a molecule stands in.

They are kept in files of up to `PER_FILE` molecules, which are written whole and never changed. So
any number of processes may write, read and remove them at once, and a process may be killed: at
worst some molecules are made a second time. If all files together are larger than `MOST_BYTES`,
those go that were not needed for the longest time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from rdkit import rdBase
from safetensors import SafetensorError, safe_open

from molgeo.chem.conformers.canonical import canonical
from molgeo.chem.conformers.conformers import generate
from molgeo.chem.conformers.embedding import ATTEMPTS
from molgeo.chem.limits import ordered_map
from molgeo.chem.molecule import SmilesRow
from molgeo.chem.parsing import mol_from_smiles, rdkit_messages
from molgeo.data.geometries import FORMAT_VERSION, FlatGeometries, join, taken, write_geometries
from molgeo.generate.geometries import flat, made_before
from molgeo.runtime.plain_text import one_line, say
from molgeo.runtime.progress import Progress
from molgeo.runtime.version import VERSION

PER_FILE: Final = 200
"""Molecules between two files: as many are made again after a kill."""

MOST_BYTES: Final = 2_000_000_000
"""Of all files together: some million conformers of drug-like molecules."""


def made_geometries(
    rows: Sequence[SmilesRow], n: int, folder: Path, progress: Progress | None = None
) -> FlatGeometries:
    """Conformers of SMILES, in the order of the rows: made now, or found in a folder.

    Molecules are told by the canonical SMILES that conformers are made of. What another version of
    molgeo or RDKit made, which may be different, is not taken. If the folder cannot be written to,
    the conformers are made all the same, and it is said that they are not kept.

    Args:
        rows: with the SMILES.
        n: conformers of each.
        folder: for the files.
        progress: told (molecules made, molecules to make).
    """
    header = {
        "version": FORMAT_VERSION,
        "conformers": n,
        "attempts": ATTEMPTS,
        "made_by": f"molgeo {VERSION}, RDKit {rdBase.rdkitVersion}",
    }
    own = folder / f"conformers-{n}-{_digest(header)}"
    with rdkit_messages():
        names = [_identity(row.smiles) for row in rows]
    number = {name: k for k, name in enumerate(dict.fromkeys(names))}
    parts, found = _kept(own, number)
    row_of = {number[name]: row for name, row in reversed(list(zip(names, rows, strict=True)))}
    missing = [k for name, k in number.items() if name not in found]
    listed, is_kept = list(number), True
    for start in range(0, len(missing), PER_FILE):
        some, made = missing[start : start + PER_FILE], []
        for one in ordered_map(lambda k: generate(row_of[k], n), some):
            made.append(one)
            if progress:
                progress(start + len(made), len(missing))
        parts.append(flat(np.array(some), made))
        if is_kept:
            is_kept = _keep(parts[-1], own, {**header, "smiles": [listed[k] for k in some]})
    if missing and is_kept:
        _trim(folder)
    places = np.array([number[name] for name in names], np.int64)
    return taken(join(parts), places)._replace(rows=np.arange(len(rows)))


def _identity(smiles: str) -> str:
    """What molecules of the same conformers share; of what cannot be read, the text."""
    mol = mol_from_smiles(smiles)
    return smiles if mol is None else canonical(mol).smiles


def _kept(folder: Path, number: Mapping[str, int]) -> tuple[list[FlatGeometries], set[str]]:
    """Of molecules with these numbers, what is there, with the numbers as rows; and their names."""
    parts, found = [], set[str]()
    for path in sorted(folder.glob("*.safetensors")):
        there = _names_in(path)
        places = [k for k, name in enumerate(there) if name in number and name not in found]
        geometries = made_before(path)[0] if places else None
        if geometries is None:
            continue
        names = [there[k] for k in places]
        rows = np.array([number[name] for name in names], np.int64)
        parts.append(taken(geometries, np.array(places))._replace(rows=rows))
        found.update(names)
        with suppress(OSError):  # another process may have removed it, or the folder is read only
            os.utime(path)
    return parts, found


def _names_in(path: Path) -> list[str]:
    """The molecules of a file; none if it is damaged, or was removed by another process."""
    try:
        with safe_open(path, framework="np") as file:
            return list(json.loads(file.metadata()["molgeo"])["smiles"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return []


def _keep(part: FlatGeometries, folder: Path, header: dict[str, Any]) -> bool:
    """Write a file; whether that was possible."""
    try:
        write_geometries(part, folder / f"{_digest(header)}.safetensors", header)
    except OSError as error:
        say(f"conformers are not kept for another run: {one_line(str(error), 200)}")
        return False
    return True


def _trim(folder: Path) -> None:
    """Remove the files that were not needed for the longest time, if all are too large."""
    found = []
    for path in folder.glob("conformers-*/*.safetensors"):
        with suppress(OSError):
            about = path.stat()
            found.append((about.st_mtime, about.st_size, path))
    total = 0
    for _, size, path in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES:
            with suppress(OSError):
                path.unlink()


def _digest(header: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:16]
