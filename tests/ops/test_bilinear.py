"""The bilinear sum: its forms, a naive loop, and derivatives, also at 0° and 180°."""

import math

import pytest
import torch
from compounds import compound
from devices import gradcheck, gradgradcheck
from neighbourhoods import clusters, crystal
from scipy.special import eval_legendre

from molgeo.graph import radius_graph
from molgeo.graph.triplets import triplets
from molgeo.ops import bilinear
from molgeo.ops.bilinear import bilinear_sum

pytestmark = pytest.mark.usefixtures("on_device")

N_SPHERICAL = 4
forms = pytest.mark.parametrize("form", ["reference", "gram"])
angles = pytest.mark.parametrize("angle", ["paper", "reference"])


def operands(graph, c_in=3, c_out=2, n_bilinear=2):
    x = torch.randn(graph.n_edges, c_in, dtype=torch.float64)
    radial = torch.randn(graph.forward.numel(), N_SPHERICAL, n_bilinear, dtype=torch.float64)
    weight = torch.randn(c_out, n_bilinear, c_in, dtype=torch.float64)
    return x, radial, weight


def molecular(name):
    pos = compound(name)[1]
    return pos, radius_graph(pos, 5.0)


SYSTEMS = {
    "clusters": clusters,
    "crystal": crystal,
    "ethanol": lambda: molecular("CH3CH2OH"),
    "line": lambda: molecular("CO2"),
    "plane": lambda: molecular("C6H6"),
}


def every_sum(pos, graph, operands, angle, form):
    delta = graph.displacements(pos)
    return bilinear_sum(delta, graph, N_SPHERICAL, angle, form)(*operands)


@forms
@angles
@pytest.mark.parametrize("system", [clusters, crystal])
def test_agrees_with_a_naive_loop(system, angle, form):
    pos, graph = system()
    x, radial, weight = operands(graph)
    delta = pos[graph.target] - pos[graph.source]
    if graph.offset is not None:
        delta = delta + graph.offset
    expected = x.new_zeros(graph.n_edges, weight.shape[0])
    for kj, ji in zip(*(edge.tolist() for edge in triplets(graph)), strict=True):
        to_j, to_k = -delta[ji], -delta[ji] - delta[kj]  # from i
        a, b = (delta[ji], delta[kj]) if angle == "paper" else (to_j, to_k)
        cosine = torch.dot(a, b) / (a.norm() * b.norm())
        y = [
            math.sqrt((2 * l + 1) / (4 * math.pi)) * eval_legendre(l, cosine.item())
            for l in range(N_SPHERICAL)
        ]
        mixed = torch.tensor(y) @ radial[graph.pair[kj]]  # (n_bilinear,)
        expected[ji] += torch.einsum("b,cbd,d->c", mixed, weight, x[kj])
    result = every_sum(pos, graph, (x, radial, weight), angle, form)
    torch.testing.assert_close(result, expected, rtol=1e-11, atol=1e-11)


@angles
@pytest.mark.parametrize("rows", [512, 16])
@pytest.mark.parametrize("system", SYSTEMS)
def test_forms_agree_with_both_derivatives(system, rows, angle, monkeypatch):
    monkeypatch.setattr(bilinear, "ROWS_PER_BLOCK", rows)
    pos, graph = SYSTEMS[system]()
    torch.manual_seed(2)
    inputs = (pos, *operands(graph))
    for tensor in inputs:
        tensor.requires_grad_()
    mixed = None
    found = []
    for form in ("reference", "gram"):
        out = every_sum(pos, graph, inputs[1:], angle, form)
        mixed = torch.randn_like(out) if mixed is None else mixed
        first = torch.autograd.grad((mixed * out.tanh()).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        found.append([out, *first, *second])
    for a, b in zip(*found, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10 * max(1.0, a.abs().max().item()))


@forms
@angles
def test_gradcheck(angle, form):
    torch.manual_seed(0)
    pos = 1.5 * torch.rand(5, 3, dtype=torch.float64)
    graph = radius_graph(pos, 1.2)
    assert graph.degree.unique().numel() > 1  # there is padding
    inputs = (pos, *operands(graph, 2, 2))
    for tensor in inputs:
        tensor.requires_grad_()

    def run(pos, *operands):
        return every_sum(pos, graph, operands, angle, form)

    assert gradcheck(run, inputs, fast_mode=True)
    assert gradgradcheck(run, inputs, fast_mode=True)


@forms
@angles
@pytest.mark.parametrize("name", ["CO2", "HCN", "C2H2", "C6H6"])
def test_second_derivatives_of_linear_and_planar_molecules(angle, form, name):
    pos, graph = molecular(name)
    torch.manual_seed(0)
    inputs = operands(graph)
    mixed = torch.randn(graph.n_edges, 2, dtype=torch.float64)
    direction = torch.randn_like(pos)

    def slope(pos):
        out = every_sum(pos, graph, inputs, angle, form)
        return torch.autograd.grad((mixed * out).sum(), pos, create_graph=True)[0]

    (curvature,) = torch.autograd.grad((slope(pos.requires_grad_()) * direction).sum(), pos)
    step = 1e-5
    ahead, behind = (slope((pos + s * direction).detach().requires_grad_()) for s in (step, -step))
    assert curvature.abs().max() > 0.1
    torch.testing.assert_close(curvature, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-5)


@forms
@angles
@pytest.mark.parametrize("n_atoms", [0, 1, 2])
def test_without_triplets_the_sum_is_zero(angle, form, n_atoms):
    pos = torch.eye(3, dtype=torch.float64)[:n_atoms]
    graph = radius_graph(pos, 2.0)
    out = every_sum(pos, graph, operands(graph), angle, form)
    assert torch.equal(out, torch.zeros(graph.n_edges, 2, dtype=torch.float64))


@pytest.mark.parametrize("form", ["reference", "gram"])
def test_atoms_in_one_place_stay_finite(form):
    """The vector i→k is zero where k lies on i."""
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=torch.float64)
    graph = radius_graph(pos, 1.5)
    delta = graph.displacements(pos)
    apart = delta.norm(dim=-1, keepdim=True) > 0
    delta = torch.where(apart, delta, torch.tensor([0.0, 1.0, 0.0]).double()).requires_grad_()
    x, radial, weight = operands(graph)
    out = bilinear_sum(delta, graph, N_SPHERICAL, "reference", form)(x, radial, weight)
    (first,) = torch.autograd.grad(out.square().sum(), delta, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), delta)
    assert out.isfinite().all()
    assert first.isfinite().all()
    assert second.isfinite().all()


def test_unknown_choices():
    pos, graph = clusters()
    delta = graph.displacements(pos)
    with pytest.raises(ValueError, match="form: expected 'gram' or 'reference', got 'fast'"):
        bilinear_sum(delta, graph, N_SPHERICAL, form="fast")
    with pytest.raises(ValueError, match="angle: expected 'paper' or 'reference', got 'right'"):
        bilinear_sum(delta, graph, N_SPHERICAL, angle="right")


@forms
def test_half_precision_features_are_summed_in_full(form):
    pos, graph = clusters()
    x, radial, weight = (operand.bfloat16().requires_grad_() for operand in operands(graph))
    total = bilinear_sum(graph.displacements(pos).float(), graph, N_SPHERICAL, form=form)
    with torch.autocast("cpu", torch.bfloat16):
        out = total(x, radial, weight)
    exact = total(x.float(), radial.float(), weight.float())
    torch.testing.assert_close(out.float(), exact, rtol=0.05, atol=0.05)
    out.sum().backward()
    assert x.grad.isfinite().all()
    assert weight.grad.abs().max() > 0


def test_angles_keep_their_digits_under_autocast():
    torch.manual_seed(0)
    pos = 2.0 * torch.rand(8, 3)
    graph = radius_graph(pos, 1.5)
    x = torch.randn(graph.n_edges, 3)
    radial = torch.randn(graph.forward.numel(), 4, 2)
    weight = torch.randn(3, 2, 3)
    delta = graph.displacements(pos)
    expected = bilinear_sum(delta, graph, 4)(x, radial, weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = bilinear_sum(delta, graph, 4)(x, radial, weight)
    torch.testing.assert_close(found, expected)
