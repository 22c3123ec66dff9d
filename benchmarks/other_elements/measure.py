"""Error bars and errors of the model for Si, P, S and Cl, into its header and card.

Bars are measured on the molecules of the part `validation`, errors on those of `test`: at their own
geometries, and from their SMILES, relaxed by the geometry engine or left at MMFF94.

    python benchmarks/other_elements/measure.py checkpoints/spectrum_net-elements.safetensors
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from rdkit import RDLogger

from data import labels, molecule_set, molecules, some_of_qm9

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "beyond_qm9"))

from calibrate import given, made  # noqa: E402

from molgeo.data.geometries import own_geometries  # noqa: E402
from molgeo.data.qm9.properties import PROPERTIES  # noqa: E402
from molgeo.datasets import QM9  # noqa: E402
from molgeo.evaluation.calibrating import CALIBRATED, calibrations  # noqa: E402
from molgeo.evaluation.familiarity import add_familiarity  # noqa: E402
from molgeo.evaluation.properties import Sample, errors  # noqa: E402
from molgeo.predictor import Predictor  # noqa: E402
from molgeo.predictor.calibration import Calibration  # noqa: E402
from molgeo.predictor.checkpoint import geometry_engine  # noqa: E402
from molgeo.predictor.familiarity import SMALL  # noqa: E402
from molgeo.simulation.engine import GeometryEngine  # noqa: E402
from molgeo.training.export import add_calibration  # noqa: E402

OTHERS: Final = ("Si", "P", "S", "Cl")
N_QM9: Final = 1500
"""Of QM9's training molecules whose features count among those of training."""


def training(table: pd.DataFrame) -> tuple[Sample, Sample]:
    """Molecules whose features are those of training, and the small ones with other elements."""
    new, old = molecule_set(table), some_of_qm9(QM9().split().train[:N_QM9])
    own = own_geometries(new.joined(old))
    rows, kinds = torch.arange(len(new) + len(old)), tuple(PROPERTIES.values())
    whole = Sample(lambda n: (own, n), rows, kinds)
    is_small = new.heavy_atoms(rows[: len(new)]) <= SMALL
    return whole, whole._replace(rows=rows[: len(new)][is_small])


def told(predictor: Predictor, sample: Sample, table: pd.DataFrame, at: str) -> dict[str, Any]:
    """Errors on molecules, of all and of those that have an element."""
    about = {
        "split": "test",
        "geometry": at,
        **({"engine": sample.engine} if sample.engine else {}),
    }
    by_element = {}
    for symbol in OTHERS:
        rows = np.flatnonzero([symbol in atoms.symbols for atoms in table["atoms"]])
        found = errors(predictor, sample._replace(rows=torch.from_numpy(rows)))
        by_element[symbol] = {name: found[name] for name in ("n", "mae", "rmse")}
    return {**about, **errors(predictor, sample), "by_element": by_element}


def main() -> None:
    """Calibrate and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    RDLogger.DisableLog("rdApp.*")
    table = molecules()
    parts = {part: table[table["part"] == part] for part in ("train", "validation", "test")}

    def measure(at: str, samples: dict[int, Sample], test: Sample, known: pd.DataFrame) -> None:
        def bars(predictor: Predictor) -> list[Calibration]:
            if predictor.familiarity is None:
                train, small = training(parts["train"])
                add_familiarity(predictor, train, samples[0], small)
            return calibrations(predictor, samples)

        found = add_calibration(path, bars, lambda predictor: told(predictor, test, known, at))
        print(at, test.engine, found["n"], found["failed"], f"flagged {found['flagged']:.1%}")
        for name, error in found["mae"].items():
            shares = found["coverage"][name]["low90_high90"]
            each = [f"{s} {one['mae'].get(name, 0):.3g}" for s, one in found["by_element"].items()]
            print(f"  {name}: {error:.4g}, within 90%: {shares:.0%}, {', '.join(each)}", flush=True)

    own = {part: given(one, labels(one)) for part, one in parts.items()}
    measure("given", {0: own["validation"]}, own["test"], parts["test"])
    named = {part: one[one["smiles"] != ""] for part, one in parts.items()}
    for engine in (None, GeometryEngine(str(geometry_engine()))):
        of_smiles = {
            part: made(named[part], labels(named[part]), CALIBRATED, engine, None, None)
            for part in ("validation", "test")
        }
        samples = {n: of_smiles["validation"].with_conformers(n) for n in CALIBRATED}
        measure("smiles", samples, of_smiles["test"], named["test"])


if __name__ == "__main__":
    main()
