"""The kernels of padded graphs: no program takes padding, whose rows are zero whatever is there."""

import pytest
import torch
from neighbourhoods import crystal, roomier

from molgeo.graph import radius_graph
from molgeo.ops.directional.kernels import Kernels
from molgeo.ops.filter_triton import convolution, pair_product

pytestmark = pytest.mark.usefixtures("on_device")


def molecules():
    """Of 4, 1 and 2 atoms."""
    pos = torch.rand(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return pos, radius_graph(pos, 2.0, torch.tensor([0, 0, 0, 0, 1, 2, 2]))


@pytest.fixture(autouse=True)
def _fresh_memory_is_no_number():
    """What a kernel leaves as it found it is seen."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def some(graph, *shapes):
    torch.manual_seed(1)
    return [torch.randn(shape, dtype=torch.float64).to(graph.source.device) for shape in shapes]


def assert_the_same_then_zero(many, few):
    for a, b in zip(many, few, strict=True):
        torch.testing.assert_close(a[: len(b)], b, rtol=1e-12, atol=1e-12)
        assert not a[len(b) :].any()


@pytest.mark.parametrize("system", [molecules, crystal])
def test_directional_sum_and_its_derivatives_to_the_second(system):
    graph = system()[1]
    more = roomier(graph)
    rows = {"edges": graph.n_edges, "pairs": graph.n_edges // 2}
    shapes = (more.n_edges, 3), (more.n_edges, 5), (more.n_edges // 2, 3, 2), (5, 2)
    unit, x, radial, weight = some(more, *shapes)
    operands = torch.nn.functional.normalize(unit, dim=-1), x, radial, weight
    grad, *tangents = (torch.randn_like(one) for one in (x, *operands))

    def without_padding(edges, *others):
        first = [one[: rows["edges"]] for one in (edges, *others[:-2])]
        return *first, others[-2][: rows["pairs"]], others[-1]

    def all_of(grad, operands, tangents, graph):
        need, kernels = [True] * 4, Kernels(graph)
        second = kernels.gradients(need, grad, *operands, tangents=tangents)
        return kernels.value(*operands), *kernels.gradients(need, grad, *operands)[1:], *second

    many = all_of(grad, operands, tangents, more)
    few = all_of(
        grad[: rows["edges"]], without_padding(*operands), without_padding(*tangents), graph
    )
    assert len(few) == 10
    assert_the_same_then_zero(many, few)


@pytest.mark.parametrize("system", [molecules, crystal])
def test_convolution_and_its_derivative(system):
    graph = system()[1]
    more = roomier(graph)
    n, m = graph.n_atoms, graph.n_edges // 2
    g, h, filters = some(more, *[(more.n_atoms, 5)] * 2, (more.n_edges // 2, 5))
    few = convolution(h[:n], filters[:m], graph), pair_product(g[:n], h[:n], graph)
    many = convolution(h, filters, more), pair_product(g, h, more)
    assert_the_same_then_zero(many, few)
