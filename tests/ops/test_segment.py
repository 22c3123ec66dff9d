"""Index operations against plain indexing, with first and second derivatives."""

import pytest
import torch
from devices import gradcheck, gradgradcheck

from molgeo.graph import radius_graph
from molgeo.ops import segment

pytestmark = pytest.mark.usefixtures("on_device")


@pytest.fixture
def graph():
    torch.manual_seed(0)
    pos = torch.cat([2.0 * torch.rand(5, 3), torch.full((1, 3), 9.0), 2.0 * torch.rand(3, 3)])
    return radius_graph(pos, 1.6, torch.tensor([0] * 6 + [1] * 3))


def operations(graph):
    """name: (fast, plain, rows of the operand)."""
    edges, pairs, atoms = graph.n_edges, graph.forward.numel(), graph.n_atoms
    target, reverse, pair = graph.target, graph.reverse, graph.pair
    sign = torch.ones(edges, 1).double()
    sign[reverse[graph.forward]] = -1.0

    def add(x, index, rows):
        return torch.zeros(rows, x.shape[1], dtype=x.dtype).index_add(0, index, x)

    return {
        "gather": (lambda x: segment.gather(x, target), lambda x: x[target], atoms),
        "scatter_sum": (
            lambda x: segment.scatter_sum(x, target, atoms),
            lambda x: add(x, target, atoms),
            edges,
        ),
        "expand_pairs": (lambda x: segment.expand_pairs(x, graph), lambda x: x[pair], pairs),
        "expand_signed": (
            lambda x: segment.expand_pairs(x, graph, -1.0),
            lambda x: sign.to(x) * x[pair],
            pairs,
        ),
        "fold_pairs": (
            lambda x: segment.fold_pairs(x, graph),
            lambda x: add(x, pair, pairs),
            edges,
        ),
        "molecule_sum": (
            lambda x: segment.molecule_sum(x, graph),
            lambda x: add(x, graph.batch, 2),
            atoms,
        ),
    }


NAMES = ["gather", "scatter_sum", "expand_pairs", "expand_signed", "fold_pairs", "molecule_sum"]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives(graph, name):
    fast, plain, rows = operations(graph)[name]
    for dtype in (torch.float32, torch.float64):
        x = torch.randn(rows, 3, dtype=dtype)
        torch.testing.assert_close(fast(x), plain(x))
    x = torch.randn(rows, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(fast, x)
    assert gradgradcheck(fast, x)


def test_scale_pairs(graph):
    x = torch.randn(graph.n_edges, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(graph.forward.numel(), 2, dtype=torch.float64, requires_grad=True)

    def scaled(x, scale):
        return segment.scale_pairs(x, scale, graph)

    torch.testing.assert_close(scaled(x, scale), x * scale[graph.pair])
    assert gradcheck(scaled, (x, scale))
    assert gradgradcheck(scaled, (x, scale))


def test_sum_scaled(graph):
    x = torch.randn(graph.n_edges, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.randn(graph.forward.numel(), 2, dtype=torch.float64, requires_grad=True)

    def scaled(x, scale):
        return segment.sum_scaled(x, scale, graph)

    expected = torch.zeros(graph.n_atoms, 2, dtype=torch.float64)
    expected.index_add_(0, graph.target, (x * scale[graph.pair]).detach())
    torch.testing.assert_close(scaled(x, scale), expected)
    with torch.no_grad():
        torch.testing.assert_close(scaled(x, scale), expected)
    assert gradcheck(scaled, (x, scale))
    assert gradgradcheck(scaled, (x, scale))


def test_to_edges(graph):
    sizes = (graph.n_atoms, graph.n_atoms, graph.forward.numel())
    inputs = [torch.randn(n, 2, dtype=torch.float64, requires_grad=True) for n in sizes]

    def to_edges(a, b, c):
        return segment.to_edges(a, b, c, graph)

    a, b, c = inputs
    expected = a[graph.target] + b[graph.source] + c[graph.pair]
    torch.testing.assert_close(to_edges(*inputs), expected)
    assert gradcheck(to_edges, inputs)
    assert gradgradcheck(to_edges, inputs)


def test_no_edges():
    graph = radius_graph(torch.zeros(1, 3), 2.0)
    x = torch.zeros(0, 4, requires_grad=True)
    out = segment.sum_scaled(x, x, graph)
    assert out.tolist() == [[0.0] * 4]
    out.sum().backward()
    assert x.grad.shape == (0, 4)


def test_largest_of_each_molecule(graph):
    x = torch.randn(graph.n_atoms, 4).double().requires_grad_()
    found = segment.molecule_max(x, graph)
    expected = torch.stack([x[graph.batch == k].amax(0) for k in range(2)])
    torch.testing.assert_close(found, expected)
    assert gradcheck(lambda x: segment.molecule_max(x, graph), x)
    assert gradgradcheck(lambda x: segment.molecule_max(x, graph).square(), x)
