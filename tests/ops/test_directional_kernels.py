"""The directional sum's Triton kernels against explicit triplets: values, first and second order.

Without a GPU they run in Triton's interpreter, which `left_out.py` asks for.
"""

import functools

import pytest
import torch
from compounds import compound

from molgeo.graph import radius_graph
from molgeo.graph.triplets import triplets
from molgeo.ops.directional import directional_sum, zonal_harmonics
from molgeo.ops.directional.kernels import TILE, Kernels

pytestmark = pytest.mark.usefixtures("on_device")


def directional_forward(*operands):
    *operands, graph = operands
    return Kernels(graph).value(*operands)


def directional_gradients(grad, unit, x, radial, weight, graph, tangents=None, *, need_unit=True):
    need = [need_unit, True, True, True]
    return Kernels(graph).gradients(need, grad, unit, x, radial, weight, tangents=tangents)


def clusters():
    """Atoms of all degrees from 0 on."""
    pos = torch.cat([2.0 * torch.rand(n, 3, dtype=torch.float64) for n in (1, 2, 3, 8)])
    batch = torch.repeat_interleave(torch.arange(4), torch.tensor([1, 2, 3, 8]))
    graph = radius_graph(pos, 1.6, batch)
    assert {0, 1, 2} < set(graph.degree.tolist())
    return pos, graph


def crowd():
    """Two atoms a cell, each with more neighbours than a tile holds; some are its own images."""
    pos = torch.tensor([[0.1, 0.2, 0.0], [0.9, 1.1, 1.3]], dtype=torch.float64)
    cell = torch.tensor([[2.0, 0.1, 0.0], [0.0, 2.1, 0.2], [0.3, 0.0, 1.9]], dtype=torch.float64)
    graph = radius_graph(pos, 2.7, None, cell[None], torch.ones(1, 3, dtype=torch.bool))
    assert graph.degree.min() > TILE
    return pos, graph


def molecular(name):
    pos = compound(name)[1]
    return pos, radius_graph(pos, 3.0)


SYSTEMS = {"clusters": clusters, "crowd": crowd} | {
    name: functools.partial(molecular, name) for name in ("CO2", "C2H2", "C6H6")
}


def problem(system, n_spherical, rank, channels, dtype=torch.float64):
    """``(grad, unit, x, radial, weight), tangents, graph`` of one kind of type."""
    torch.manual_seed(1)
    pos, graph = SYSTEMS[system]()
    delta = graph.displacements(pos)[graph.pair]
    delta[graph.reverse[graph.forward]] *= -1.0
    unit = torch.nn.functional.normalize(delta, dim=-1)
    shapes = (
        (graph.n_edges, channels),
        (graph.n_edges // 2, n_spherical, rank),
        (channels, rank),
    )
    operands = unit, *(torch.randn(shape, dtype=torch.float64) for shape in shapes)
    grad = torch.randn_like(operands[1])
    tangents = [torch.randn_like(operand) for operand in operands]
    return (
        [operand.to(dtype) for operand in (grad, *operands)],
        [tangent.to(dtype) for tangent in tangents],
        graph,
    )


def reference(unit, x, radial, weight, graph):
    """The sum over explicit triplets, with a vector of its own for each edge."""
    kj, ji = triplets(graph)
    cosine = -(unit[ji] * unit[graph.reverse[kj]]).sum(-1)
    filters = (radial @ weight.T)[graph.pair[kj]]
    y = zonal_harmonics(cosine, radial.shape[1])
    return torch.zeros_like(x).index_add(0, ji, x[kj] * torch.einsum("tl,tlc->tc", y, filters))


def expected(arguments, tangents, graph):
    """m, its gradients, and the gradients of their product with the tangents, in float64."""
    grad, *operands = (argument.double().requires_grad_() for argument in arguments)
    options = {"allow_unused": True, "materialize_grads": True}
    m = reference(*operands, graph)
    first = torch.autograd.grad((grad * m).sum(), operands, create_graph=True, **options)
    product = sum((t.double() * f).sum() for t, f in zip(tangents, first, strict=True))
    return m, first, torch.autograd.grad(product, (grad, *operands), **options)


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1e-3)


@pytest.mark.parametrize(
    ("system", "n_spherical", "rank", "channels"),
    [
        ("clusters", 1, 1, 3),
        ("clusters", 7, 8, 3),
        ("clusters", 2, 3, 50),
        ("crowd", 7, 1, 3),
        ("crowd", 3, 8, 64),
        ("CO2", 7, 8, 16),
        ("C2H2", 7, 1, 3),
        ("C6H6", 5, 8, 3),
    ],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_equal_explicit_triplets(system, n_spherical, rank, channels, dtype, tolerance):
    arguments, tangents, graph = problem(system, n_spherical, rank, channels, dtype)
    m, first, second = expected(arguments, tangents, graph)

    found = directional_forward(*arguments[1:], graph)
    assert found.dtype == dtype
    assert_close([found], [m], tolerance)

    nothing, *found = directional_gradients(*arguments, graph)
    assert nothing is None
    assert_close(found, first, tolerance)

    found = directional_gradients(*arguments, graph, tuple(tangents))
    assert_close(found, second, tolerance)


def test_tangents_left_out_are_zero():
    arguments, tangents, graph = problem("clusters", 3, 2, 3)
    only_x = (None, tangents[1], None, None)
    zeros = tuple(t if n == 1 else torch.zeros_like(t) for n, t in enumerate(tangents))
    for a, b in zip(
        directional_gradients(*arguments, graph, only_x),
        directional_gradients(*arguments, graph, zeros),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_gradient_of_the_unit_vectors_can_be_left_out():
    arguments, _, graph = problem("clusters", 3, 2, 3)
    _, of_unit, *some = directional_gradients(*arguments, graph, need_unit=False)
    _, _, *other = directional_gradients(*arguments, graph)
    assert of_unit is None
    assert all(torch.equal(a, b) for a, b in zip(some, other, strict=True))


def test_programs_may_take_several_atoms(monkeypatch):
    monkeypatch.setattr("molgeo.ops.directional.kernels.PROGRAMS", 3)
    arguments, tangents, graph = problem("clusters", 3, 2, 3)
    _, first, second = expected(arguments, tangents, graph)
    assert_close(directional_gradients(*arguments, graph)[1:], first, 1e-10)
    assert_close(directional_gradients(*arguments, graph, tuple(tangents)), second, 1e-10)


def test_half_precision_is_summed_in_full():
    arguments, tangents, graph = problem("clusters", 7, 8, 16, torch.bfloat16)
    m, first, second = expected(arguments, tangents, graph)
    found = directional_forward(*arguments[1:], graph)
    assert found.dtype == torch.bfloat16
    assert_close([found], [m], 0.01)
    found = directional_gradients(*arguments, graph)[1:]
    assert all(f.dtype == torch.bfloat16 for f in found)
    assert_close(found, first, 0.01)
    assert_close(directional_gradients(*arguments, graph, tuple(tangents)), second, 0.01)


def test_messages_have_the_widest_type():
    (_, unit, x, radial, weight), _, graph = problem("CO2", 3, 2, 3, torch.float32)
    low = x.bfloat16(), radial.bfloat16(), weight.bfloat16()
    found = directional_forward(unit, *low, graph)
    assert found.dtype == torch.float32
    exact = reference(unit, *(operand.float() for operand in low), graph)
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_atoms", [0, 1, 2])
def test_without_triplets_all_is_zero(n_atoms):
    pos = torch.eye(3, dtype=torch.float64)[:n_atoms]
    graph = radius_graph(pos, 2.0)
    shapes = (graph.n_edges, 3), (graph.n_edges, 4), (graph.n_edges // 2, 2, 5), (4, 5)
    operands = [torch.ones(shape, dtype=torch.float64) for shape in shapes]
    grad = torch.ones_like(operands[1])
    assert not directional_forward(*operands, graph).any()
    found = directional_gradients(grad, *operands, graph, tuple(operands))
    for value, argument in zip(found, (grad, *operands), strict=True):
        assert value.shape == argument.shape
        assert not value.any()
    assert all(not value.any() for value in directional_gradients(grad, *operands, graph)[1:])


def test_form_agrees_with_explicit_triplets_to_the_second_derivative():
    """Through the operators and autograd, as a model uses the kernels."""
    found = []
    for form in ("reference", "triton"):
        torch.manual_seed(2)
        pos, graph = molecular("C2H2")
        pos.requires_grad_()
        shapes = (graph.n_edges, 3), (graph.n_edges // 2, 3, 2), (3, 2)
        operands = [torch.randn(s, dtype=torch.float64).requires_grad_() for s in shapes]
        delta = graph.displacements(pos)
        unit = delta / torch.linalg.vector_norm(delta, dim=-1, keepdim=True)
        out = directional_sum(unit, graph, 3, form)(*operands)
        force = torch.autograd.grad(out.square().sum(), pos, create_graph=True)[0]
        second = torch.autograd.grad(force.square().sum(), (pos, *operands))
        found.append([out, force, *second])
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)
