"""DimeNet++ against PyG's with the same weights, and what is its own."""

import pytest
import torch
from compounds import compound
from devices import placed
from pyg_agreement import agree, batch_of
from pyg_weights import pyg_dimenet_pp, pyg_edges

from molgeo.graph import radius_graph
from molgeo.models.dimenet_pp import DimeNetPlusPlus, DimeNetPlusPlusConfig
from molgeo.ops import dense

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {
    "hidden": 16, "n_blocks": 2, "int_emb": 8, "basis_emb": 4, "out_emb": 12,
    "output_init": "glorot_orthogonal",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


@pytest.fixture(params=["small", "large"])
def layers(request, monkeypatch):
    """Layers as of a molecule alone, and as of a large batch."""
    if request.param == "large":
        monkeypatch.setattr(dense, "SMALL", -1)


@pytest.mark.parametrize("form", ["gram", "reference"])
def test_agrees_with_pyg(form):
    ours = placed(DimeNetPlusPlus(form=form, **SMALL))
    theirs = pyg_dimenet_pp(ours)
    for name in ("CH3CH2OH", "C6H6", "CO2", "CH4"):
        agree(ours, theirs, *batch_of([name]))
    agree(ours, theirs, *batch_of(["CH3CH2OH", "H2O", "C5H5N", "C2H2"]))


def test_published_size_agrees_with_pyg():
    ours = placed(DimeNetPlusPlus(output_init="glorot_orthogonal"))
    assert sum(p.numel() for p in ours.parameters()) == 1_885_830
    agree(ours, pyg_dimenet_pp(ours), *batch_of(["CH3CH2OH", "H2O"]))


@pytest.mark.usefixtures("layers")
def test_training_gradients_agree_with_pyg():
    ours = placed(DimeNetPlusPlus(**SMALL))
    theirs = pyg_dimenet_pp(ours)
    z, pos, batch = batch_of(["CH3CH2OH", "CH4"])
    ours(z, pos, batch).square().sum().backward()
    with pyg_edges(radius_graph(pos, 5.0, batch)):
        theirs(z, pos, batch).square().sum().backward()
    own = sorted(p.grad.norm().item() for p in ours.parameters())
    expected = sorted(p.grad.norm().item() for p in theirs.parameters())
    assert own == pytest.approx(expected, rel=1e-6)


def test_initial_weights():
    model = placed(DimeNetPlusPlus())
    z, pos, batch = batch_of(["CH3CH2OH"])
    assert model(z, pos, batch).abs().max() == 0.0  # zero output, as published
    weight = model.interactions[0].kj.weight.detach()
    gram = weight @ weight.T
    torch.testing.assert_close(gram, gram.diagonal().mean() * torch.eye(128))
    assert weight.var().item() == pytest.approx(2 / 256)
    assert model.embedding.elements.weight.abs().max() <= 3**0.5


def test_backbone():
    model = placed(DimeNetPlusPlus(**SMALL | {"n_out": None}))
    z, pos, batch = batch_of(["CH3CH2OH", "H2O"])
    features = model.atom_features(z, pos, radius_graph(pos, model.cutoff, batch))
    assert features.shape == (12, model.feature_dim) == (12, 12)
    assert features.abs().max() > 0
    with pytest.raises(RuntimeError, match="n_out is None"):
        model(z, pos, batch)


def test_paper_envelope_differs():
    z, pos, batch = batch_of(["CH3CH2OH"])
    code = placed(DimeNetPlusPlus(**SMALL))
    paper = placed(DimeNetPlusPlus(sbf_envelope="paper", **SMALL))
    paper.load_state_dict(code.state_dict())
    assert (paper(z, pos, batch) - code(z, pos, batch)).abs().max() > 1e-6


def test_config_and_fields():
    config = DimeNetPlusPlusConfig(hidden=32)
    model = placed(DimeNetPlusPlus(config, n_blocks=1))
    assert (model.config.hidden, model.config.n_blocks, model.cutoff) == (32, 1, 5.0)
    with pytest.raises(TypeError, match="'hiden'; did you mean 'hidden'"):
        DimeNetPlusPlus(hiden=32)


@pytest.mark.parametrize("n_atoms", [1, 2])
def test_without_triplets(n_atoms):
    model = placed(DimeNetPlusPlus(**SMALL))
    pos = torch.eye(3)[:n_atoms].requires_grad_()
    energy = model(torch.ones(n_atoms, dtype=torch.long), pos)
    (force,) = torch.autograd.grad(energy.sum(), pos, allow_unused=True)
    assert energy.shape == (1, 1)
    assert force.isfinite().all()


def test_linear_molecules_have_finite_second_derivatives():
    model = placed(DimeNetPlusPlus(**SMALL))
    for name in ("CO2", "HCN", "C2H2", "C6H6"):
        z, pos = compound(name)
        pos.requires_grad_()
        energy = model(z, pos)
        (force,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
        force.square().sum().backward()
        assert force.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.usefixtures("layers")
@pytest.mark.parametrize("form", ["gram", "harmonic"])
def test_force_training_gradients_agree_with_explicit_triplets(form):
    z, pos, batch = batch_of(["CH3CH2OH", "CO2", "C6H6"])
    reference = placed(DimeNetPlusPlus(form="reference", **SMALL))
    model = placed(DimeNetPlusPlus(form=form, **SMALL))
    model.load_state_dict(reference.state_dict())
    for m in (reference, model):
        energy = m(z, pos, batch)
        (force,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
        (energy.square().sum() + 10 * force.square().sum()).backward()
    for own, expected in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(own.grad, expected.grad, rtol=1e-9, atol=1e-10)
