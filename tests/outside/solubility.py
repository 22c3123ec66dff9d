"""Somebody's own package: two properties that molgeo has never heard of, and a model of them."""

import molgeo
from molgeo.predictor.checkpoint import save_checkpoint
from molgeo.predictor.domain import Domain

LOG_S = molgeo.Property("logS", "log mol/L", "mean", "log S", "aqueous solubility")
VOLUME = molgeo.Property("volume", "Å³", "sum", description="molecular volume", minimum=0.0)

BACKBONE = {"n_features": 8, "n_filters": 8, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}


def write(path, more=()):
    """An untrained model of both, whose baseline gives 10 Å³ per heavy atom and 5 per hydrogen."""
    predictor = molgeo.Predictor("schnet", BACKBONE, [LOG_S, VOLUME, *more], head_features=4)
    predictor.baseline[0, 0, [1, 6, 8]] = -1.0
    predictor.baseline[1, 0, 1] = 5.0
    predictor.baseline[1, 0, [6, 8]] = 10.0
    predictor.scale.fill_(0.5)
    predictor.domain = Domain(elements=(1, 6, 8), max_atoms=30, min_distance=0.9)
    measured = {"n": 7, "split": "test", "geometry": "given"}
    errors = {"mae": {LOG_S.column: 0.25, VOLUME.column: 3.5}}
    facts = {"name": "solubility", "data": "mine", "metrics": {**measured, **errors}}
    save_checkpoint(predictor, path, facts)
    return predictor
