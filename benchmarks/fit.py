"""`molgeo fit` beside chemprop on ESOL, FreeSolv and Lipophilicity: the very same splits.

    python benchmarks/fit.py DATA --work runs/fit_benchmark --chemprop ~/chemprop/bin/chemprop
    python benchmarks/fit.py DATA --work runs/fit_benchmark --sets freesolv --methods molgeo scratch
    python benchmarks/fit.py DATA --sets gap-1000 mu-1000 --splits random --seeds 0
    python benchmarks/fit.py --show                         # the table of what was measured

DATA is a folder with ``esol.csv``, ``freesolv.csv`` and ``lipo.csv``, each with a column of SMILES
and one of values. Sets such as ``gap-1000`` are made of QM9: the SMILES of 1,000 molecules to
learn from and 1,000 of QM9's test part; u0 is the atomization energy.

Every run is written into the JSON file as it ends, and is not made again: a
command that was killed goes on. Chemprop comes from an environment of its own (`pip install
chemprop`), at its defaults on a CPU; molgeo at its own defaults. Both see the same parts. Chemprop
chooses its epoch by the part ``val``; molgeo takes its rows to its folds, and tests on ``test``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from molgeo.data.qm9.dataset import QM9, atom_references
from molgeo.runtime.whole_file import replacing

SETS = {
    "freesolv": ("freesolv", "kcal/mol"),
    "esol": ("logSolubility", "log mol/L"),
    "lipo": ("lipo", ""),
}
"""Name of a file → title of its column of values, and their unit."""

OF_QM9 = {"gap": "eV", "mu": "D", "alpha": "a0^3", "u0": "eV"}
SETS |= {f"{name}-{n}": (name, unit) for n in (1000, 10000) for name, unit in OF_QM9.items()}

TESTED = 1000
"""Molecules of QM9's test part."""

KINDS = ("scaffold", "random")
METHODS = ("chemprop", "molgeo", "scratch")
"""``scratch`` is molgeo with random weights."""

RESULTS = Path(__file__).with_suffix(".json")


def parts(smiles: list[str], kind: str, seed: int) -> list[str]:
    """``train``, ``val`` or ``test`` of each row, 80 : 10 : 10.

    Rows of one molecule stay together, whatever its stereo; with ``scaffold`` also those of one
    Bemis-Murcko scaffold. Groups that are larger than half the test part go to training first.
    """
    groups = defaultdict(list)
    for row, text in enumerate(smiles):
        mol = Chem.MolFromSmiles(text)
        if kind == "scaffold":
            name = MurckoScaffold.MurckoScaffoldSmiles(mol=mol, includeChirality=False)
        else:
            name = Chem.MolToSmiles(mol, isomericSmiles=False)
        groups[name].append(row)
    n = round(0.1 * len(smiles))
    room = {"train": len(smiles) - 2 * n, "val": n, "test": len(smiles)}
    order = [groups[name] for name in sorted(groups)]
    random.Random(seed).shuffle(order)
    found = [""] * len(smiles)
    for group in sorted(order, key=lambda group: len(group) <= n / 2):
        part = next(part for part in room if room[part] >= len(group))
        room[part] -= len(group)
        for row in group:
            found[row] = part
    return found


def of_free_atoms(data: QM9, rows: np.ndarray, name: str) -> np.ndarray:
    """(rows,) energies of molecules' free atoms; 0 if the property is no energy."""
    free = atom_references().get(name)
    if free is None:
        return np.zeros(len(rows))
    bounds = data.molecules.bounds
    atoms = [data.molecules.z[bounds[row] : bounds[row + 1]].tolist() for row in rows]
    return np.array([sum(map(free.__getitem__, z)) for z in atoms])


def of_qm9(set_name: str, seed: int) -> pd.DataFrame:
    """Molecules of QM9 with a property, and their parts; a tenth of those to learn from is ``val``.

    Args:
        set_name: such as ``gap-1000``.
        seed: of which molecules are learned from; those that are tested on are the same for all.
    """
    name, n = set_name.split("-")
    data = QM9()
    own = data.split()
    train = np.random.RandomState(seed).permutation(own.train.numpy())[: int(n)]
    test = np.random.RandomState(0).permutation(own.test.numpy())[:TESTED]
    rows = np.concatenate([train, test])
    values = data.molecules.y[rows, data.molecules.properties.index(name)].numpy()
    values = values - of_free_atoms(data, rows, name)
    n_val = len(train) // 10
    parts = ["train"] * (len(train) - n_val) + ["val"] * n_val + ["test"] * len(test)
    smiles = data.all_smiles()
    return pd.DataFrame({"smiles": [smiles[row] for row in rows], name: values, "split": parts})


def table_of(data: Path, work: Path, run: str) -> Path:
    """The file of a run, with a column ``split``."""
    name, kind, seed = run.split("_")
    path = work / "splits" / f"{run}.csv"
    if not path.exists() and "-" in name:
        path.parent.mkdir(parents=True, exist_ok=True)
        of_qm9(name, int(seed)).to_csv(path, index=False)
    if not path.exists():
        rows = pd.read_csv(data / f"{name}.csv")
        rows["split"] = parts(rows["smiles"].tolist(), kind, int(seed))
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(path, index=False)
    return path


def timed(command: list[str], log: Path) -> dict[str, float]:
    """Run a command: its seconds by the clock and of processors."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with log.open("w") as file:
        subprocess.run(command, check=True, stdout=file, stderr=subprocess.STDOUT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.monotonic() - start, 1), "cpu_seconds": round(cpu, 1)}


def errors(values: Any, predicted: Any) -> dict[str, float]:
    """Of a test part."""
    wrong = np.asarray(predicted, float) - np.asarray(values, float)
    return {
        "n": len(wrong),
        "rmse": float(np.sqrt(np.mean(wrong**2))),
        "mae": float(np.mean(np.abs(wrong))),
    }


def chemprop(
    program: str, path: Path, folder: Path, targets: list[str], *options: str
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float]]:
    """Train chemprop on a file with the columns ``smiles`` and ``split``.

    Args:
        program: chemprop's.
        path: the file.
        folder: of what it writes; its log is beside.
        targets: columns of values.
        options: more words for it.

    Returns:
        The test rows, what it predicts for them, and the seconds it took.

    Raises:
        ValueError: it predicted other rows.
    """
    command = [program, "train", "--data-path", str(path), "-s", "smiles", "-t", "regression"]
    command += ["--target-columns", *targets, "--splits-column", "split", "--accelerator", "cpu"]
    took = timed([*command, *options, "-o", str(folder)], folder.with_suffix(".log"))
    rows = pd.read_csv(path).query("split == 'test'").reset_index(drop=True)
    (found,) = folder.rglob("test_predictions.csv")
    predicted = pd.read_csv(found)
    if predicted["smiles"].tolist() != rows["smiles"].tolist():
        raise ValueError(f"{found}: expected the test rows in their order")
    return rows, predicted, took


def of_chemprop(program: str, path: Path, folder: Path) -> dict[str, Any]:
    """Train chemprop and test it."""
    target, seed = SETS[path.stem.split("_")[0]][0], path.stem.split("_")[2]
    rows, predicted, took = chemprop(program, path, folder, [target], "--pytorch-seed", seed)
    return errors(rows[target], predicted[target]) | took


def of_molgeo(path: Path, folder: Path, from_scratch: bool) -> dict[str, Any]:
    """Fit a model and test it, with the share of values within the 90% bars."""
    target, unit = SETS[path.stem.split("_")[0]]
    command = [sys.executable, "-m", "molgeo", "fit", str(path), "--target", target]
    command += ["--unit", unit, "--smiles", "smiles", "--split", "split", "--output", str(folder)]
    command += ["--force", *(["--from-scratch"] if from_scratch else [])]
    took = timed(command, folder.with_suffix(".log"))
    rows = pd.read_csv(folder / "rows.csv").query("part == 'test'")
    (column,) = (name.removesuffix("_predicted") for name in rows if name.endswith("_predicted"))
    value, predicted, low, high, rival = (
        rows[f"{column}_{end}"] for end in ("value", "predicted", "low90", "high90", "baseline")
    )
    inside = float(((low <= value) & (value <= high)).mean())
    two_d = float(np.sqrt(np.mean((rival - value) ** 2)))
    width = float((high - low).mean())
    return errors(value, predicted) | {"inside": inside, "width": width, "two_d": two_d} | took


def write_results(known: dict[str, Any], path: Path) -> None:
    """Write all runs, whole or not at all."""
    with replacing(path) as part:
        part.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def measure(options: argparse.Namespace, known: dict[str, Any]) -> None:
    """Make all runs that are not known."""
    work = Path(options.work)
    for seed in options.seeds:
        for name in options.sets:
            for kind in options.splits:
                for method in options.methods:
                    run = f"{name}_{kind}_{seed}"
                    if f"{run}_{method}" in known:
                        continue
                    path, folder = table_of(Path(options.data), work, run), work / method / run
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.parent.mkdir(parents=True, exist_ok=True)
                    found = (
                        of_chemprop(options.chemprop, path, folder)
                        if method == "chemprop"
                        else of_molgeo(path, folder, method == "scratch")
                    )
                    known[f"{run}_{method}"] = found
                    write_results(known, Path(options.json))
                    print(
                        f"{run} {method}", *(f"{k} {v:.4g}" for k, v in found.items()), flush=True
                    )


def lines(known: dict[str, Any]) -> list[str]:
    """A table of means over the seeds that every method of a split has."""
    found = ["| set, split | seeds | method | RMSE | MAE | 90% bars hold | s | s of CPU |"]
    found.append("|---|--:|---|--:|--:|--:|--:|--:|")
    for name in SETS:
        for kind in KINDS:
            by_method: dict[str, dict[str, Any]] = defaultdict(dict)
            for key, told in known.items():
                run, _, method = key.rpartition("_")
                if run.startswith(f"{name}_{kind}_"):
                    by_method[method][run] = told
            shared = set.intersection(*map(set, by_method.values())) if by_method else set()
            for method in filter(by_method.get, METHODS):
                own = [by_method[method][run] for run in sorted(shared)]
                if own:
                    found.append(_line(f"{name}, {kind}", method, own))
    return found


def _line(what: str, method: str, own: list[dict[str, Any]]) -> str:
    def mean(key: str, form: str) -> str:
        values = [one[key] for one in own if key in one]
        return format(np.mean(values), form) if values else ""

    rmse = [one["rmse"] for one in own]
    told = f"{np.mean(rmse):.3f} ± {np.std(rmse):.3f}"
    rest = (mean("mae", ".3f"), mean("inside", ".0%"), mean("seconds", ".0f"))
    cells = (what, len(own), method, told, *rest, mean("cpu_seconds", ".0f"))
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Measure what is asked for, and show all that is known."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("data", nargs="?", help="folder of the three files")
    parser.add_argument("--work", default="runs/fit_benchmark", help="folder of splits and models")
    parser.add_argument("--chemprop", default="chemprop", help="chemprop's program")
    own = ["freesolv", "esol", "lipo"]
    parser.add_argument("--sets", nargs="+", default=own, choices=list(SETS))
    parser.add_argument("--splits", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=["chemprop", "molgeo"], choices=METHODS)
    parser.add_argument("--json", default=str(RESULTS), help="file of results")
    parser.add_argument("--show", action="store_true", help="measure nothing")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    path = Path(options.json)
    known = json.loads(path.read_text()) if path.exists() else {}
    if not options.show:
        if options.data is None:
            parser.error("expected the folder of the three files, or --show")
        measure(options, known)
    print("\n".join(lines(known)))


if __name__ == "__main__":
    main()
