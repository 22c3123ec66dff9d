"""Several models as one that predicts their weighted mean.

    python benchmarks/campaign/merge.py a.safetensors b.safetensors merged.safetensors --name NAME
    python benchmarks/campaign/merge.py a b merged.safetensors --weights 0.6 0.4 --name NAME

How that is done stands in `molgeo.predictor.merging`.

All have to predict the same properties, with the same free atoms: those of one data set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.merging import merged
from molgeo.testing.case import atoms_of, collated

POLAR = ("methanol", "ammonia", "water", "carbon dioxide")
"""Molecules on whose atoms the signs of charges are compared."""


def merge(parts: Sequence[Predictor], weights: Sequence[float] = ()) -> Predictor:
    """The weighted mean of predictors, whose dipoles' signs are compared on `POLAR`."""
    return merged(parts, weights, collated([atoms_of(name) for name in POLAR]))


def main() -> None:
    """Merge checkpoints."""
    parser = argparse.ArgumentParser(description="several models as one that predicts their mean")
    parser.add_argument("parts", nargs="+", help="checkpoints or names of shipped models")
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=float, nargs="+", default=[])
    parser.add_argument("--name", required=True, help="of the model")
    parser.add_argument("--notes", default="", help="for its card")
    options = parser.parse_args()
    parts = [load(one) for one in options.parts]
    measured = ("metrics", "calibration", "from_smiles", "familiarity", "outside")
    facts: dict[str, Any] = {k: v for k, v in parts[0].header.told().items() if k not in measured}
    facts |= {"name": options.name, "notes": options.notes, "metrics": {}}
    save_checkpoint(merge(parts, options.weights), options.output, facts)
    print(options.output)


if __name__ == "__main__":
    main()
