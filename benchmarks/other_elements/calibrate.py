"""Error bars and errors of the model for Si, P, S and Cl, into its header and card.

Bars are measured on the molecules of the part `validation`, errors on those of `test`: at their own
geometries, and from their SMILES, relaxed by the geometry engine or left at MMFF94.

    python benchmarks/other_elements/calibrate.py checkpoints/spectrum_net-elements.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from rdkit import RDLogger

from data import molecule_set, molecules
from molgeo.chem.conformers.conformers import Conformers, generate
from molgeo.chem.molecule import BadRow, SmilesRow
from molgeo.data.geometries import own_geometries, with_labels
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.datasets import QM9
from molgeo.evaluation.calibrating import CALIBRATED, calibrations
from molgeo.evaluation.familiarity import add_familiarity
from molgeo.evaluation.properties import Sample, errors
from molgeo.generate.geometries import flat
from molgeo.predictor import Predictor
from molgeo.predictor.calibration import Calibration
from molgeo.predictor.checkpoint import geometry_engine
from molgeo.simulation.engine import GeometryEngine
from molgeo.training.export import add_calibration

OTHERS: Final = ("Si", "P", "S", "Cl")
N_QM9: Final = 1500
"""Of QM9's training molecules whose features count among those of training."""
KINDS: Final = tuple(PROPERTIES.values())


def at_own(known: MoleculeSet) -> Sample:
    """Molecules at their own geometries."""
    own = own_geometries(known)
    return Sample(lambda rows: (own, rows), torch.arange(len(known)), KINDS)


def from_smiles(table: pd.DataFrame, engine: GeometryEngine | None) -> Sample:
    """Conformers of their SMILES, relaxed if there is an engine."""
    table = table[table["smiles"] != ""]
    rows, n = np.arange(len(table)), max(CALIBRATED)
    found = [generate(SmilesRow(one), n) for one in table["smiles"]]
    made: list[Conformers | BadRow] = found
    if engine is not None:
        relaxed = iter(engine.relax([one for one in found if not isinstance(one, BadRow)]))
        made = [one if isinstance(one, BadRow) else next(relaxed) for one in found]
    labels = molecule_set(table).y, torch.from_numpy(rows), tuple(PROPERTIES)
    own = with_labels(flat(rows, made), *labels, n)
    name = "" if engine is None else engine.name
    return Sample(lambda rows: (own, rows), torch.from_numpy(rows), KINDS, n, True, name)


def has(table: pd.DataFrame, symbol: str) -> torch.Tensor:
    """(molecules,) whether each has this element."""
    return torch.tensor([symbol in atoms.symbols for atoms in table["atoms"]])


def told(predictor: Predictor, sample: Sample, table: pd.DataFrame, at: str) -> dict[str, Any]:
    """Errors on the test part, of all and by element."""
    if at != "given":
        table = table[table["smiles"] != ""]
    about = {
        "split": "test",
        "geometry": at,
        **({"engine": sample.engine} if sample.engine else {}),
    }
    found = errors(predictor, sample)
    by_element = {
        symbol: errors(predictor, sample._replace(rows=sample.rows[has(table, symbol)]))
        for symbol in OTHERS
    }
    kept = ("n", "mae", "rmse")
    return {
        **about,
        **found,
        "by_element": {s: {name: one[name] for name in kept} for s, one in by_element.items()},
    }


def main() -> None:
    """Calibrate and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    args = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    table = molecules()
    parts = {part: table[table["part"] == part] for part in ("train", "validation", "test")}
    known = {part: molecule_set(one) for part, one in parts.items()}
    engine = GeometryEngine(str(geometry_engine()))
    data = QM9()
    rows = data.split().train[:N_QM9]
    of_qm9 = data.molecules.batch(rows)

    def familiar(predictor: Predictor) -> None:
        z, pos, ptr = of_qm9.z.to(torch.uint8), of_qm9.pos, of_qm9.ptr
        qm9 = MoleculeSet(z, pos, ptr, of_qm9.y, of_qm9.idx, tuple(PROPERTIES))
        train = at_own(known["train"].joined(qm9))
        small = train._replace(
            rows=torch.nonzero(known["train"].heavy_atoms(torch.arange(len(parts["train"]))) <= 6)[
                :, 0
            ]
        )
        add_familiarity(predictor, train, at_own(known["validation"]), small)

    def measure(at: str, samples: dict[int, Sample], test: Sample) -> None:
        def made(predictor: Predictor) -> list[Calibration]:
            if predictor.familiarity is None:
                familiar(predictor)
            return calibrations(predictor, samples)

        found = add_calibration(
            args.path, made, lambda predictor: told(predictor, test, parts["test"], at)
        )
        print(at, test.engine, found["n"], found["failed"], f"flagged {found['flagged']:.1%}")
        for name, error in found["mae"].items():
            shares = found["coverage"][name]["low90_high90"]
            each = [f"{s} {one['mae'].get(name, 0):.3g}" for s, one in found["by_element"].items()]
            print(f"  {name}: {error:.4g}, within 90%: {shares:.0%}, {', '.join(each)}", flush=True)

    measure("given", {0: at_own(known["validation"])}, at_own(known["test"]))
    for using in (None, engine):
        made = from_smiles(parts["validation"], using).made_once()
        test = from_smiles(parts["test"], using)
        measure("smiles", {n: made.with_conformers(n) for n in CALIBRATED}, test)


if __name__ == "__main__":
    main()
