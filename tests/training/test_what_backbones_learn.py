"""What each backbone of the lineage learns in a minute of a processor, in runs as users start them.

Losses are stated as parts of what is there to learn: 1 is the error of a model that learned nothing
but the composition (QM9), or no force at all.
"""

import importlib.util
from itertools import islice
from pathlib import Path

import pytest

from molgeo.data.qm9.readers import from_tables
from molgeo.data.qm9.sources import normalised, write
from molgeo.predictor.checkpoint import load
from molgeo.training.forces import ForceConfig
from molgeo.training.qm9 import QM9Config
from molgeo.training.run import train

ETHANOL = Path(__file__).parents[1] / "fixtures" / "forces" / "ethanol.npz"
EVERY = 105
"""Of QM9's 133,885 molecules one in so many, of which 1,000 are trained on."""

DIRECTIONAL = {"hidden": 32, "int_emb": 16, "out_emb": 32, "n_output_layers": 1}
GEMNET = {"atom_emb": 32, "edge_emb": 32, "triplet_emb": 16, "triplet_out": 16, "n_atom_layers": 1}
SHORT = {"n_blocks": 2, "n_spherical": 3, "cutoff": 4.0}
BACKBONES = {
    "painn": {"n_features": 48, "n_blocks": 2},
    "spherenet": DIRECTIONAL | SHORT | {"n_before_skip": 0, "n_after_skip": 1},
    "comenet": {"hidden": 64, "middle": 32, "n_blocks": 3, "n_residual": 2},
    "gemnet": GEMNET | SHORT,
    "gemnet_q": GEMNET | SHORT | {"quad_emb": 8, "quad_out": 8, "sbf_emb": 8, "int_cutoff": 4.0},
}
SMOOTH = {"spherenet": {"smooth": True}, "comenet": {"smooth": True, "cutoff": 5.0}}
"""The forms that have forces."""

RECIPE = {
    "head_features": 32, "optimizer": "muon", "learning_rate": 4e-3, "weight_decay": 0.0,
    "schedule": "stable", "decay_fraction": 0.7, "warmup_steps": 20, "ema_decay": 0.9,
    "accelerator": "cpu", "threads": 1, "replay": False, "log_every_steps": 10,
}  # fmt: skip


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """A data folder of 1,275 molecules from all of QM9, some 1,050 of them in the training part."""
    package = importlib.util.find_spec("qm9pack")
    tables = sorted((Path(package.origin).parent / "data").glob("qm9_part*.csv"))
    folder = tmp_path_factory.mktemp("thousand")
    for path in tables:
        with path.open() as lines, (folder / path.name).open("w") as few:
            few.write(next(lines))
            few.writelines(islice(lines, EVERY // 2, None, EVERY))
    some = normalised(from_tables([folder / path.name for path in tables]))
    write(some, folder / "qm9" / "qm9.safetensors", "one in so many")
    return folder


@pytest.mark.parametrize(
    ("model", "epochs"),
    [("painn", 4), ("spherenet", 3), ("comenet", 4), ("gemnet", 3), ("gemnet_q", 2)],
)
def test_a_thousand_molecules_of_qm9(model, epochs, thousand, tmp_path):
    config = QM9Config(
        data_dir=str(thousand), limit_train=1000, properties=["gap", "u0"], run_dir=str(tmp_path),
        model=model, backbone=BACKBONES[model], batch_size=16, max_epochs=epochs, **RECIPE,
    )  # fmt: skip
    header = load(train(config)).header
    assert header.n_train == 1000
    print(model, header.validation_loss, header.curve)


@pytest.mark.parametrize(
    ("model", "epochs"),
    [("painn", 20), ("spherenet", 20), ("comenet", 20), ("gemnet", 20), ("gemnet_q", 10)],
)
def test_forces_of_ethanol(model, epochs, tmp_path):
    """Fifty-seven frames of rMD17."""
    backbone = BACKBONES[model] | SMOOTH.get(model, {})
    config = ForceConfig(
        data_file=[str(ETHANOL)], energy_unit="kcal/mol", run_dir=str(tmp_path),
        model=model, backbone=backbone, batch_size=4, max_epochs=epochs, **RECIPE,
    )  # fmt: skip
    header = load(train(config)).header
    print(model, header.metrics.mae, header.validation_loss, header.curve)
