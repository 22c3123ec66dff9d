"""Measure the errors of models trained on QM9, within it and beyond it, for their error bars.

The molecules beyond are those of the reference's part `calibration` that have labels by now; its
part `check` is never read. Each model is rewritten with the same weights, and its card beside.

A model of relaxed molecules is calibrated at given geometries, and from SMILES at those of the
geometry engine: alone, and for the default one as a mean with the model for cheap geometries,
whose share of each property is what has the least error. Relaxed geometries are kept beside QM9, so
that a run that was killed, or one for another model, finds them. `../other_elements/measure.py`
does the same for the model that takes over what these do not know.

    python benchmarks/beyond_qm9/calibrate.py                       # the default models of QM9
    python benchmarks/beyond_qm9/calibrate.py --at smiles           # after another engine
    python benchmarks/beyond_qm9/calibrate.py --models runs/X/X.safetensors --limit 1024
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from evaluate import COLUMNS, ENERGY, HERE, OUTSIDE, reference
from labelled import molecule_set

from molgeo.chem.conformers.conformers import Conformers, generate
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.data.geometries import Geometry, own_geometries, with_labels
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.evaluation.calibrating import calibrated_numbers
from molgeo.evaluation.properties import Partner, Sample
from molgeo.evaluation.qm9 import calibrate, evaluate, weigher_of
from molgeo.evaluation.weighing import Weigher
from molgeo.generate.geometries import flat
from molgeo.generate.qm9 import chosen
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    DEFAULT_SMILES_MODEL,
    find,
    geometry_engine,
    load,
    read_header,
)
from molgeo.runtime.progress import progress
from molgeo.simulation.engine import GeometryEngine
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
    own = own_geometries(molecule_set(table["atoms"].tolist(), y))
    return Sample(lambda n: (own, n), torch.arange(len(table)), tuple(PROPERTIES.values()))


def made(
    table: pd.DataFrame,
    y: torch.Tensor,
    numbers: Sequence[int],
    engine: GeometryEngine | None,
    partner: Predictor | None,
    model: Predictor | None,
) -> Sample:
    """The same molecules with weighed conformers of their SMILES, relaxed if there is an engine.

    Args:
        table: of the molecules.
        y: their labels.
        numbers: of conformers that the sample is to be good for.
        engine: relaxes those that count; None for none.
        partner: for the conformers before; None for none.
        model: that weighs them; None for none.
    """
    rows = np.arange(len(table))
    n = max(numbers)
    found = [generate(SmilesRow(one), n) for one in table["smiles"]]
    properties = tuple(PROPERTIES.values())

    def sample(all_made: list[Conformers | BadRow]) -> Sample:
        labels = y, torch.from_numpy(rows), tuple(PROPERTIES)
        own = with_labels(flat(rows, all_made), *labels, n)
        return Sample(lambda n: (own, n), torch.from_numpy(rows), properties, n, True)

    cheap = sample(found)
    weigher = None if model is None else Weigher(model, cheap)
    if engine is None:
        return cheap.weighed_by(weigher)
    if weigher is not None:
        found = list(map(chosen, found, weigher.counting(torch.from_numpy(rows), numbers)))
    relaxed = iter(engine.relax([one for one in found if not isinstance(one, BadRow)]))
    whole = sample([one if isinstance(one, BadRow) else next(relaxed) for one in found])
    of_partner = None
    if partner is not None:
        of_partner = Partner(partner, cheap._replace(stretched=True))
    whole = whole._replace(engine=engine.name, partner=of_partner)
    return whole.weighed_by(weigher)


def main() -> None:
    """Calibrate, and print the shares of QM9's test molecules that the intervals hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=[DEFAULT_MODEL, DEFAULT_SMILES_MODEL])
    parser.add_argument("--limit", type=int, default=2000, help="validation molecules")
    parser.add_argument("--test", type=int, default=2000, help="test molecules")
    parser.add_argument("--anew", action="store_true", help="take the training features again")
    parser.add_argument("--folder", type=Path, default=HERE, help="of labels and geometries")
    parser.add_argument(
        "--at", nargs="+", default=["given", "smiles"], choices=["given", "smiles"], help="what"
    )
    args = parser.parse_args()
    table = reference(args.folder)
    table = table[(table["part"] == "calibration") & table["set"].isin(OUTSIDE)]
    y = labels_of(table, load(DEFAULT_MODEL))
    for name in args.models:
        at_own = read_header(name).geometry in ("", "dft")
        for at in ["given"] if at_own and "given" in args.at else []:
            calibrated(name, args, {0: given(table, y)}, at)
        if "smiles" in args.at:
            is_relaxed = at_own and geometry_engine() is not None
            is_mixed = is_relaxed and find(name).stem == DEFAULT_MODEL
            partner = load(DEFAULT_SMILES_MODEL) if is_mixed else None
            engine = GeometryEngine(str(geometry_engine())) if is_relaxed else None
            numbers = calibrated_numbers(read_header(name))
            weigher = weigher_of(load(name), "smiles", max(numbers))
            beyond = made(table, y, numbers, engine, partner, weigher)
            samples = {n: beyond.with_conformers(n) for n in numbers}
            calibrated(name, args, samples, "smiles", partner)


def calibrated(
    name: str,
    args: argparse.Namespace,
    beyond: dict[int, Sample],
    at: str,
    partner: Predictor | None = None,
) -> None:
    """Calibrate one model at one kind of geometries, with a partner too if there is one."""

    def calibrations(predictor: Predictor) -> list[Calibration]:
        if args.anew:
            predictor.familiarity = None
        with progress("calibrating") as report:
            return calibrate(predictor, None, args.limit, report, tuple(beyond), beyond, partner)

    def errors(predictor: Predictor) -> Any:
        kind: Geometry = "dft" if at == "given" else "smiles"
        with progress("evaluating") as report:
            return evaluate(
                predictor, None, "test", kind, args.test, progress=report, partner=partner
            )

    found = add_calibration(find(name), calibrations, errors)
    shares = json.dumps(found["coverage"], indent=1)
    print(
        name, at, json.dumps(found["mae"]), shares, f"flagged: {found['flagged']:.1%}", flush=True
    )


if __name__ == "__main__":
    main()
