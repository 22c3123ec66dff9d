"""Pack the structures of the finished files, to be carried to a machine that labels them.

    python benchmarks/force_field_data/pack.py OUT PACK [--chunks 40]

An unfinished run is packed as far as it is. ``PACK/structures-NN.npz.xz`` are at most 16 MiB each.
``label_gpu.py`` reads them; what the arrays mean is said there.
"""

from __future__ import annotations

import argparse
import collections
import io
import itertools
import lzma
from pathlib import Path

import ase.io
import numpy as np
from label_gpu import KINDS, PARTS, SOURCES, STEP, pack_positions
from molecules import group, scaffold
from rdkit import Chem, RDLogger
from structures import Task, tasks

from molgeo.elements import SYMBOLS

LARGEST_FILE = 15.9 * 2**20
WIDEST = 16383
"""Steps from the middle, so that differences fit into 16 bits: a cluster is up to 32 Å wide."""
SMALLEST = 2
"""Atoms: a single one has no forces."""


def owners(source: str) -> list[int]:
    """Groups of a list's molecules."""
    lines = Path(source).read_text().splitlines() if source.endswith(".smi") else [source]
    words = [line.split() for line in lines if line.strip()]
    return [int(w[1]) if len(w) > 1 else group(scaffold(Chem.MolFromSmiles(w[0]))) for w in words]


def in_order(z: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Each hydrogen behind the heavy atom that it is nearest to: differences become small."""
    heavy = np.flatnonzero(z > 1)
    light = np.flatnonzero(z == 1)
    if not (len(heavy) and len(light)):
        return np.arange(len(z))
    d = np.linalg.norm(pos[light][:, None] - pos[heavy][None], axis=-1)
    key = np.concatenate([np.arange(len(heavy)), d.argmin(1) + 0.5])
    return np.concatenate([heavy, light])[np.argsort(key, kind="stable")]


def in_steps(z: np.ndarray, pos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order of a structure's atoms, and their places in it, in whole steps from the middle."""
    order = in_order(z, pos)
    middle = 0.5 * (pos.max(0) + pos.min(0))
    return order, np.rint((pos[order] - middle) / STEP)


def of_file(task: Task) -> dict[str, np.ndarray]:
    """Arrays of one file of structures, kept beside it."""
    path = task.output
    kept = path.with_suffix(".npz")
    if kept.exists() and kept.stat().st_mtime > path.stat().st_mtime:
        with np.load(kept) as file:
            return dict(file)
    groups, part = owners(task.source), PARTS.index(task.part)
    rows, z, r = [], [], []
    for atoms in ase.io.iread(path, ":"):
        if len(atoms) < SMALLEST:
            continue
        order, steps = in_steps(atoms.numbers, atoms.positions)
        if np.abs(steps).max() > WIDEST:
            continue
        z.append(atoms.numbers[order].astype(np.uint8))
        r.append(steps.astype(np.int16))
        about = atoms.info
        kind, owner = KINDS.index(about["kind"]), groups[about["row"]]
        rows.append((len(atoms), about["charge"], kind, owner, part, SOURCES.index(task.plan)))
    columns = np.array(rows, dtype=np.int64).reshape(-1, 6).T
    types = (np.uint8, np.int8, np.uint8, np.int32, np.uint8, np.uint8)
    keys = ("n", "charge", "kind", "group", "part", "source")
    made = {k: c.astype(t) for k, c, t in zip(keys, columns, types, strict=True)}
    made["z"] = np.concatenate([np.zeros(0, np.uint8), *z])
    made["steps"] = np.concatenate([np.zeros((0, 3), np.int16), *r])
    np.savez(kept, **made)
    return made


def subset(made: dict[str, np.ndarray], a: int, b: int) -> dict[str, np.ndarray]:
    """Structures from a up to b."""
    first, last = (int(made["n"][:k].sum(dtype=np.int64)) for k in (a, b))
    return {k: v[first:last] if k in ("z", "steps") else v[a:b] for k, v in made.items()}


def compressed(arrays: dict[str, np.ndarray]) -> bytes:
    """As they are written."""
    out = dict(arrays)
    out["high"], out["low"] = pack_positions(out.pop("steps"), out["n"])
    buffer = io.BytesIO()
    np.savez(buffer, **out)
    return lzma.compress(buffer.getvalue(), preset=4)


def report(made: dict[str, np.ndarray]) -> str:
    """What is in the set, as tables of Markdown."""
    n, z = made["n"].astype(int), made["z"]
    frame = np.repeat(np.arange(len(n)), n)
    lines = [f"{len(n):,} structures, {len(z):,} atoms, {n.mean():.1f} a structure.", ""]

    def table(title: str, counts: dict[str, int]) -> None:
        lines.extend([f"| {title} | structures |", "|---|---|"])
        lines.extend(f"| {key} | {count:,} |" for key, count in counts.items())
        lines.append("")

    elements = np.unique(z)
    table("element", {SYMBOLS[e]: len(np.unique(frame[z == e])) for e in elements})
    for key, labels in (("kind", KINDS), ("source", SOURCES), ("part", PARTS)):
        found = np.bincount(made[key], minlength=len(labels))
        table(key, dict(zip(labels, found.tolist(), strict=True)))
    table("charge", {f"{q:+d}": int((made["charge"] == q).sum()) for q in (-1, 0, 1)})
    edges = [2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 75, 101]
    sizes = np.histogram(n, edges)[0].tolist()
    table("atoms", {f"{a} to {b - 1}": k for a, b, k in zip(edges, edges[1:], sizes, strict=False)})
    groups = len(np.unique(made["group"]))
    lines.append(f"{groups:,} groups (scaffolds, or formulas of molecules without rings).")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Pack what is finished."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--chunks", type=int, default=40)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    finished = [t for t in tasks(options.out, options.chunks) if t.done.exists()]
    parts = [of_file(t) for t in finished if t.output.exists()]  # a list may have come to nothing
    made = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    options.pack.mkdir(parents=True, exist_ok=True)
    for old in options.pack.glob("structures-*.npz.xz"):
        old.unlink()
    few = subset(made, 0, min(len(made["n"]), 20_000))
    per_atom = len(compressed(few)) / len(few["z"])
    ptr = np.cumsum(made["n"], dtype=np.int64)
    n_files = int(np.ceil(per_atom * len(made["z"]) / (0.97 * LARGEST_FILE)))
    ends = np.searchsorted(ptr, np.linspace(0, ptr[-1], n_files + 1)[1:]) + 1
    sizes: collections.OrderedDict[str, int] = collections.OrderedDict()
    for k, (a, b) in enumerate(itertools.pairwise([0, *ends.tolist()])):
        piece = subset(made, a, b)
        path = options.pack / f"structures-{k:02d}.npz.xz"
        path.write_bytes(compressed(piece))
        sizes[path.name] = path.stat().st_size
    text = report(made)
    text += "\n" + "\n".join(f"{name}: {size / 2**20:.1f} MiB" for name, size in sizes.items())
    (options.pack / "REPORT.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
