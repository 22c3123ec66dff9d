"""Measure the errors of models trained on QM9, within it and beyond it, for their error bars.

The molecules beyond are those of the reference's part `calibration` that have labels by now; its
part `check` is never read. Each model is rewritten with the same weights, and its card beside.

    python benchmarks/beyond_qm9/calibrate.py                       # the default models
    python benchmarks/beyond_qm9/calibrate.py --models runs/X/X.safetensors --limit 2000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from evaluate import COLUMNS, ENERGY, HERE, OUTSIDE, reference

from molgeo.chem.conformers.conformers import generate
from molgeo.chem.molecule import SmilesRow
from molgeo.data.geometries import Geometry, own_geometries, with_labels
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.evaluation.properties import CALIBRATED, Sample
from molgeo.evaluation.qm9 import calibrate, evaluate
from molgeo.generate.geometries import flat
from molgeo.prediction.conformer_average import CONFORMERS
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    DEFAULT_SMILES_MODEL,
    find,
    load,
    read_header,
)
from molgeo.runtime.progress import progress
from molgeo.training.export import add_calibration

NAMES: Final = {one.column: one.name for one in PROPERTIES.values() if one.column in COLUMNS}
ENERGIES: Final = ("u0", "u298", "h298", "g298")


def labels_of(table: pd.DataFrame, predictor: Predictor) -> torch.Tensor:
    """(molecules, properties) in QM9's units; NaN if unknown.

    Energies are the electronic one and what the model adds to it for vibrations, a hundredth.
    """
    y = torch.full((len(table), len(PROPERTIES)), torch.nan, dtype=torch.float64)
    names = list(PROPERTIES)
    for column, name in NAMES.items():
        y[:, names.index(name)] = torch.tensor(table[column].to_numpy(dtype=float))
    for k, (one, energy) in enumerate(zip(table["atoms"], table[ENERGY], strict=True)):
        z, pos = torch.from_numpy(one.numbers), torch.from_numpy(one.positions)
        with torch.inference_mode():
            out = predictor(z, pos)
        for name in ENERGIES:
            added = out[name] - out["u0"] + out["zpve"]
            y[k, names.index(name)] = energy + float(added)
    return y


def given(table: pd.DataFrame, y: torch.Tensor) -> Sample:
    """The reference's molecules at its geometries."""
    sizes = torch.tensor([0, *(len(one) for one in table["atoms"])])
    molecules = MoleculeSet(
        z=torch.cat([torch.from_numpy(one.numbers) for one in table["atoms"]]).to(torch.uint8),
        pos=torch.cat([torch.from_numpy(one.positions) for one in table["atoms"]]).float(),
        ptr=sizes.cumsum(0),
        y=y,
        idx=torch.arange(len(table)),
        properties=tuple(PROPERTIES),
    )
    own = own_geometries(molecules)
    return Sample(lambda n: (own, n), torch.arange(len(table)), tuple(PROPERTIES.values()))


def made(table: pd.DataFrame, y: torch.Tensor) -> Sample:
    """The same molecules with conformers of their SMILES."""
    rows = np.arange(len(table))
    found = [generate(SmilesRow(one), CONFORMERS) for one in table["smiles"]]
    own = with_labels(flat(rows, found), y, torch.from_numpy(rows), tuple(PROPERTIES), CONFORMERS)
    properties = tuple(PROPERTIES.values())
    return Sample(lambda n: (own, n), torch.from_numpy(rows), properties, CONFORMERS, True)


def main() -> None:
    """Calibrate, and print the shares of QM9's test molecules that the intervals hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL, DEFAULT_SMILES_MODEL])
    parser.add_argument("--limit", type=int, default=2000, help="validation and test molecules")
    parser.add_argument("--anew", action="store_true", help="take the training features again")
    parser.add_argument("--folder", type=Path, default=HERE, help="of labels and geometries")
    args = parser.parse_args()
    table = reference(args.folder)
    table = table[(table["part"] == "calibration") & table["set"].isin(OUTSIDE)]
    y = labels_of(table, load(DEFAULT_MODEL))
    for name in args.models:
        path = find(name)
        geometry = read_header(path).geometry
        at_own = geometry in ("", "dft")
        numbers = (0,) if at_own else CALIBRATED
        beyond = given(table, y) if at_own else made(table, y)
        samples = {n: beyond._replace(conformers=max(n, 1)) for n in numbers}

        def calibrations(
            predictor: Predictor,
            numbers: tuple[int, ...] = numbers,
            samples: dict[int, Sample] = samples,
        ) -> list[Calibration]:
            if args.anew:
                predictor.familiarity = None
            with progress("calibrating") as report:
                return calibrate(predictor, None, args.limit, report, numbers, samples)

        def errors(predictor: Predictor, kind: Geometry = "dft" if at_own else "smiles") -> Any:
            with progress("evaluating") as report:
                return evaluate(predictor, None, "test", kind, args.limit, progress=report)

        found = add_calibration(path, calibrations, errors)
        print(name, json.dumps(found["coverage"], indent=1), f"flagged: {found['flagged']:.1%}")


if __name__ == "__main__":
    main()
