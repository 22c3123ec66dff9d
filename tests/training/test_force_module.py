"""Fitting energies and forces: the loss is what its docstring says, its forces are exact."""

from pathlib import Path

import pytest
import torch

from molgeo.data.forces.properties import ENERGY
from molgeo.datasets import ForceDataModule
from molgeo.predictor import Predictor
from molgeo.training.forces import ForceConfig, ForceTraining
from molgeo.training.references import fit_references

GFN2 = Path(__file__).parents[1] / "fixtures" / "forces" / "gfn2.npz"
SMALL = {
    "schnet": {"n_features": 8, "n_filters": 8, "n_blocks": 2, "n_gaussians": 8, "cutoff": 4.0},
    "dimenet_pp": {"hidden": 8, "n_blocks": 1, "int_emb": 4, "out_emb": 8, "n_spherical": 3},
}


@pytest.fixture(scope="module")
def data():
    module = ForceDataModule(GFN2, batch_size=6)
    module.setup()
    return module


def training(model, data, **fields):
    torch.manual_seed(0)
    predictor = Predictor(model, SMALL[model], [ENERGY], 4)
    fit_references(predictor, data.molecules, data.parts.train, data.free_atoms)
    module = ForceTraining(predictor, ForceConfig(data_file=["x"], **fields))
    module.log = lambda *_, **__: None
    return module


@pytest.mark.parametrize("model", SMALL)
def test_the_loss_is_the_errors_in_units_of_the_spread(model, data):
    module = training(model, data, energy_weight=3.0, force_weight=0.5)
    p = module.predictor
    batch = next(iter(data.train_dataloader()))
    energy, forces = p.energy_and_forces(
        batch.z, batch.pos, batch.batch, allow_untrained_forces=True
    )
    n = batch.ptr.diff()
    spread = p.scale[0]
    expected = (
        3.0 * ((energy - batch.energy).abs() / n).mean()
        + 0.5 * (forces - batch.force).norm(dim=-1).mean()
    ) / spread
    loss = module.training_step(batch, 0)
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-4)
    rows = data.molecules.atoms(data.parts.train)[0]
    assert spread == pytest.approx(float(data.molecules.force[rows].square().mean().sqrt()))


@pytest.mark.parametrize("model", SMALL)
def test_the_gradient_of_the_loss_goes_through_the_forces(model, data):
    """Against finite differences of the loss along a random direction, in float64."""
    module = training(model, data, energy_weight=0.0).double()
    p = module.predictor
    batch = next(iter(data.test_dataloader()))
    batch = batch._replace(pos=batch.pos.double())
    weights = [w for w in p.parameters() if w.requires_grad]
    torch.manual_seed(1)
    direction = [torch.randn_like(w) for w in weights]
    module.training_step(batch, 0).backward()
    got = sum(float((w.grad * d).sum()) for w, d in zip(weights, direction, strict=True))
    step = 1e-6

    def moved(by):
        with torch.no_grad():
            for w, d in zip(weights, direction, strict=True):
                w += by * d
        return float(module.training_step(batch, 0).detach())

    difference = (moved(step) - moved(-2 * step)) / (2 * step)
    assert got == pytest.approx(difference, rel=1e-5)


def test_a_few_steps_learn(data):
    module = training("dimenet_pp", data)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    batch = data.molecules.batch(data.parts.train[:12])
    losses = []
    for _ in range(60):
        loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_large_forces_count_in_proportion(data):
    module = training("schnet", data, large_forces=0.5)
    p, batch = module.predictor, next(iter(data.train_dataloader()))
    energy, forces = p.energy_and_forces(
        batch.z, batch.pos, batch.batch, allow_untrained_forces=True
    )
    n, squares = batch.ptr.diff(), batch.force.square().sum(-1) / 0.5**2
    errors = (forces - batch.force).norm(dim=-1) / (1 + squares).sqrt()
    means = torch.stack([own.mean() for own in squares.split(n.tolist())])
    of_energies = (energy - batch.energy).abs() / n / (1 + means).sqrt()
    losses = module.losses(batch)
    expected = {"train_loss_forces": errors.mean(), "train_loss_energy": of_energies.mean()}
    for name, value in expected.items():
        found = float(losses[name].detach())
        assert found == pytest.approx(float(value / p.scale[0]), rel=1e-4)
    plain = training("schnet", data).losses(batch)["train_loss_forces"]
    assert losses["train_loss_forces"] < 0.9 * plain
