"""Densities of neighbours: values against a loop, derivatives against finite differences."""

import pytest
import torch
from torch import Tensor

from molgeo.graph import Graph, radius_graph
from molgeo.ops import density as density_module
from molgeo.ops.density import NeighbourDensity, gathered, projected, spread

COMPONENTS, CHANNELS = 4, 3


@pytest.fixture(params=[2048, 6, 1], ids=["one block", "several blocks", "a block an atom"])
def _edges_per_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density_module, "EDGES_PER_RUN", request.param)


def graph_of(sizes: list[int], cutoff: float = 1.5) -> Graph:
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(sum(sizes), 3, generator=generator, dtype=torch.float64)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return radius_graph(2.0 * pos, cutoff, batch)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True)


def arguments(graph: Graph, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """h, filters and harmonics."""
    return (
        random(graph.n_atoms, CHANNELS, dtype=dtype),
        random(graph.n_edges // 2, CHANNELS, dtype=dtype),
        random(graph.n_edges, COMPONENTS, dtype=dtype),
    )


def loop(h: Tensor, filters: Tensor, y: Tensor, graph: Graph) -> Tensor:
    """The definition, edge by edge."""
    out = [h.new_zeros(y.shape[1], h.shape[1]) for _ in range(graph.n_atoms)]
    for edge, (i, j) in enumerate(zip(graph.source.tolist(), graph.target.tolist(), strict=True)):
        out[i] = out[i] + torch.outer(y[edge], filters[graph.pair[edge]] * h[j])
    return torch.stack(out)


def test_there_are_blocks_to_test(monkeypatch: pytest.MonkeyPatch) -> None:
    assert graph_of([7, 1, 5]).n_edges > 10
    for edges_per_run, n_blocks in ((2048, 1), (6, 4)):
        monkeypatch.setattr(density_module, "EDGES_PER_RUN", edges_per_run)
        assert len(density_module._plan(graph_of([7, 1, 5])).blocks) >= n_blocks


@pytest.mark.usefixtures("_edges_per_run")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [[7, 1, 5], [1], [2]])
def test_values_and_gradients_equal_a_loop(sizes: list[int], dtype: torch.dtype) -> None:
    graph = graph_of(sizes)
    h, filters, y = inputs = arguments(graph, dtype)
    out, expected = NeighbourDensity(y, graph)(h, filters), loop(h, filters, y, graph)
    torch.testing.assert_close(out, expected)

    weight = torch.linspace(-1.0, 1.0, out.numel(), dtype=dtype).view_as(out)
    for create_graph in (False, True):  # the fast and the differentiable backward pass
        gradients = torch.autograd.grad(
            (out * weight).sum(), inputs, retain_graph=True, create_graph=create_graph
        )
        if graph.n_edges:
            wanted = torch.autograd.grad((expected * weight).sum(), inputs, retain_graph=True)
            torch.testing.assert_close(gradients, wanted)
        else:
            assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("number", range(3))
def test_gradient_by_one_argument_alone(number: int) -> None:
    graph = graph_of([7, 1, 5])
    inputs = arguments(graph)
    h, filters, y = inputs
    of_all = torch.autograd.grad(NeighbourDensity(y, graph)(h, filters).sin().sum(), inputs)
    others = [x if n == number else x.detach() for n, x in enumerate(inputs)]
    density = NeighbourDensity(others[2], graph)(others[0], others[1])
    (alone,) = torch.autograd.grad(density.sin().sum(), inputs[number])
    torch.testing.assert_close(alone, of_all[number])


@pytest.mark.usefixtures("_edges_per_run")
def test_first_and_second_derivatives() -> None:
    graph = graph_of([4, 1, 2], cutoff=3.0)
    assert graph.n_edges

    def density(h: Tensor, filters: Tensor, y: Tensor) -> Tensor:
        return NeighbourDensity(y, graph)(h, filters)

    assert torch.autograd.gradcheck(density, arguments(graph))
    assert torch.autograd.gradgradcheck(density, arguments(graph))


@pytest.mark.usefixtures("_edges_per_run")
@pytest.mark.parametrize("operation", [gathered, spread, projected])
def test_each_derivative_of_the_form_is_closed(operation) -> None:
    graph = graph_of([4, 1, 2], cutoff=3.0)
    y, m = random(graph.n_edges, COMPONENTS), random(graph.n_edges, CHANNELS)
    g = random(graph.n_atoms, COMPONENTS, CHANNELS)
    inputs = {gathered: (y, m), spread: (y, g), projected: (m, g)}[operation]

    def function(a: Tensor, b: Tensor) -> Tensor:
        return operation(a, b, graph)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_the_three_are_derivatives_of_one_form() -> None:
    graph = graph_of([5, 3])
    y, m = random(graph.n_edges, COMPONENTS), random(graph.n_edges, CHANNELS)
    g = random(graph.n_atoms, COMPONENTS, CHANNELS)
    form = torch.einsum("es,esc,ec->", y, g[graph.source], m)
    wanted = torch.autograd.grad(form, (y, m, g))
    found = projected(m, g, graph), spread(y, g, graph), gathered(y, m, graph)
    torch.testing.assert_close(found, wanted)


def test_the_widest_type_wins() -> None:
    graph = graph_of([5])
    h, filters, y = arguments(graph, torch.float32)
    assert NeighbourDensity(y.double(), graph)(h, filters).dtype == torch.float64
