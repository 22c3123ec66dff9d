"""GemNet against a slow oracle of the paper's equations, its factors, and what it learns."""

import pytest
import torch
from compounds import compound
from devices import placed
from gemnet_oracle import Oracle
from pyg_agreement import batch_of

from molgeo.graph import radius_graph
from molgeo.models import GemNet
from molgeo.models.gemnet import Scaling

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {
    "atom_emb": 8, "edge_emb": 12, "triplet_emb": 6, "triplet_out": 5, "rbf_emb": 4, "cbf_emb": 3,
    "n_blocks": 2, "n_spherical": 4, "n_radial": 3, "n_concat": 2, "cutoff": 3.0,
}  # fmt: skip
MODELS = {"T": (GemNet, SMALL)}
every_kind = pytest.mark.parametrize("kind", MODELS)


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


def small(kind, **fields):
    cls, own = MODELS[kind]
    return placed(cls(**own | fields))


def fitted(kind, molecules, **fields):
    """A model with factors of some molecules."""
    model = small(kind, **fields)
    z, pos, batch = molecules
    model.fit_factors(z, pos, radius_graph(pos, model.cutoff, batch))
    return model


@every_kind
@pytest.mark.parametrize("name", ["CH3CH2OH", "CO2", "C2H2", "H2O"])
def test_agrees_with_the_papers_equations(kind, name):
    model = fitted(kind, batch_of(["CH3CH2OH", "CO2", "H2O"]))
    z, pos = compound(name)
    expected = Oracle(model.cpu(), z.cpu(), pos.cpu()).energy()
    found = placed(model)(z, pos)
    torch.testing.assert_close(found[0].cpu(), torch.as_tensor(expected), rtol=1e-8, atol=1e-8)


def test_published_size():
    """1.9 M in the paper."""
    assert sum(p.numel() for p in GemNet().parameters()) == 1_893_318


def variances(model, molecules):
    """Of what each factor gives, in the order of the model."""
    found = []

    def look(module, inputs, output):
        counted = output[(output != 0).any(-1)]
        found.append(counted.var().item())

    hooks = [m.register_forward_hook(look) for m in model.modules() if isinstance(m, Scaling)]
    model(*molecules)
    for hook in hooks:
        hook.remove()
    return torch.tensor(found)


@every_kind
def test_factors_make_variances_one(kind):
    molecules = batch_of(["CH3CH2OH", "C6H6", "CO2", "C5H5N", "H2O"])
    model = placed(MODELS[kind][0](n_blocks=2))
    before = variances(model, molecules)
    assert ((before < 0.1) | (before > 10)).any()
    model.fit_factors(molecules[0], molecules[1], radius_graph(molecules[1], 5.0, molecules[2]))
    after = variances(model, molecules)
    torch.testing.assert_close(after, torch.ones_like(after))
    others = variances(model, batch_of(["C2H6", "CH3CH2OH", "NH3", "C2H4", "C6H6"]))
    assert ((others > 0.4) & (others < 2.5)).all(), others
    factors = [v for name, v in model.state_dict().items() if name.endswith("scaling.factor")]
    assert len(factors) == len(after)


def test_factors_of_what_does_not_vary_stay():
    model = small("T")
    pos = 100.0 * torch.eye(3)
    model.fit_factors(torch.tensor([6, 1, 8]), pos, radius_graph(pos, model.cutoff))
    assert all(m.factor == 1 for m in model.modules() if isinstance(m, Scaling))


@every_kind
def test_it_learns_energies_and_forces(kind):
    z, pos, batch = batch_of(["CH3CH2OH", "H2O", "CH4", "CO2"])
    model = fitted(kind, (z, pos, batch))
    wanted, slope = torch.tensor([[1.0], [-1.0], [0.5], [0.0]]), 0.5 * torch.randn(pos.shape)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        energy = model(z, pos, batch)
        (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
        loss = (energy - wanted).square().mean() + (gradient - slope).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def odd_geometries():
    """Crowded, linear and planar molecules, and crystals."""
    for seed in range(4):
        pos = torch.rand(9, 3)
        yield 1.5 * pos, None  # atoms a few tenths of an Å apart
        yield torch.arange(9.0).unsqueeze(1) * torch.rand(3), None
        yield 3 * pos * torch.tensor([1.0, 1.0, 0.0]), None
        yield torch.cartesian_prod(*[torch.arange(2.0)] * 3) * (1 + 0.1 * seed), None
        yield 3 * pos, 2.5 * torch.eye(3) + 0.5 * torch.rand(3, 3)


@every_kind
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_finite_everywhere(kind, dtype):
    model = fitted(kind, batch_of(["CH3CH2OH", "CO2"])).to(dtype)
    for pos, cell in odd_geometries():
        pos = pos.to(dtype).requires_grad_()
        z = torch.tensor([1, 6, 7, 8, 9])[torch.arange(len(pos)) % 5]
        lattice = () if cell is None else (cell[None].to(dtype), torch.ones(1, 3).bool())
        graph = radius_graph(pos, model.cutoff, None, *lattice)
        energy = model(z, pos, graph=graph)
        (force,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
        (force / force.detach().abs().max()).square().sum().backward()
        assert energy.isfinite().all()
        assert force.isfinite().all()
        assert pos.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
