"""A small checkpoint, taken apart and put together again with valid checksums."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from molgeo.data.qm9.properties import named
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import CheckpointError, file, load
from molgeo.predictor.checkpoint.file import seal
from molgeo.predictor.domain import Domain

SMALL = {"n_features": 4, "n_filters": 4, "n_blocks": 1, "n_gaussians": 5, "cutoff": 4.0}
WATER = (
    torch.tensor([8, 1, 1]),
    torch.tensor([[0.0, 0.0, 0.12], [0.0, 0.76, -0.48], [0.0, -0.76, -0.48]]),
)


def small_predictor():
    """A SchNet of three properties and three elements, in evaluation mode."""
    torch.manual_seed(0)
    predictor = Predictor("schnet", SMALL, named(("gap", "u0", "mu")), head_features=4)
    predictor.baseline.normal_()
    predictor.scale.uniform_(0.5, 2.0)
    predictor.atom_reference[1, [1, 6]] = torch.tensor([-13.6, -1029.0]).double()
    predictor.domain = Domain(elements=(1, 6, 8), max_atoms=9, min_distance=0.9)
    return predictor.eval()


def parts(path):
    """Header and weights of a file as they stand in it."""
    with safe_open(path, framework="pt") as content:
        header = json.loads(content.metadata()["molgeo"])
        return header, {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118


def rewrite(path, header, tensors, redo_checksum=True):
    """Write header and weights with valid checksums, whatever they hold."""
    if redo_checksum and isinstance(header, dict):
        header = {**header, "sha256": file.digest(tensors)}
    if isinstance(header, dict):
        header.pop("header_sha256", None)
        text = seal(header)
    else:
        text = header if isinstance(header, str) else json.dumps(header)
    save_file(tensors, path, metadata={"molgeo": text})


def refused(path, match, **options):
    """Assert that loading fails with one short, printable line that names the file."""
    with pytest.raises(CheckpointError, match=match) as caught:
        load(path, **options)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= 300
    assert Path(path).name in message
