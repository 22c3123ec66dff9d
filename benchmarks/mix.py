"""Which of the molecules that chemists have are taken by `molgeo relax` and `molgeo md`.

    python benchmarks/mix.py FOLDER                   # of esol, freesolv, lipo and bbbp.csv
    python benchmarks/mix.py FOLDER --only-admission  # a minute: what is refused before a step
    python benchmarks/mix.py FOLDER --part 3/8        # an eighth of the molecules

100 molecules of FreeSolv, 100 of ESOL and 97 of the drugs of BBBP and Lipophilicity, drawn by a
seed from the tables of MoleculeNet. Each is relaxed from its SMILES and moves for some steps, by
the commands themselves, many at a time. A molecule is taken if it has an end: relaxed, or moved for
all steps.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import random
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from molgeo.chem.molecule import BadRow
from molgeo.runtime.errors import UserError
from molgeo.simulation.admission import calculator_of, refused_reason
from molgeo.simulation.command import run_md, run_relax
from molgeo.simulation.settings import (
    ForceFieldSettings,
    MDFiles,
    MDForceFieldSettings,
    MDSettings,
    RelaxSettings,
)
from molgeo.simulation.structures import structures

DRAWN = {"freesolv": (100, ["freesolv.csv"]), "esol": (100, ["esol.csv"])}
DRAWN |= {"drugs": (97, ["bbbp.csv", "lipo.csv"])}
"""Of each kind, how many are drawn, and of which tables."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the benchmark and return what it prints."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    molecules = drawn(options.folder, options.seed)
    own, of = map(int, options.part.split("/"))
    molecules = molecules[own - 1 :: of]
    if options.limit:
        molecules = molecules[: options.limit]
    refused = {"admission": admission(molecules, options.model)}
    if not options.only_admission:
        refused |= {"relax": relaxed(molecules, options), "md": moved(molecules, options)}
    report = {"model": options.model, "seed": options.seed, "n": len(molecules), "refused": refused}
    print(_describe(report, molecules))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


def drawn(folder: Path, seed: int) -> list[tuple[str, str]]:
    """Kind and SMILES of each molecule."""
    found = []
    for kind, (n, names) in DRAWN.items():
        every: set[str] = set()
        for name in names:
            with (folder / name).open(newline="") as lines:
                every |= {row["smiles"] for row in csv.DictReader(lines)}
        found += [(kind, smiles) for smiles in random.Random(seed).sample(sorted(every), n)]
    return found


def admission(molecules: Sequence[tuple[str, str]], model: str | None) -> dict[str, str]:
    """SMILES → reason of what is refused before it moves."""
    calculator = calculator_of(ForceFieldSettings(model=model))
    refused = {}
    for _, smiles in molecules:
        try:
            (atoms,) = structures(smiles)
        except UserError as error:
            refused[smiles] = str(error)
            continue
        if isinstance(atoms, BadRow):
            refused[smiles] = atoms.message
            continue
        atoms.calc = calculator
        if reason := refused_reason(atoms, allow_unfamiliar=False):
            refused[smiles] = reason
    return refused


def relaxed(molecules: Sequence[tuple[str, str]], options: argparse.Namespace) -> dict[str, str]:
    """SMILES → why `molgeo relax` has no minimum of it."""
    said = _said(
        molecules,
        lambda name: run_relax(
            name,
            ForceFieldSettings(model=options.model),
            RelaxSettings(options.fmax, output="out.extxyz"),
        ),
    )
    rows = _by_number(said, r"in\.smi:(\d+)(?::.*?)?: (.*)")
    end = r"\d+ steps, fmax [\d.]+ eV/Å, energy [-\d.]+ eV \([^()]*\)$"
    fine = re.compile(f"may be anything|open, predicted|{end}")
    bad = {k: [t for t in texts if not fine.search(t)] for k, texts in rows.items()}
    return {molecules[k][1]: "; ".join(texts) for k, texts in bad.items() if texts}


def moved(molecules: Sequence[tuple[str, str]], options: argparse.Namespace) -> dict[str, str]:
    """SMILES → why `molgeo md` did not take all steps with it."""
    settings = MDSettings(steps=options.steps, interval=options.steps)
    said = _said(
        molecules,
        lambda name: run_md(name, MDForceFieldSettings(model=options.model), settings, MDFiles()),
    )
    refused = _by_number(said, r"in\.smi:(\d+): (.*)") | _by_number(said, r"(\d+) .*?: (.*)")
    fine = re.compile("may be anything|trajectories are|open, predicted")
    found = {k: [t for t in texts if not fine.search(t)] for k, texts in refused.items()}
    return {molecules[k][1]: "; ".join(texts) for k, texts in found.items() if texts}


def _said(molecules: Sequence[tuple[str, str]], command: Any) -> list[str]:
    """Lines that a command writes to standard error, of a file of these molecules."""
    error = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stderr(error),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        Path("in.smi").write_text("".join(f"{smiles}\n" for _, smiles in molecules))
        command("in.smi")
    return [line.removeprefix("molgeo: ") for line in error.getvalue().splitlines()]


def _by_number(lines: Sequence[str], pattern: str) -> dict[int, list[str]]:
    """What was said of each molecule, by its place from 0."""
    found: dict[int, list[str]] = {}
    for line in lines:
        if match := re.fullmatch(pattern, line):
            found.setdefault(int(match[1]) - 1, []).append(match[2])
    return found


def _describe(report: dict[str, Any], molecules: Sequence[tuple[str, str]]) -> str:
    lines = []
    for step, refused in report["refused"].items():
        n = len(molecules)
        lines.append(f"{step}: {n - len(refused)} of {n} taken, {1 - len(refused) / n:.1%}")
        for kind in DRAWN:
            own = [smiles for each, smiles in molecules if each == kind]
            lines.append(f"  {kind}: {sum(s not in refused for s in own)} of {len(own)}")
        lines += [f"  {smiles}: {reason}" for smiles, reason in refused.items()]
    return "\n".join(lines)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of MoleculeNet's tables")
    parser.add_argument("--model", help="default: the default force field")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20, help="of md")
    parser.add_argument("--fmax", type=float, default=0.01, help="of relax, eV/Å")
    parser.add_argument("--only-admission", action="store_true")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--limit", type=int, help="molecules, for a quick look")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
