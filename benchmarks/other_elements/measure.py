"""Error bars and errors of the model for Si, P, S and Cl, into its header and card.

Bars are measured on the molecules of the part `validation`, and on those of `../beyond_qm9` that
are for that: of H, C, N, O and F, but unlike QM9's. Errors are measured on those of `test`. All are
given at their own geometries, and as SMILES, relaxed by the geometry engine or left at MMFF94.

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

from data import labels, molecule_set, molecules, some_of_qm9, wide_molecules

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "beyond_qm9"))

from calibrate import given, labels_of, made  # noqa: E402
from evaluate import OUTSIDE, reference  # noqa: E402

from molgeo.data.geometries import own_geometries  # noqa: E402
from molgeo.data.qm9.properties import PROPERTIES  # noqa: E402
from molgeo.datasets import QM9  # noqa: E402
from molgeo.evaluation.calibrating import CALIBRATED, calibrations  # noqa: E402
from molgeo.evaluation.familiarity import add_familiarity  # noqa: E402
from molgeo.evaluation.properties import Sample, errors  # noqa: E402
from molgeo.predictor import Predictor  # noqa: E402
from molgeo.predictor.calibration import Calibration  # noqa: E402
from molgeo.predictor.checkpoint import geometry_engine, load  # noqa: E402
from molgeo.predictor.familiarity import SMALL  # noqa: E402
from molgeo.simulation.engine import GeometryEngine  # noqa: E402
from molgeo.training.export import add_calibration  # noqa: E402

OTHERS: Final = ("Si", "P", "S", "Cl")
SEED: Final = 2026
N_WIDE: Final = 1500
"""Training molecules of `wide/` whose features count among those of training."""
N_QM9: Final = 1000
"""Likewise, of QM9."""


def training(table: pd.DataFrame, wide: pd.DataFrame) -> tuple[Sample, Sample]:
    """Molecules whose features are those of training, and the small ones with other elements.

    Args:
        table: labelled at QM9's level, whose small ones are those.
        wide: labelled in the smaller basis.
    """
    new, old = molecule_set(table), some_of_qm9(QM9().split().train[:N_QM9])
    some = molecule_set(wide.sample(N_WIDE, random_state=SEED))
    own = own_geometries(new.joined(some).joined(old))
    rows, kinds = torch.arange(len(own.molecules)), tuple(PROPERTIES.values())
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
    labelled = {part: (one, labels(one)) for part, one in parts.items()}
    beyond = reference()
    beyond = beyond[(beyond["part"] == "calibration") & beyond["set"].isin(OUTSIDE)]
    y = torch.cat([labelled["validation"][1], labels_of(beyond, load(path))])
    labelled["validation"] = pd.concat([parts["validation"], beyond]), y

    def measure(at: str, samples: dict[int, Sample], test: Sample, known: pd.DataFrame) -> None:
        def bars(predictor: Predictor) -> list[Calibration]:
            if predictor.familiarity is None:
                train, small = training(parts["train"], wide_molecules())
                add_familiarity(predictor, train, alike, small)
            # One class inside the domain and one outside, of the same molecules.
            return calibrations(predictor, samples, beyond=samples)

        found = add_calibration(path, bars, lambda predictor: told(predictor, test, known, at))
        print(at, test.engine, found["n"], found["failed"], f"flagged {found['flagged']:.1%}")
        for name, error in found["mae"].items():
            shares = found["coverage"][name]["low90_high90"]
            each = [f"{s} {one['mae'].get(name, 0):.3g}" for s, one in found["by_element"].items()]
            print(f"  {name}: {error:.4g}, within 90%: {shares:.0%}, {', '.join(each)}", flush=True)

    own = {part: given(*one) for part, one in labelled.items()}
    alike = given(parts["validation"], labels(parts["validation"]))
    measure("given", {0: own["validation"]}, own["test"], parts["test"])
    named = {part: (one["smiles"] != "").to_numpy() for part, (one, _) in labelled.items()}
    for engine in (None, GeometryEngine(str(geometry_engine()))):
        of_smiles = {
            part: made(one[named[part]], y[named[part]], CALIBRATED, engine, None, None)
            for part, (one, y) in labelled.items()
            if part != "train"
        }
        samples = {n: of_smiles["validation"].with_conformers(n) for n in CALIBRATED}
        measure("smiles", samples, of_smiles["test"], parts["test"][named["test"]])


if __name__ == "__main__":
    main()
