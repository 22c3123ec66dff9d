"""SchNet's Triton kernels against the sums in PyTorch's own operations.

Without a GPU they run in Triton's interpreter, which `left_out.py` asks for.
"""

import pytest
import torch

from molgeo.graph import radius_graph
from molgeo.ops.filter_triton import EDGES, convolution, pair_product

pytestmark = pytest.mark.usefixtures("on_device")


def clusters():
    """Atoms without neighbours, with some, and with more than a tile holds."""
    torch.manual_seed(0)
    sizes = torch.tensor([1, 2, 7, EDGES + 4])
    pos = torch.rand(int(sizes.sum()), 3, dtype=torch.float64)
    graph = radius_graph(pos, 2.0, torch.repeat_interleave(torch.arange(4), sizes))
    assert graph.degree.min() == 0
    assert graph.degree.max() > EDGES
    return graph


def crystal():
    pos = torch.tensor([[0.0, 0.0, 0.0], [0.9, 1.1, 1.3]], dtype=torch.float64)
    cell = torch.diag(torch.tensor([2.0, 2.1, 1.9], dtype=torch.float64))
    return radius_graph(pos, 2.2, None, cell[None], torch.ones(1, 3, dtype=torch.bool))


def reference(g, h, filters, graph):
    """Both sums, in float64."""
    g, h, filters = g.double(), h.double(), filters.double()
    messages = filters[graph.pair] * h[graph.target]
    a, b = graph.source[graph.forward], graph.target[graph.forward]
    return (
        torch.zeros_like(h).index_add(0, graph.source, messages),
        g[a] * h[b] + g[b] * h[a],
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 0.01)],
)
@pytest.mark.parametrize("width", [1, 3, 64, 200])
@pytest.mark.parametrize("system", [clusters, crystal])
def test_equal_pytorch(system, width, dtype, tolerance):
    graph = system()
    torch.manual_seed(1)
    g, h = torch.randn(2, graph.n_atoms, width, dtype=torch.float64).to(dtype)
    filters = torch.randn(graph.n_edges // 2, width, dtype=torch.float64).to(dtype)
    found = convolution(h, filters, graph), pair_product(g, h, graph)
    for a, b in zip(found, reference(g, h, filters, graph), strict=True):
        assert a.dtype == dtype
        assert a.shape == b.shape
        assert (a - b).abs().max() <= tolerance * b.abs().max()


def test_strided_arguments():
    graph = crystal()
    h = torch.randn(5, graph.n_atoms).t()
    filters = torch.randn(5, graph.n_edges // 2).t()
    found = convolution(h, filters, graph), pair_product(h, h, graph)
    for a, b in zip(found, reference(h, h, filters, graph), strict=True):
        torch.testing.assert_close(a, b.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_atoms", [0, 1])
def test_without_edges(n_atoms):
    graph = radius_graph(torch.zeros(n_atoms, 3), 1.0)
    h = torch.ones(n_atoms, 4)
    filters = torch.ones(0, 4)
    assert torch.equal(convolution(h, filters, graph), torch.zeros_like(h))
    assert pair_product(h, h, graph).shape == (0, 4)
