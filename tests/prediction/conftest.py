"""A small untrained model that knows QM9's elements."""

import pytest
import torch

from molgeo.data.qm9.properties import PROPERTIES
from molgeo.predictor import Predictor, checkpoint
from molgeo.predictor.domain import Domain


@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    fields = {"n_features": 16, "n_filters": 16, "n_blocks": 2, "n_gaussians": 12, "cutoff": 5.0}
    predictor = Predictor("schnet", fields, list(PROPERTIES.values()), head_features=8)
    predictor.name = "toy"
    predictor.domain = Domain((1, 6, 7, 8, 9), max_atoms=29, min_distance=0.95)
    energies = [k for k, known in enumerate(PROPERTIES.values()) if known.is_energy]
    for k in energies:
        predictor.atom_reference[k, [1, 6, 7, 8, 9]] = torch.tensor(
            [-13.6, -1030.0, -1485.0, -2042.0, -2713.0], dtype=torch.float64
        )
    return predictor.eval()


@pytest.fixture(scope="session")
def shipped(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "toy.safetensors"
    checkpoint.save_checkpoint(model, path, {"name": "toy"})
    return str(path)
