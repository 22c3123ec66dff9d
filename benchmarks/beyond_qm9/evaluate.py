"""How far the default models are from the reference, and whether they say so.

Predicts each labelled molecule twice, as coordinates and as a SMILES, with `molgeo.predict` as a
user calls it, and compares values, error bars and flags with `labels.jsonl`.

    python benchmarks/beyond_qm9/evaluate.py --part calibration
    python benchmarks/beyond_qm9/evaluate.py --json results/beyond_qm9.json --output tables.md
    python benchmarks/beyond_qm9/evaluate.py --qm9 2000   # and how much of QM9's test part it flags
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import ase.io
import numpy as np
import pandas as pd
from labelled import by_name
from tqdm import tqdm

import molgeo
from molgeo.data.qm9.dataset import QM9
from molgeo.prediction.given import usual_conformers, weigher_name
from molgeo.predictor.checkpoint import DEFAULT_MODEL, DEFAULT_SMILES_MODEL, find, read_header

HERE: Final = Path(__file__).parent
WAYS: Final = ("coordinates", "smiles")
"""How a molecule is given."""

OUTSIDE: Final = ("drug", "small", "conjugated")
SETS: Final = ("outside", *OUTSIDE, "qm9")
"""``outside``: the three that QM9 lacks, together."""

ENERGY: Final = "energy_eV"
COLUMNS: Final = ("gap_eV", "homo_eV", "lumo_eV", "mu_debye", "alpha_bohr3", "r2_bohr2", ENERGY)
"""Of the reference; all but the electronic energy are columns of predictions too."""

WORST: Final = 0.1
CHUNK: Final = 32


def reference(folder: Path = HERE) -> pd.DataFrame:
    """The labelled molecules, by name: set, part, SMILES, labels, and their ``atoms``."""
    labels = by_name(folder / "labels.jsonl")
    if not labels:
        raise SystemExit(f"{folder / 'labels.jsonl'} is empty: run label.py first")
    atoms = {one.info["name"]: one for one in ase.io.iread(folder / "geometries.extxyz", ":")}
    table = pd.read_csv(HERE / "molecules.csv", keep_default_na=False).set_index("name")
    table = table.join(pd.DataFrame(labels.values()).set_index("name")).reindex(
        columns=[*table.columns, *COLUMNS]
    )
    table["atoms"] = [atoms.get(name) for name in table.index]
    return table[table["gap_eV"].notna()]


def predicted(inputs: Iterable[Any], of: str, model: str | None = None) -> pd.DataFrame:
    """What a user gets, by `COLUMNS`: values, ends of intervals, standard errors, flags.

    The electronic energy is U0 − ZPVE. Its interval is U0's, moved: ZPVE's is a twentieth of it.

    Args:
        inputs: as in `molgeo.predict`.
        of: what they are, for the progress bar.
        model: as in `molgeo.predict`; None for the default, which depends on the geometry.
    """
    inputs = list(inputs)
    starts = tqdm(range(0, len(inputs), CHUNK), desc=of, disable=None)
    header = read_header(model or DEFAULT_SMILES_MODEL)
    options = {"conformers": usual_conformers(weigher_name(header)), "model": model}
    found = (molgeo.predict(inputs[k : k + CHUNK], **options) for k in starts)
    table = pd.concat(found, ignore_index=True)
    for suffix in ("", "_low90", "_high90"):
        if f"u0_eV{suffix}" in table:
            table[ENERGY + suffix] = table[f"u0_eV{suffix}"] - table["zpve_eV"]
    if "u0_eV_std" in table:
        table[f"{ENERGY}_std"] = table["u0_eV_std"]
    return table


def compared(labels: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """One row per molecule and property: label, value, error, interval, whether it is flagged.

    Args:
        labels: as of `reference`.
        table: as of `predicted`, in the same order.
    """
    parts = []
    for column in COLUMNS:
        numbers = {
            key: pd.to_numeric(table.get(column + suffix, np.nan))
            for key, suffix in {
                "value": "",
                "std": "_std",
                "low": "_low90",
                "high": "_high90",
            }.items()
        }
        part = pd.DataFrame({"name": labels.index, "set": labels["set"].to_numpy(), **numbers})
        part["property"], part["label"] = column, labels[column].to_numpy(dtype=float)
        part["flagged"] = [np.nan] * len(part) if "in_domain" not in table else flags(table)
        parts.append(part)
    long = pd.concat(parts, ignore_index=True)
    long["error"] = (long["value"] - long["label"]).abs()
    return long[long["error"].notna()].reset_index(drop=True)


def flags(table: pd.DataFrame) -> list[float]:
    """1 outside the domain, 0 in it, NaN for a row that failed."""
    return [np.nan if pd.isna(one) else float(not one) for one in table["in_domain"]]


def share(of: pd.Series | np.ndarray, known: pd.Series | np.ndarray) -> float | None:
    """The share of the known that is true; None if nothing is known."""
    return float(np.mean(np.asarray(of)[np.asarray(known)])) if np.any(known) else None


def statistics(rows: pd.DataFrame) -> dict[str, float | int | None]:
    """Of one property's rows: errors, coverage, and what the flag tells apart.

    Args:
        rows: as of `compared`.
    """
    error, flagged = rows["error"], rows["flagged"].to_numpy(dtype=float)
    bars, intervals = rows["std"].notna(), (rows["low"].notna() | rows["high"].notna())
    low, high = rows["low"].fillna(-np.inf), rows["high"].fillna(np.inf)
    half = (rows["high"] - rows["low"]) / 2
    is_known = np.isfinite(flagged)
    worst = error.rank(method="first", ascending=False) <= max(1, round(WORST * len(rows)))
    of_worst = np.asarray(worst) & is_known

    def mean(values: pd.Series) -> float | None:
        return float(values.mean()) if values.notna().any() else None

    return {
        "n": len(rows),
        "mae": mean(error),
        "median": mean(error.quantile([0.5])),
        "worst": mean(error.nlargest(1)),
        "within_std": share(error <= rows["std"], bars),
        "within_90": share((low <= rows["label"]) & (rows["label"] <= high), intervals),
        "half_width_90": mean(half),
        "flagged": share(flagged == 1, is_known),
        "worst_tenth_flagged": share(flagged == 1, of_worst),
        "mae_flagged": mean(error[flagged == 1]),
        "mae_unflagged": mean(error[flagged == 0]),
    }


def by_set(long: pd.DataFrame) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Property → set → `statistics`."""
    found: dict[str, dict[str, dict[str, float | int | None]]] = {}
    for column in COLUMNS:
        for name in SETS:
            members = OUTSIDE if name == "outside" else (name,)
            rows = long[(long["property"] == column) & long["set"].isin(members)]
            if len(rows):
                found.setdefault(column, {})[name] = statistics(rows)
    return found


def qm9_errors(way: str) -> dict[str, float]:
    """Mean absolute errors on QM9's own test part, given the same way, as the card has them."""
    header = read_header(find(DEFAULT_MODEL))
    errors = dict((header.metrics if way == "coordinates" else header.from_smiles).mae)
    return {**errors, ENERGY: errors["u0_eV"]}


def on_qm9(n: int, way: str) -> dict[str, Any]:
    """Flags on the first ``n`` of QM9's test part, and how many errors its intervals hold."""
    data = QM9()
    test = [int(k) for k in data.split().test[:n]]
    molecules = data.molecules
    if way == "smiles":
        inputs: list[Any] = [data.smiles(k) for k in test]
    else:
        inputs = [ase.Atoms(one.z.numpy(), one.pos.numpy()) for one in (data[k] for k in test)]
    table = predicted(inputs, f"QM9 as {way}")
    labels = pd.DataFrame(molecules.y[test].numpy(), columns=list(molecules.properties))
    names = {column.split("_")[0]: column for column in COLUMNS if column != ENERGY}
    labels[ENERGY] = labels["u0"] - labels["zpve"]
    labels = labels.rename(columns=names).assign(set="qm9")
    known = flags(table) if "in_domain" in table else [np.nan] * len(table)
    found = {column: one["qm9"] for column, one in by_set(compared(labels, table)).items()}
    return {"n": n, "flagged": share(np.array(known) == 1, np.isfinite(known)), "by": found}


def evaluate(labels: pd.DataFrame, way: str, model: str | None = None) -> dict[str, Any]:
    """All that is told of one way to give a molecule.

    Args:
        labels: as of `reference`.
        way: one of `WAYS`.
        model: as in `molgeo.predict`.
    """
    inputs = labels["smiles"]
    if way == "coordinates":
        inputs = [ase.Atoms(one.numbers, one.positions) for one in labels["atoms"]]
    table = predicted(inputs, way, model)
    bad = table["status"] == "error"
    messages = dict(zip(labels.index[bad], table["message"][bad], strict=True))
    reasons = table.get("domain_reason", pd.Series(dtype=str)).fillna("")
    return {
        "models": table["model"].value_counts().to_dict(),
        "refused": messages,
        "reasons": reasons[reasons != ""].value_counts().to_dict(),
        "by": by_set(compared(labels, table)),
        "qm9_mae": qm9_errors(way),
    }


HEAD: Final = {
    "n": "n",
    "mae": "MAE",
    "median": "median",
    "within_std": "within ± std",
    "within_90": "within 90%",
    "half_width_90": "± of 90%",
    "flagged": "flagged",
    "worst_tenth_flagged": "flagged of the worst tenth",
    "mae_flagged": "MAE flagged",
    "mae_unflagged": "MAE not flagged",
}
SHARES: Final = {"within_std", "within_90", "flagged", "worst_tenth_flagged"}


def cell(key: str, value: float | None) -> str:
    """One number, as the table has it."""
    if value is None:
        return "–"
    return f"{value:.0%}" if key in SHARES else str(value) if key == "n" else f"{value:.3g}"


def markdown(report: dict[str, Any]) -> str:
    """The tables."""
    lines = []
    for way, found in report["ways"].items():
        models = ", ".join(f"{n} × {name}" for name, n in found["models"].items())
        lines += [f"### As {way}: {models}", ""]
        lines += [f"| property | set | {' | '.join(HEAD.values())} | MAE on QM9 |"]
        lines += ["|---|---" + "|--:" * (len(HEAD) + 1) + "|"]
        for column, sets in found["by"].items():
            own = cell("mae", found["qm9_mae"].get(column))
            for name, numbers in sets.items():
                cells = " | ".join(cell(key, numbers[key]) for key in HEAD)
                lines.append(f"| {column} | {name} | {cells} | {own} |")
        if all(one["flagged"] is None for sets in found["by"].values() for one in sets.values()):
            lines += ["", "This version has no column `in_domain`: nothing is flagged."]
        lines += ["", f"{len(found['refused'])} refused."]
        lines += [f"* {name}: {message}" for name, message in found["refused"].items()]
        lines += [f"* {n} × {reason}" for reason, n in list(found["reasons"].items())[:10]]
        if known := found.get("qm9"):
            flagged = "–" if known["flagged"] is None else f"{known['flagged']:.1%}"
            inside = ", ".join(
                f"{column} {cell('within_90', one['within_90'])}"
                for column, one in known["by"].items()
            )
            lines += ["", f"Of {known['n']} of QM9's test part {flagged} are flagged."]
            lines += [f"Within their 90% intervals: {inside}."]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("calibration", "check", "all"), default="all")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--qm9", type=int, default=0, help="molecules of QM9's test part")
    parser.add_argument("--folder", type=Path, default=HERE, help="of labels and geometries")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--output", type=Path, help="file for the tables")
    args = parser.parse_args()
    labels = reference(args.folder)
    if args.part != "all":
        labels = labels[labels["part"] == args.part]
    report: dict[str, Any] = {"part": args.part, "labelled": len(labels), "ways": {}}
    for way in args.ways:
        found = report["ways"][way] = evaluate(labels, way)
        if args.qm9:
            found["qm9"] = on_qm9(args.qm9, way)
    text = f"{len(labels)} molecules, part: {args.part}\n\n{markdown(report)}"
    print(text)
    for path, content in ((args.json, json.dumps(report, indent=1) + "\n"), (args.output, text)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)


if __name__ == "__main__":
    main()
