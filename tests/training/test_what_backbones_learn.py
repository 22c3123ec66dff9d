"""What each backbone of the lineage learns in half a minute of a processor, in runs as users start.

Losses are in standard deviations. A model that has learned nothing has 0.84 on QM9, beyond what the
composition says, and 1.69 on the forces of ethanol.
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
    if package is None:
        pytest.skip("qm9pack is not installed")
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
    ("model", "epochs", "stated"),
    [
        ("painn", 4, 0.45),
        ("spherenet", 3, 0.55),
        ("comenet", 4, 0.70),
        ("gemnet", 3, 0.58),
        ("gemnet_q", 2, 0.65),
    ],
)
def test_a_thousand_molecules_of_qm9(model, epochs, stated, thousand, tmp_path):
    config = QM9Config(
        data_dir=str(thousand), limit_train=1000, properties=["gap", "u0"], run_dir=str(tmp_path),
        model=model, backbone=BACKBONES[model], batch_size=16, max_epochs=epochs, **RECIPE,
    )  # fmt: skip
    header = load(train(config)).header
    assert header.n_train == 1000
    assert header.validation_loss < stated


@pytest.mark.parametrize(
    ("model", "epochs", "stated"),
    [
        ("painn", 20, 0.35),
        ("spherenet", 20, 0.25),
        ("comenet", 20, 0.80),
        ("gemnet", 20, 0.30),
        ("gemnet_q", 10, 0.35),
    ],
)
def test_forces_of_ethanol(model, epochs, stated, tmp_path):
    """Fifty-seven frames of rMD17; ComENet's smooth form learns forces slowly."""
    backbone = BACKBONES[model] | SMOOTH.get(model, {})
    config = ForceConfig(
        data_file=[str(ETHANOL)], energy_unit="kcal/mol", run_dir=str(tmp_path),
        model=model, backbone=backbone, batch_size=4, max_epochs=epochs, **RECIPE,
    )  # fmt: skip
    header = load(train(config)).header
    assert header.validation_loss < stated
    assert header.metrics.mae["forces_eV_A"] < 0.83 * stated  # 0.83 is the mean of a component
