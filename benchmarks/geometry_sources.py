"""Where given coordinates come from: the table that tells it is learned here, and checked.

    python benchmarks/geometry_sources.py geometries   # an hour of a core: GFN2-xTB; goes on
    python benchmarks/geometry_sources.py learn        # writes molgeo/chem/geometry_sources.npz
    python benchmarks/geometry_sources.py check        # sources of test molecules told apart
    python benchmarks/geometry_sources.py errors       # of the default models at each source

QM9's training part alone teaches. The errors at GFN2's and at distorted geometries, by which one of
two models is taken, are those of validation molecules. QM9 has to be prepared, and tblite be there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from molgeo.chem import geometry_source
from molgeo.chem.geometry_source import SOURCES, STEP, VERSION, Lengths, Table, features, lengths_of
from molgeo.datasets import QM9
from molgeo.units import BOHR

Structure = tuple[np.ndarray, np.ndarray]
"""Atomic numbers and positions in Å."""

TABLE: Final = Path(geometry_source.__file__).with_name("geometry_sources.npz")
LEAST: Final = (10, 10, 20)
"""Lengths of a kind, of each source, that make it known: coarse, medium and fine kinds."""
PRIOR: Final = 10.0
"""Lengths that the shift of a coarser kind counts as much as."""
FMAX: Final = 0.01
"""eV/Å, to which GFN2-xTB relaxes."""
FEWEST_SHIFTS: Final = 5


def dft(data: QM9, rows: Iterable[int]) -> list[Structure]:
    """The data set's own minima."""
    molecules, ptr = data.molecules, data.molecules.ptr.tolist()
    spans = ((ptr[row], ptr[row + 1]) for row in rows)
    return [
        (molecules.z[a:b].numpy().astype(np.int64), molecules.pos[a:b].double().numpy())
        for a, b in spans
    ]


def made(
    data: QM9, rows: Iterable[int], kind: str, work: Path, most: int | None = None
) -> dict[int, Structure]:
    """Minima of another method next to the own ones, by row; what is in a file is kept.

    Args:
        data: QM9.
        rows: of the molecules.
        kind: ``mmff``; ``smiles``, of MMFF94 from new conformers; ``gfn2``.
        work: folder of the file, which grows.
        most: molecules to make now; None for all.

    Returns:
        Those that have such a minimum.
    """
    path = work / f"{kind}.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = {one["row"]: one for one in map(json.loads, lines)}
    make = _gfn2 if kind == "gfn2" else partial(_mmff, kind=kind)
    with path.open("a", buffering=1) as file:
        for row in [row for row in rows if row not in found][:most]:
            found[row] = {"row": row, **make(data, row)}
            file.write(json.dumps(found[row]) + "\n")
    return {
        row: (np.array(found[row]["z"]), np.array(found[row]["pos"]))
        for row in rows
        if row in found and found[row]["ok"]
    }


def _gfn2(data: QM9, row: int) -> dict[str, Any]:
    from ase import Atoms
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    ((z, pos),) = dft(data, [row])
    atoms = Atoms(z, pos, calculator=TBLite(method="GFN2-xTB", verbosity=0))
    with BFGS(atoms, logfile=None) as optimiser:
        is_minimum = bool(optimiser.run(fmax=FMAX, steps=300))
    return {"ok": is_minimum, "z": z.tolist(), "pos": atoms.positions.round(5).tolist()}


def _mmff(data: QM9, row: int, kind: str) -> dict[str, Any]:
    from molgeo.generate.qm9 import make

    found = make(data, np.array([row]), kind, workers=1)
    is_minimum = bool(found.n_conformers[0]) and "uff" not in found.statuses[found.status[0]]
    return {
        "ok": is_minimum,
        "z": found.z.tolist(),
        "pos": found.pos.astype(float).round(5).tolist(),
    }


def noisy(structures: Iterable[Structure], low: float, high: float, seed: int) -> list[Structure]:
    """The same with Gaussian noise on each coordinate, of a width between two, Å."""
    rng = np.random.default_rng(seed)
    return [
        (z, pos + rng.uniform(low, high) * rng.standard_normal(pos.shape)) for z, pos in structures
    ]


def flat(structures: Sequence[Structure]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``z``, ``pos`` and ``ptr`` of `geometry_source.judge`."""
    ptr = np.cumsum([0, *(len(z) for z, _ in structures)])
    z, pos = (np.concatenate([one[k] for one in structures]) for k in range(2))
    return z, pos, ptr


def table_of(
    own: Sequence[Structure],
    force_field: Sequence[Structure],
    tight_binding: Sequence[tuple[Structure, Structure]],
) -> Table:
    """Means and widths of the lengths of each kind; the weights are still 0.

    Args:
        own: minima of the data set.
        force_field: minima of MMFF94.
        tight_binding: pairs of a minimum of the data set and that of GFN2-xTB next to it. These are
            few, and the shift between the two hardly scatters: so shifts are what is learned.
    """
    found, other = lengths_of(*flat(own)), lengths_of(*flat(force_field))
    before = lengths_of(*flat([pair[0] for pair in tight_binding]))
    pos = flat([pair[1] for pair in tight_binding])[1]
    moved = np.linalg.norm(pos[before.ends[:, 0]] - pos[before.ends[:, 1]], axis=1) - before.length
    shifts: dict[int, float] = {}
    rows: dict[int, tuple[list[float], list[float]]] = {}
    for level, least in enumerate(LEAST):
        a, b, c = (_by_kind(one, level) for one in (found, other, before))
        for kind in a.keys() & b.keys():
            if min(len(a[kind]), len(b[kind])) < least:
                continue
            seen = moved[c[kind]] if kind in c else np.zeros(0)
            if level == 0 and len(seen) < FEWEST_SHIFTS:
                continue
            coarser = shifts.get(int(found.kinds[level - 1][a[kind][0]])) if level else 0.0
            if coarser is None:
                continue
            n, prior = len(seen), PRIOR if level else 0.0
            total = (n * float(np.median(seen)) if n else 0.0) + prior * coarser
            shifts[kind] = total / (n + prior)
            (mean, width), (second, its_width) = (
                _mean_and_width(one.length[place[kind]]) for one, place in ((found, a), (other, b))
            )
            rows[kind] = [mean, second, mean + shifts[kind]], [width, its_width, width]
    codes = sorted(rows)
    mean, width = (np.array([rows[kind][k] for kind in codes]) for k in range(2))
    return Table(np.array(codes, np.uint64), mean, width, np.zeros((0, 0)))


def _by_kind(found: Lengths, level: int) -> dict[int, np.ndarray]:
    codes = found.kinds[level]
    order = np.argsort(codes, kind="stable")
    kinds, first = np.unique(codes[order], return_index=True)
    return dict(zip(kinds.tolist(), np.split(order, first[1:]), strict=True))


def _mean_and_width(lengths: np.ndarray) -> tuple[float, float]:
    """Without those far away; a width is at least 1.5 mÅ."""
    middle = np.median(lengths)
    spread = max(1.4826 * float(np.median(np.abs(lengths - middle))), 0.002)
    kept = lengths[np.abs(lengths - middle) <= 4 * spread]
    return float(kept.mean()), max(float(kept.std()), 0.0015)


def with_weights(table: Table, samples: Sequence[tuple[int, Sequence[Structure]]]) -> Table:
    """The table with its logistic regression, of which all classes count the same.

    Args:
        table: means and widths.
        samples: of a class (`SOURCES`, and 4 for functionals of shorter bonds) its structures.
    """
    x = [features(lengths_of(*flat(own)), len(own), table)[0] for _, own in samples]
    inputs = torch.tensor(np.concatenate(x))
    labels = torch.cat([torch.full((len(own),), k) for k, own in samples])
    share = 1 / torch.bincount(labels).clamp(min=1).double()
    n = len(SOURCES) + 1
    weights = torch.zeros(inputs.shape[1] + 1, n, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=80, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = inputs @ weights[:-1] + weights[-1]
        value = torch.nn.functional.cross_entropy(logits, labels, weight=share)
        value = value + 1e-3 * weights[:-1].square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    return table._replace(weights=weights.detach().numpy())


def learn(data: QM9, work: Path, limit: int, n_gfn2: int) -> Table:
    """The table, of training molecules; ``limit`` of them at the data set's own minima."""
    rows = data.split().train.tolist()
    own, own_gfn2 = dft(data, rows[:limit]), made(data, rows[:n_gfn2], "gfn2", work, 0)
    force_field = [*made(data, rows[: limit // 5], "mmff", work).values()]
    force_field += made(data, rows[: limit // 8], "smiles", work).values()
    pairs = list(zip(dft(data, own_gfn2), own_gfn2.values(), strict=True))
    rng = np.random.default_rng(0)
    short = [(z, pos * rng.uniform(0.9945, 0.9969)) for z, pos in own[: limit // 5]]
    samples = [
        (0, own[: limit // 4]),
        (1, force_field),
        (2, list(own_gfn2.values())),
        (3, noisy(own[limit // 4 : limit // 2], 0.02, 0.1, seed=0)),
        (4, short),
    ]
    return with_weights(table_of(own, force_field, pairs), samples)


def write(table: Table, path: Path = TABLE) -> None:
    """The file of the package."""
    lengths = {"mean": table.mean, "width": table.width}
    rounded = {name: np.rint(each / STEP).astype(np.uint16) for name, each in lengths.items()}
    weights = table.weights.astype(np.float32)
    np.savez_compressed(path, version=VERSION, codes=table.codes, weights=weights, **rounded)


def check(data: QM9, work: Path, limit: int) -> dict[str, dict[str, float]]:
    """Source → judgement → share of test molecules; of Bohr, whose error names the unit."""
    from molgeo.chem.plausible import implausible

    rows = data.split().test[:limit].tolist()
    own = dft(data, rows)
    cases = {
        "dft": own,
        "mmff94": list(made(data, rows, "mmff", work).values()),
        "mmff94, from SMILES": list(made(data, rows[: limit // 2], "smiles", work).values()),
        "gfn2": list(made(data, rows, "gfn2", work, 0).values()),
        "noise of 0.05 Å": noisy(own, 0.05, 0.05, seed=1),
    }
    shares: dict[str, dict[str, float]] = {}
    for name, structures in cases.items():
        if structures:
            found = geometry_source.judge(*flat(structures))
            shares[name] = {str(k): found.count(k) / len(found) for k in (*SOURCES, None)}
            shares[name]["n"] = len(found)
    said = [implausible(z, pos / BOHR) or "" for z, pos in own]
    shares["bohr"] = {
        "unit": sum("look like bohr" in one for one in said) / len(own),
        "n": len(own),
    }
    return shares


def errors(data: QM9, work: Path, limit: int) -> dict[str, dict[str, dict[str, float]]]:
    """Source → model → column → mean absolute error, of files with such coordinates."""
    from molgeo import predict
    from molgeo.data.qm9.properties import named
    from molgeo.predictor.checkpoint import DEFAULT_MODEL, DEFAULT_SMILES_MODEL

    split = data.split()
    validation, test = split.validation[:limit].tolist(), split.test[:limit].tolist()
    own = dict(zip(validation, dft(data, validation), strict=True))
    noise = zip(validation, noisy(own.values(), 0.05, 0.05, seed=2), strict=True)
    cases: dict[str, Callable[[], dict[int, Structure]]] = {
        "dft, validation": lambda: own,
        "gfn2, validation": partial(made, data, validation, "gfn2", work, 0),
        "noise of 0.05 Å, validation": lambda: dict(noise),
        "mmff94, test": partial(made, data, test, "mmff", work),
    }
    properties = named(data.molecules.properties)
    shown: dict[str, dict[str, dict[str, float]]] = {}
    for case, make in cases.items():
        structures = make()
        labels = data.molecules.y[list(structures)]
        for model in (None, DEFAULT_MODEL, DEFAULT_SMILES_MODEL):
            rows = predict(list(structures.values()), model=model)
            columns = [one.column for one in properties]
            error = np.nanmean(np.abs(rows[columns].to_numpy(float) - labels.numpy()), 0)
            shown.setdefault(case, {})[model or "default"] = {
                "n": len(rows),
                **dict(zip(columns, error.round(5).tolist(), strict=True)),
            }
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one part, and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=["geometries", "learn", "check", "errors"])
    parser.add_argument("--work", type=Path, default=Path("runs/geometry_sources"))
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--gfn2", type=int, default=600, help="training molecules at GFN2")
    parser.add_argument("--limit", type=int, default=2000, help="molecules of a check")
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args(arguments)
    data = QM9(options.data_dir / "qm9" if options.data_dir else None)
    options.work.mkdir(parents=True, exist_ok=True)
    if options.part == "geometries":
        for part, n in (("train", options.gfn2), ("validation", 500), ("test", options.limit)):
            rows = getattr(data.split(), part)[:n].tolist()
            print(part, len(made(data, rows, "gfn2", options.work)))
    elif options.part == "learn":
        write(learn(data, options.work, options.train, options.gfn2), options.output)
    else:
        run = check if options.part == "check" else errors
        print(json.dumps(run(data, options.work, options.limit), indent=1))


if __name__ == "__main__":
    main()
