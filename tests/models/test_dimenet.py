"""DimeNet against PyG's with the same weights, and what is its own."""

import pytest
import torch
from compounds import compound
from devices import placed
from pyg_agreement import agree, batch_of
from pyg_weights import pyg_dimenet, pyg_edges

from molgeo.graph import radius_graph
from molgeo.models.dimenet import DimeNet

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {
    "hidden": 16, "n_blocks": 2, "n_bilinear": 4, "output_init": "glorot_orthogonal",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


@pytest.mark.parametrize("form", ["gram", "reference"])
def test_agrees_with_pyg(form):
    ours = placed(DimeNet(angle="reference", form=form, **SMALL))
    theirs = pyg_dimenet(ours)
    for name in ("CH3CH2OH", "C6H6", "CO2", "CH4"):
        agree(ours, theirs, *batch_of([name]))
    agree(ours, theirs, *batch_of(["CH3CH2OH", "H2O", "C5H5N", "C2H2"]))


def test_published_size_agrees_with_pyg():
    ours = placed(DimeNet(output_init="glorot_orthogonal", angle="reference"))
    theirs = pyg_dimenet(ours)
    assert sum(p.numel() for p in ours.parameters()) == 2_100_070
    agree(ours, theirs, *batch_of(["CH3CH2OH", "H2O"]))


def test_training_gradients_agree_with_pyg():
    ours = placed(DimeNet(angle="reference", **SMALL))
    theirs = pyg_dimenet(ours)
    z, pos, batch = batch_of(["CH3CH2OH", "CH4"])
    ours(z, pos, batch).square().sum().backward()
    with pyg_edges(radius_graph(pos, 5.0, batch)):
        theirs(z, pos, batch).square().sum().backward()
    own = sorted(p.grad.norm().item() for p in ours.parameters())
    expected = sorted(p.grad.norm().item() for p in theirs.parameters())
    assert own == pytest.approx(expected, rel=1e-6)


def test_angles_differ():
    z, pos, batch = batch_of(["CH3CH2OH"])
    paper = placed(DimeNet(**SMALL))
    reference = placed(DimeNet(angle="reference", **SMALL))
    reference.load_state_dict(paper.state_dict())
    assert (paper(z, pos, batch) - reference(z, pos, batch)).abs().max() > 1e-6


@pytest.mark.parametrize("angle", ["paper", "reference"])
def test_forms_agree_in_a_crowded_cell(angle):
    pos = 3.0 * torch.rand(4, 3)
    cell = 3.2 * torch.eye(3) + 0.2 * torch.rand(3, 3)
    z = torch.tensor([1, 6, 8, 14])
    gram = placed(DimeNet(angle=angle, **SMALL))
    found = []
    for form in ("gram", "reference"):
        model = placed(DimeNet(angle=angle, form=form, **SMALL))
        model.load_state_dict(gram.state_dict())
        pos = pos.detach().requires_grad_()
        graph = radius_graph(pos, model.cutoff, None, cell[None], torch.ones(1, 3).bool())
        assert graph.degree.min() > 50
        energy = model.atom_features(z, pos, graph).sum()
        (force,) = torch.autograd.grad(energy, pos, create_graph=True)
        curvature = torch.autograd.grad(force.square().sum(), [pos, *model.parameters()])
        found.append([energy, force, *curvature])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * max(1.0, a.abs().max().item()))


def test_initial_weights():
    model = placed(DimeNet())
    z, pos, batch = batch_of(["CH3CH2OH"])
    assert model(z, pos, batch).abs().max() == 0.0  # zero output, as published
    weight = model.interactions[0].bilinear
    assert weight.shape == (128, 8, 128)
    assert weight.std().item() == pytest.approx(2 / 128, rel=0.02)


def test_backbone():
    model = placed(DimeNet(**SMALL | {"n_out": None}))
    z, pos, batch = batch_of(["CH3CH2OH", "H2O"])
    features = model.atom_features(z, pos, radius_graph(pos, model.cutoff, batch))
    assert features.shape == (12, model.feature_dim) == (12, 16)
    assert features.abs().max() > 0


def test_paper_envelope_differs():
    z, pos, batch = batch_of(["CH3CH2OH"])
    code = placed(DimeNet(**SMALL))
    paper = placed(DimeNet(sbf_envelope="paper", **SMALL))
    paper.load_state_dict(code.state_dict())
    assert (paper(z, pos, batch) - code(z, pos, batch)).abs().max() > 1e-6


def test_unknown_angle():
    with pytest.raises(ValueError, match="angle: expected"):
        DimeNet(angle="right")


@pytest.mark.parametrize("angle", ["paper", "reference"])
@pytest.mark.parametrize("name", ["CO2", "HCN", "C2H2", "C6H6"])
def test_linear_and_planar_molecules_have_finite_second_derivatives(angle, name):
    model = placed(DimeNet(angle=angle, **SMALL))
    z, pos = compound(name)
    pos.requires_grad_()
    energy = model(z, pos)
    (force,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
    force.square().sum().backward()
    assert force.isfinite().all()
    assert pos.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
