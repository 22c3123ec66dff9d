"""Label packed structures with the AIMNet2 ensemble, in large padded batches.

    python label_gpu.py label PACK aimnet2_wb97m-d3_ens.jpt OUT     # where the GPU is
    python label_gpu.py unpack PACK OUT labelled.npz                # where the structures are

`label` writes ``OUT/labelled.npz``, a set for ``data: forces``, and
``OUT/labels-NN.npz.xz``, at most 16 MiB each: the labels alone, forces in steps of 2 meV/Å, from
which `unpack` makes the same set again.

A packed file has the arrays ``n`` (atoms of each structure), ``charge`` (e), ``kind``, ``group``
(number of a scaffold), ``part``, ``source`` (indices of the lists below), ``z``, and the positions
about the middle in steps of 1e-3 Å, as differences along the atoms, in a high and a low byte.

Labels are the mean of four networks (`molgeo.generate.aimnet2_method`). Structures are left out if
the networks disagree, or if an atom is torn at.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import time
from pathlib import Path

import numpy as np
import torch

from molgeo.generate.aimnet2_method import Ensemble

KINDS = (
    "geometry",
    "noise",
    "thermal",
    "vibration",
    "torsion",
    "bend",
    "stretch",
    "dimer",
    "cluster",
    "transfer",
)
SOURCES = (
    "list",
    "qm9",
    "changed",
    "small",
    "conjugated",
    "water",
    "large",
    "monomers",
    "tautomers",
    "liquid",
    "medium",
)
PARTS = ("train", "validation", "test")
STEP = 1e-3
"""Å, of positions."""
FORCE_STEP = 2e-3
"""eV/Å, of the forces on their way back."""
LARGEST_FORCE = 30.0
"""eV/Å, of any atom."""
LARGEST_SPREAD = 1.0
"""eV/Å, standard deviation of the networks' forces on any atom."""
REASONS = ("kept", "not finite", "force", "spread")
SIZES = (3, 4, 5, *range(6, 32, 2), 33, 36, 40, 45, 50, 56, 64, 76, 100)
"""Atoms of a padded structure: few shapes, which torch learns once."""
LARGEST_FILE = 15.9 * 2**20

Arrays = dict[str, np.ndarray]


def pack_positions(steps: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Differences along the atoms of each structure, as high and low bytes (3, atoms).

    Args:
        steps: (atoms, 3) int16.
        n: atoms of each structure.
    """
    first = np.concatenate([[0], np.cumsum(n.astype(np.int64))[:-1]])
    wide = steps.astype(np.int32)
    difference = np.diff(wide, axis=0, prepend=0)
    difference[first] = wide[first]
    folded = ((difference << 1) ^ (difference >> 31)).astype(np.uint32).T  # signs to the last bit
    if folded.max(initial=0) > 65535:
        raise ValueError("two successive atoms are more than 32 Å apart")
    return (folded >> 8).astype(np.uint8), (folded & 255).astype(np.uint8)


def unpack_positions(high: np.ndarray, low: np.ndarray, n: np.ndarray) -> np.ndarray:
    """(atoms, 3) float32 Å: the reverse of `pack_positions`."""
    folded = (high.astype(np.int64) << 8 | low).T
    difference = (folded >> 1) ^ -(folded & 1)
    total = np.cumsum(difference, axis=0)
    first = np.concatenate([[0], np.cumsum(n.astype(np.int64))[:-1]])
    before = np.concatenate([np.zeros((1, 3), np.int64), total])[first]
    return ((total - np.repeat(before, n, axis=0)) * STEP).astype(np.float32)


def read_pack(folder: Path) -> Arrays:
    """All structures, concatenated, with positions ``r``."""
    parts = []
    for path in sorted(folder.glob("structures-*.npz.xz")):
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
            part = dict(file)
        part["r"] = unpack_positions(part.pop("high"), part.pop("low"), part["n"])
        parts.append(part)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def batches(n: np.ndarray, most_atoms: int, most_pairs: int) -> list[tuple[int, np.ndarray, int]]:
    """Padded size, structures and full size of each batch; the largest structures first."""
    size_of = np.array(SIZES)[np.searchsorted(SIZES, n)]
    found = []
    for size in sorted(set(size_of.tolist()), reverse=True):
        rows = np.flatnonzero(size_of == size)
        full = max(1, min(most_atoms // size, most_pairs // size**2, len(rows)))
        found += [(size, rows[k : k + full], full) for k in range(0, len(rows), full)]
    return found


def compute(pack: Arrays, ensemble: Ensemble, most_atoms: int, most_pairs: int) -> Arrays:
    """Labels of all structures, in their order."""
    n = pack["n"].astype(np.int64)
    ptr = np.concatenate([[0], np.cumsum(n)])
    e, e_std, spread = (np.full(len(n), np.nan) for _ in range(3))
    f = np.zeros((ptr[-1], 3), np.float32)
    todo = batches(n, most_atoms, most_pairs)
    start, said = time.monotonic(), 0.0
    for done, (size, rows, full) in enumerate(todo):
        filled = np.concatenate([rows, np.repeat(rows[-1:], full - len(rows))])
        is_atom = np.arange(size) < n[filled][:, None]
        atom = np.where(is_atom, ptr[filled][:, None] + np.arange(size), 0)
        z = np.where(is_atom, pack["z"][atom], 0)
        r = np.where(is_atom[..., None], pack["r"][atom], np.float32(0.0))
        found = ensemble(z, r, pack["charge"][filled])
        k = len(rows)
        e[rows], e_std[rows] = found.energy[:k], found.energy_std[:k]
        spread[rows] = np.linalg.norm(found.forces_std[:k], axis=-1).max(-1)
        f[atom[:k][is_atom[:k]]] = found.forces[:k][is_atom[:k]]
        if (now := time.monotonic() - start) > said + 5.0 or done + 1 == len(todo):
            said = now
            print(f"{now:6.1f} s: {done + 1} of {len(todo)} batches, size {size}", flush=True)
    return {"e": e, "f": f, "e_std": e_std, "spread": spread}


def judge(n: np.ndarray, labels: Arrays) -> np.ndarray:
    """(structures,) which of `REASONS` holds."""
    first = np.concatenate([[0], np.cumsum(n.astype(np.int64))[:-1]])
    size = np.linalg.norm(labels["f"], axis=-1)
    largest = np.maximum.reduceat(np.nan_to_num(size, nan=np.inf), first)
    finite = np.isfinite(labels["e"]) & np.isfinite(largest) & np.isfinite(labels["spread"])
    verdict = np.zeros(len(n), np.uint8)
    verdict[labels["spread"] > LARGEST_SPREAD] = 3
    verdict[largest > LARGEST_FORCE] = 2
    verdict[~finite] = 1
    return verdict


def labelled(pack: Arrays, labels: Arrays, verdict: np.ndarray) -> Arrays:
    """The arrays of a set for ``data: forces``."""
    keep = verdict == 0
    atoms = np.repeat(keep, pack["n"])
    made = {"z": pack["z"][atoms], "r": pack["r"][atoms], "f": labels["f"][atoms]}
    made |= {"n": pack["n"][keep].astype(np.int32), "e": labels["e"][keep]}
    made |= {key: pack[key][keep] for key in ("charge", "group", "part", "kind", "source")}
    made["spread"] = labels["spread"][keep].astype(np.float32)
    return made


def write_labels(folder: Path, n: np.ndarray, labels: Arrays, verdict: np.ndarray) -> None:
    """Energies, forces of what is kept in steps, spreads; files small enough to be carried."""
    ptr = np.concatenate([[0], np.cumsum(n.astype(np.int64))])

    def text(a: int, b: int) -> bytes:
        kept = np.repeat(verdict[a:b] == 0, n[a:b])
        steps = np.rint(labels["f"][ptr[a] : ptr[b]][kept] / FORCE_STEP).astype(np.int32)
        folded = ((steps << 1) ^ (steps >> 31)).astype(np.uint32).T
        buffer = io.BytesIO()
        np.savez(
            buffer,
            e=labels["e"][a:b],
            verdict=verdict[a:b],
            spread=labels["spread"][a:b].astype(np.float16),
            e_std=labels["e_std"][a:b].astype(np.float16),
            high=(folded >> 8).astype(np.uint8),
            low=(folded & 255).astype(np.uint8),
        )
        return lzma.compress(buffer.getvalue(), preset=0)

    sample = len(text(0, min(len(n), 20000))) / min(len(n), 20000)
    per_file = max(1, int(0.93 * LARGEST_FILE / sample))
    for k, a in enumerate(range(0, len(n), per_file)):
        written = text(a, min(a + per_file, len(n)))
        (folder / f"labels-{k:02d}.npz.xz").write_bytes(written)


def read_labels(folder: Path, n: np.ndarray) -> tuple[Arrays, np.ndarray]:
    """Labels and verdicts as `write_labels` wrote them; forces of what was left out are zero."""
    parts = []
    for path in sorted(folder.glob("labels-*.npz.xz")):
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as file:
            parts.append(dict(file))
    joined = {key: np.concatenate([p[key] for p in parts], -1) for key in parts[0]}
    verdict = joined["verdict"]
    if len(verdict) != len(n):
        raise ValueError(f"{len(n)} structures have {len(verdict)} labels: not of this pack")
    folded = (joined["high"].astype(np.int64) << 8 | joined["low"]).T
    f = np.zeros((int(n.astype(np.int64).sum()), 3), np.float32)
    f[np.repeat(verdict == 0, n)] = ((folded >> 1) ^ -(folded & 1)) * FORCE_STEP
    return {"e": joined["e"], "f": f, "spread": joined["spread"], "e_std": joined["e_std"]}, verdict


def told(pack: Arrays, labels: Arrays, verdict: np.ndarray) -> str:
    """What became of each kind, and of each element's reference."""
    lines = [f"{len(verdict)} structures: {np.bincount(verdict, minlength=4).tolist()} {REASONS}"]
    for key, names in (("kind", KINDS), ("source", SOURCES)):
        for k, name in enumerate(names):
            mine = pack[key] == k
            if mine.any():
                counts = np.bincount(verdict[mine], minlength=4).tolist()
                spread = np.nanmedian(labels["spread"][mine])
                lines.append(f"{key:6s} {name:11s} {counts} median spread {spread:.3f} eV/Å")
    elements = np.unique(pack["z"])
    frame = np.repeat(np.arange(len(pack["n"])), pack["n"])
    counts = np.stack(
        [np.bincount(frame[pack["z"] == e], minlength=len(pack["n"])) for e in elements], 1
    )
    keep = verdict == 0
    fit = np.linalg.lstsq(counts[keep].astype(float), labels["e"][keep], rcond=None)[0]
    lines.append(
        "reference energies, eV: "
        + json.dumps(dict(zip(elements.tolist(), fit.round(3), strict=True)))
    )
    rms = np.sqrt(np.square(labels["f"][np.repeat(keep, pack["n"])]).mean())
    lines.append(f"RMS force component {rms:.3f} eV/Å")
    return "\n".join(lines)


def label(options: argparse.Namespace) -> None:
    """Label a pack."""
    start = time.monotonic()
    pack = read_pack(options.pack)
    if options.limit and options.limit < len(pack["n"]):
        rows = np.random.default_rng(options.seed).permutation(len(pack["n"]))[: options.limit]
        pack = subset(pack, np.sort(rows))
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    ensemble = Ensemble(options.model, device)
    print(f"{time.monotonic() - start:.1f} s: {len(pack['n'])} structures on {device}", flush=True)
    labels = compute(pack, ensemble, options.atoms, options.pairs)
    verdict = judge(pack["n"], labels)
    options.out.mkdir(parents=True, exist_ok=True)
    np.savez(options.out / "labelled.npz", **labelled(pack, labels, verdict))
    print(f"{time.monotonic() - start:.1f} s: the set is written", flush=True)
    text = told(pack, labels, verdict)
    (options.out / "labels.txt").write_text(text + "\n")
    print(text, flush=True)
    write_labels(options.out, pack["n"], labels, verdict)
    print(f"{time.monotonic() - start:.1f} s: all is written", flush=True)


def subset(pack: Arrays, rows: np.ndarray) -> Arrays:
    """Some structures of a pack; rows ascend."""
    keep = np.zeros(len(pack["n"]), bool)
    keep[rows] = True
    atoms = np.repeat(keep, pack["n"])
    return {key: v[atoms] if key in ("z", "r") else v[keep] for key, v in pack.items()}


def unpack(options: argparse.Namespace) -> None:
    """Make the labelled set from structures and labels."""
    pack = read_pack(options.pack)
    labels, verdict = read_labels(options.out, pack["n"])
    np.savez_compressed(options.set, **labelled(pack, labels, verdict))
    print(told(pack, labels, verdict))


def main() -> None:
    """Label, or unpack labels."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("label").add_argument
    add("pack", type=Path)
    add("model", type=Path)
    add("out", type=Path)
    add("--device", default="")
    add("--atoms", type=int, default=40_000, help="most atoms of a batch")
    add("--pairs", type=int, default=1_500_000, help="most pairs of atoms of a batch")
    add("--limit", type=int, default=0, help="so many structures, drawn; 0 for all")
    add("--seed", type=int, default=0)
    commands.choices["label"].set_defaults(run=label)
    add = commands.add_parser("unpack").add_argument
    add("pack", type=Path)
    add("out", type=Path)
    add("set", type=Path)
    commands.choices["unpack"].set_defaults(run=unpack)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
