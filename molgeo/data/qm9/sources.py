"""Prepare QM9 from an installed package, a download, or a file the user has.

Whatever the source, the same molecules with the same labels are written, in the flat form that
`molgeo.datasets.QM9` loads in under two seconds: the content is checked against a fingerprint, so
it does not matter whence a file came or what it was called.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from molgeo.data.download import fetch
from molgeo.data.qm9 import dataset as qm9
from molgeo.data.qm9.labels import DECIMALS, in_units
from molgeo.data.qm9.properties import NAMES
from molgeo.data.qm9.readers import RawQM9, from_qm9pack, read
from molgeo.data.tensor_file import write_tensors
from molgeo.runtime.errors import DownloadError, InputError
from molgeo.runtime.progress import Progress


class Mirror(NamedTuple):
    """One place QM9 can be downloaded from.

    Attributes:
        url: of the file.
        name: to keep it under.
        md5: as its publisher states it, if one does.
    """

    url: str
    name: str
    md5: str | None = None


MIRRORS: Final = (
    Mirror(
        "https://ndownloader.figshare.com/files/3195389",
        "dsgdb9nsd.xyz.tar.bz2",
        "ad1ebd51ee7f5b3a6e32e974e5d54012",
    ),
    Mirror("https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/gdb9.tar.gz", "gdb9.tar.gz"),
    Mirror("https://data.pyg.org/datasets/qm9_v3.zip", "qm9_v3.zip"),
)
"""Tried in this order."""

ELEMENTS: Final = (1, 6, 7, 8, 9)


class Fingerprint(NamedTuple):
    """What makes QM9 QM9, whichever file it came from.

    Attributes:
        n_molecules: how many.
        labels: SHA-256 of number, composition and eleven labels of every molecule, to their
            published digits. r2 is left out, as PyG's float32 does not hold all its digits.
        extent: projection of r2 on a fixed random direction, a0².
        gyration: projection of ``Σ|r − r̄|²`` of every molecule on it, Å². It does not depend on
            the order of atoms, and little on the digits of coordinates.
    """

    n_molecules: int
    labels: str
    extent: float
    gyration: float


EXTENT_TOLERANCE: Final = 0.05
GYRATION_TOLERANCE: Final = 1.0

CONTENT: Final = Fingerprint(
    n_molecules=qm9.N_MOLECULES,
    labels="5038d6827c28a24b9a64cc698ea8043c922a6d9a9ac69189ddfa49e28fff4951",
    extent=146282.603,
    gyration=9046.771,
)
"""The fingerprint of QM9's 130,831 molecules."""


def prepare(
    root: str | Path | None = None,
    source: str | Path = "auto",
    force: bool = False,
    progress: Progress | None = None,
    expected: Fingerprint = CONTENT,
) -> Path:
    """Prepare QM9; nothing is done if it is prepared already.

    Args:
        root: folder to prepare it in; None for the default one.
        source: ``qm9pack`` (the installed package), ``download``, ``auto`` (the former if
            installed, else the latter) or a file in a form that
            `molgeo.data.qm9.readers.read` knows.
        force: prepare anew.
        progress: told (done, total) of each stage.
        expected: content to insist on.

    Returns:
        Path of ``qm9.safetensors``, which is written all or nothing.

    Raises:
        FileNotFoundError: the source is not there.
        ValueError: the source does not hold QM9.
        OSError: no mirror could be reached, or the disk is full.
    """
    path = qm9.prepared_path(root)
    if not force and _is_prepared(path):
        return path
    if source == "auto":
        source = "qm9pack" if importlib.util.find_spec("qm9pack") else "download"
    if source == "download":
        raw, source = _download(path.parent / "download", progress, expected)
    elif source == "qm9pack":
        raw = normalised(from_qm9pack())
    else:
        raw = normalised(read(Path(source), progress))
    check(raw, expected)
    write(raw, path, Path(source).name)
    return path


def normalised(raw: RawQM9) -> RawQM9:
    """Leave out uncharacterized molecules, sort by number, round labels to the published digits."""
    rows = np.flatnonzero(~np.isin(raw.idx, uncharacterized()))
    rows = rows[np.argsort(raw.idx[rows], kind="stable")]
    first = np.concatenate([[0], raw.n_atoms.cumsum()])
    none = np.zeros(0, np.int64)
    atoms = np.concatenate([none, *(np.arange(first[m], first[m + 1]) for m in rows)])
    scale = 10.0 ** np.array([DECIMALS[name] for name in NAMES])
    return RawQM9(
        idx=raw.idx[rows],
        n_atoms=raw.n_atoms[rows],
        z=raw.z[atoms],
        pos=raw.pos[atoms],
        y=np.rint(raw.y[rows] * scale) / scale,
        smiles=[raw.smiles[m] for m in rows],
    )


def uncharacterized() -> np.ndarray:
    """Numbers of the 3,054 molecules that failed QM9's consistency check, ascending."""
    text = (resources.files("molgeo.data.qm9") / "uncharacterized.txt").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return np.array(" ".join(lines).split(), np.int64)


def fingerprint(raw: RawQM9) -> Fingerprint:
    """The fingerprint of some `normalised` molecules."""
    n = len(raw.idx)
    molecule = np.repeat(np.arange(n), raw.n_atoms)
    composition = [np.bincount(molecule[raw.z == z], minlength=n) for z in ELEMENTS]
    digits = [
        np.rint(raw.y[:, k] * 10.0 ** DECIMALS[name])
        for k, name in enumerate(NAMES)
        if name != "r2"
    ]
    table = np.stack([raw.idx, *composition, *digits], axis=1).astype("<i8")
    centre = np.stack([np.bincount(molecule, x, n) for x in raw.pos.T], 1) / raw.n_atoms[:, None]
    square = ((raw.pos - centre[molecule]) ** 2).sum(1)
    direction = np.random.RandomState(0).uniform(-1.0, 1.0, n)
    return Fingerprint(
        n_molecules=n,
        labels=hashlib.sha256(table.tobytes()).hexdigest(),
        extent=float(direction @ raw.y[:, NAMES.index("r2")]),
        gyration=float(direction @ np.bincount(molecule, square, n)),
    )


def check(raw: RawQM9, expected: Fingerprint = CONTENT) -> None:
    """Check that `normalised` molecules are QM9's, all of them.

    Raises:
        ValueError: the count, the labels or the geometries are not those of QM9.
    """
    n = len(np.unique(raw.idx))
    if n != expected.n_molecules or len(raw.idx) != n:
        raise InputError(
            f"QM9: expected {expected.n_molecules} different molecules, got {n} of {len(raw.idx)}"
        )
    if raw.n_atoms.sum() != len(raw.z) or raw.pos.shape != (len(raw.z), 3):
        raise InputError(f"QM9: expected {raw.n_atoms.sum()} atoms, got {len(raw.z)}")
    if not (np.isfinite(raw.y).all() and np.isfinite(raw.pos).all()):
        raise InputError("QM9: a label or a coordinate is not a number")
    got = fingerprint(raw)
    if got.labels != expected.labels:
        raise InputError(
            "QM9: the compositions or labels are not those published: expected SHA-256 "
            f"{expected.labels[:12]}…, got {got.labels[:12]}…"
        )
    if abs(got.extent - expected.extent) > EXTENT_TOLERANCE:
        raise InputError("QM9: r2 is not as published")
    if abs(got.gyration - expected.gyration) > GYRATION_TOLERANCE:
        raise InputError("QM9: the geometries are not those published")


def write(raw: RawQM9, path: Path, source: str) -> None:
    """Write the prepared form of `normalised` molecules, all or nothing.

    Args:
        raw: sorted by QM9's own number.
        path: of ``qm9.safetensors``.
        source: its origin, for the header.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    smiles = [s.encode() for s in raw.smiles]
    sizes = np.array([len(s) for s in smiles], np.int64)
    tensors = {
        "z": torch.from_numpy(raw.z.astype(np.uint8)),
        "pos": torch.from_numpy(raw.pos.astype(np.float32)),
        "ptr": torch.from_numpy(np.concatenate([[0], raw.n_atoms.cumsum()]).astype(np.int64)),
        "y": torch.from_numpy(in_units(raw.y, NAMES)),
        "idx": torch.from_numpy(raw.idx.astype(np.int64)),
        "smiles": torch.frombuffer(bytearray(b"".join(smiles)), dtype=torch.uint8),
        "smiles_ptr": torch.from_numpy(np.concatenate([[0], sizes.cumsum()])),
    }
    header = {
        "version": qm9.FORMAT_VERSION,
        "properties": NAMES,
        "level_of_theory": qm9.LEVEL_OF_THEORY,
        "source": source,
    }
    write_tensors(tensors, header, path)


def _is_prepared(path: Path) -> bool:
    """Whether a whole file of the present version lies there."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["molgeo"])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError):
        return False
    return bool(header.get("version") == qm9.FORMAT_VERSION)


def _download(folder: Path, progress: Progress | None, expected: Fingerprint) -> tuple[RawQM9, str]:
    """The first mirror's QM9 that arrives whole, and its name."""
    failures = []
    for mirror in MIRRORS:
        try:
            path = fetch(mirror.url, folder / mirror.name, mirror.md5, progress)
            raw = normalised(read(path, progress))
            check(raw, expected)
        except ValueError as error:
            (folder / mirror.name).unlink(missing_ok=True)  # or it would be read again next time
            failures.append(f"{mirror.name}: {error}")
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
            failures.append(f"{mirror.url}: {error}")
        else:
            return raw, mirror.name
    raise DownloadError(
        "QM9 could not be downloaded; `pip install qm9pack` brings it along, or name a file: "
        f"`molgeo data prepare qm9 --source dsgdb9nsd.xyz.tar.bz2` ({'; '.join(failures)})"
    )
