"""The directional sum: its forms, a naive loop, and derivatives, also at 0° and 180°."""

import math

import pytest
import torch
from compounds import compound
from devices import gradcheck, gradgradcheck
from neighbourhoods import clusters, crystal
from scipy.special import eval_legendre

from molgeo.graph import radius_graph
from molgeo.ops.directional import directional_sum, mapped, zonal_harmonics

pytestmark = pytest.mark.usefixtures("on_device")

N_SPHERICAL = 4
FORMS = ("reference", "gram", "harmonic")


def geometry(pos, graph):
    delta = graph.displacements(pos)
    return delta / torch.linalg.vector_norm(delta, dim=-1, keepdim=True)


def operands(graph, channels=3, rank=2):
    x = torch.randn(graph.n_edges, channels, dtype=torch.float64)
    radial = torch.randn(graph.forward.numel(), N_SPHERICAL, rank, dtype=torch.float64)
    weight = torch.randn(channels, rank, dtype=torch.float64)
    return x, radial, weight


@pytest.mark.parametrize("l", range(8))
def test_harmonics_are_normalised_legendre_polynomials(l):
    cosine = torch.linspace(-1, 1, 41, dtype=torch.float64)
    expected = math.sqrt((2 * l + 1) / (4 * math.pi)) * eval_legendre(l, cosine.cpu().numpy())
    torch.testing.assert_close(zonal_harmonics(cosine, l + 1)[:, l], torch.as_tensor(expected))


@pytest.mark.parametrize("form", FORMS)
def test_agrees_with_a_naive_loop(form):
    pos, graph = clusters()
    x, radial, weight = operands(graph)
    delta = pos[graph.target] - pos[graph.source]
    filters = (radial @ weight.T)[graph.pair]
    expected = torch.zeros_like(x)
    for ji in range(graph.n_edges):
        for kj in range(graph.n_edges):
            if graph.target[kj] != graph.source[ji] or graph.source[kj] == graph.target[ji]:
                continue
            cosine = torch.dot(delta[ji], delta[kj]) / (delta[ji].norm() * delta[kj].norm())
            for l in range(N_SPHERICAL):
                y = math.sqrt((2 * l + 1) / (4 * math.pi)) * eval_legendre(l, cosine.item())
                expected[ji] += y * filters[kj, l] * x[kj]
    result = directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(x, radial, weight)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [512, 16])
@pytest.mark.parametrize("system", [clusters, crystal])
def test_forms_agree_with_both_derivatives(system, rows, monkeypatch):
    monkeypatch.setattr(mapped, "ROWS_PER_BLOCK", rows)
    pos, graph = system()
    pos.requires_grad_()
    x, radial, weight = operands(graph)
    for operand in (x, radial, weight):
        operand.requires_grad_()
    mixed = torch.randn_like(x)
    found = []
    for form in FORMS:
        out = directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(x, radial, weight)
        first = torch.autograd.grad(
            (mixed * out.tanh()).sum(), (pos, x, radial, weight), create_graph=True
        )
        second = torch.autograd.grad(sum(g.square().sum() for g in first), (pos, x, radial, weight))
        found.append([out, *first, *second])
        # Without another derivative to come, the first ones take a path of their own.
        out = directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(x, radial, weight)
        found[-1] += torch.autograd.grad((mixed * out.tanh()).sum(), (pos, x, radial, weight))
    for expected, *others in zip(*found, strict=True):
        for other in others:
            torch.testing.assert_close(other, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_gradcheck(form):
    torch.manual_seed(0)
    pos = 1.5 * torch.rand(5, 3, dtype=torch.float64, requires_grad=True)
    graph = radius_graph(pos, 1.2)
    assert graph.degree.unique().numel() > 1  # there is padding
    x, radial, weight = operands(graph, channels=2)
    for operand in (x, radial, weight):
        operand.requires_grad_()

    def run(pos, x, radial, weight):
        return directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(x, radial, weight)

    inputs = (pos.detach().requires_grad_(), x, radial, weight)
    assert gradcheck(run, inputs)
    assert gradgradcheck(run, inputs)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["CO2", "HCN", "C2H2", "C6H6"])
def test_finite_derivatives_of_linear_and_planar_molecules(form, name):
    pos = compound(name)[1].requires_grad_()
    graph = radius_graph(pos, 5.0)
    torch.manual_seed(0)
    x, radial, weight = operands(graph)
    mixed, direction = torch.randn_like(x), torch.randn_like(pos)

    def slope(pos):
        out = directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(x, radial, weight)
        return torch.autograd.grad((mixed * out).sum(), pos, create_graph=True)[0]

    (curvature,) = torch.autograd.grad((slope(pos) * direction).sum(), pos)
    step = 1e-5
    ahead = slope((pos + step * direction).detach().requires_grad_())
    behind = slope((pos - step * direction).detach().requires_grad_())
    assert curvature.abs().max() > 0.1
    torch.testing.assert_close(curvature, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_atoms", [0, 1, 2])
def test_without_triplets_the_sum_is_zero(form, n_atoms):
    pos = torch.eye(3, dtype=torch.float64)[:n_atoms]
    graph = radius_graph(pos, 2.0)
    x, radial, weight = operands(graph)
    out = directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(x, radial, weight)
    torch.testing.assert_close(out, torch.zeros_like(x), rtol=0, atol=1e-14)


def test_unknown_form():
    pos, graph = clusters()
    with pytest.raises(ValueError, match=r"form: expected one of auto, .*reference.*, got 'fast'"):
        directional_sum(geometry(pos, graph), graph, N_SPHERICAL, "fast")


@pytest.mark.parametrize("form", FORMS)
def test_half_precision_features_are_summed_in_full(form):
    pos, graph = clusters()
    x, radial, weight = (operand.bfloat16().requires_grad_() for operand in operands(graph))
    total = directional_sum(geometry(pos, graph).float(), graph, N_SPHERICAL, form)
    with torch.autocast(pos.device.type, torch.bfloat16):
        out = total(x, radial, weight)
    exact = total(x.float(), radial.float(), weight.float())
    torch.testing.assert_close(out.float(), exact, rtol=0.05, atol=0.05)
    out.sum().backward()
    assert x.grad.isfinite().all()
    assert weight.grad.abs().max() > 0


@pytest.mark.parametrize("form", FORMS)
def test_third_derivatives_equal_those_of_the_definition(form):
    pos, graph = clusters()
    torch.manual_seed(0)
    inputs = [operand.requires_grad_() for operand in (pos, *operands(graph))]

    def third(form):
        value = directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(*inputs[1:])
        value = value.tanh().sum()
        for _ in range(2):
            gradients = torch.autograd.grad(value, inputs, create_graph=True)
            value = sum(x.square().sum() for x in gradients)
        return torch.autograd.grad(value, inputs)

    expected = third("reference")
    assert all(x.abs().max() > 0.1 for x in expected)
    torch.testing.assert_close(third(form), expected)


@pytest.mark.parametrize("system", [clusters, crystal])
def test_single_precision(system):
    pos, graph = system()
    found = []
    for form, dtype in (("reference", torch.float64), *((form, torch.float32) for form in FORMS)):
        torch.manual_seed(5)
        x, radial, weight = (o.to(dtype).requires_grad_() for o in operands(graph))
        where = pos.to(dtype).requires_grad_()
        inputs = (where, x, radial, weight)
        out = directional_sum(geometry(where, graph), graph, N_SPHERICAL, form)(x, radial, weight)
        first = torch.autograd.grad(out.square().sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), inputs)
        found.append([out, *first, *second])
    for expected, *others in zip(*found, strict=True):
        for other in others:
            scale = expected.abs().max().item()
            torch.testing.assert_close(other.double(), expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("form", FORMS)
def test_widest_type(form):
    pos, graph = clusters()
    single = [operand.float() for operand in operands(graph)]
    out = directional_sum(geometry(pos, graph), graph, N_SPHERICAL, form)(*single)
    assert out.dtype == torch.float64


@pytest.mark.parametrize("form", ["gram", "harmonic"])
def test_a_backward_pass_inside_autocast_is_in_full_precision(form):
    pos, graph = clusters()
    inputs = [operand.float().requires_grad_() for operand in operands(graph)]
    unit = geometry(pos, graph).float()
    expected = torch.autograd.grad(
        directional_sum(unit, graph, N_SPHERICAL, form)(*inputs).square().sum(), inputs
    )
    with torch.autocast(pos.device.type, torch.bfloat16):
        out = directional_sum(unit, graph, N_SPHERICAL, form)(*inputs)
        found = torch.autograd.grad(out.square().sum(), inputs)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)


def test_triton_needs_a_gpu(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    pos, graph = (x.to("cpu") for x in clusters())
    with pytest.raises(ValueError, match="form: 'triton' needs Triton and a CUDA device, got cpu"):
        directional_sum(geometry(pos, graph), graph, N_SPHERICAL, "triton")
