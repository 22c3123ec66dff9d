"""Densities of neighbours: values against a loop, derivatives against finite differences."""

import pytest
import torch
from devices import gradcheck, gradgradcheck
from neighbourhoods import crystal
from torch import Tensor

from molgeo.graph import Graph, radius_graph
from molgeo.ops import density as density_module
from molgeo.ops.density import NeighbourDensity
from molgeo.runtime.precision import matmul_precision

pytestmark = pytest.mark.usefixtures("on_device")

COMPONENTS, CHANNELS = 4, 3


@pytest.fixture(params=[2048, 6, 1], ids=["one block", "several blocks", "a block an atom"])
def _rows_per_block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(density_module, "_ROWS_PER_BLOCK", request.param)


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
    """On a CPU; elsewhere there is one block, or those that a graph knows."""
    graph = graph_of([7, 1, 5]).to("cpu")
    assert graph.n_edges > 10
    n_blocks, harmonics = {}, torch.ones(graph.n_edges, COMPONENTS, device="cpu")
    for rows in (2048, 6, 1):
        monkeypatch.setattr(density_module, "_ROWS_PER_BLOCK", rows)
        n_blocks[rows] = len(NeighbourDensity(harmonics, graph).blocks)
    n_bound = int((graph.degree > 0).sum())
    assert (n_blocks[2048], n_blocks[1]) == (1, n_bound)
    assert 1 < n_blocks[6] <= n_bound


@pytest.mark.usefixtures("_rows_per_block")
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
    for given in (inputs, others):  # of the others none is asked for, or there is none
        for create_graph in (False, True):
            density = NeighbourDensity(given[2], graph)(given[0], given[1])
            (alone,) = torch.autograd.grad(
                density.sin().sum(), inputs[number], create_graph=create_graph
            )
            torch.testing.assert_close(alone, of_all[number])


@pytest.mark.usefixtures("_rows_per_block")
def test_first_and_second_derivatives() -> None:
    graph = graph_of([4, 1, 2], cutoff=3.0)
    assert graph.n_edges

    def density(h: Tensor, filters: Tensor, y: Tensor) -> Tensor:
        return NeighbourDensity(y, graph)(h, filters)

    assert gradcheck(density, arguments(graph))
    assert gradgradcheck(density, arguments(graph))


def test_third_derivatives_equal_a_loop() -> None:
    graph = graph_of([3, 2], cutoff=3.0)
    inputs = arguments(graph)

    def third(density) -> tuple[Tensor, ...]:
        value = density(*inputs).sin().sum()
        for _ in range(2):
            gradients = torch.autograd.grad(value, inputs, create_graph=True)
            value = sum(x.square().sum() for x in gradients)
        return torch.autograd.grad(value, inputs)

    found = third(lambda h, filters, y: NeighbourDensity(y, graph)(h, filters))
    torch.testing.assert_close(found, third(lambda *x: loop(*x, graph)))


def test_periodic_images_are_neighbours() -> None:
    """An atom is its own neighbour through the boundary: the edge's reverse is another image."""
    _, graph = crystal()
    assert (graph.source == graph.target).any()
    inputs = arguments(graph)
    found = torch.autograd.grad(NeighbourDensity(inputs[2], graph)(*inputs[:2]).sin().sum(), inputs)
    wanted = torch.autograd.grad(loop(*inputs, graph).sin().sum(), inputs)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("create_graph", [False, True])
def test_products_are_those_of_full_precision(create_graph: bool) -> None:
    """Whatever precision is asked for dense layers, in the forward and the backward pass."""
    graph = graph_of([7, 1, 5])
    inputs = arguments(graph, torch.float32)

    def run() -> list[Tensor]:
        out = NeighbourDensity(inputs[2], graph)(*inputs[:2])
        return [out, *torch.autograd.grad(out.sin().sum(), inputs, create_graph=create_graph)]

    expected = run()
    with torch.autocast(graph.source.device.type, torch.bfloat16):
        torch.testing.assert_close(run(), expected, rtol=0, atol=0)
    with matmul_precision("medium"):
        torch.testing.assert_close(run(), expected, rtol=0, atol=0)
        assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.parametrize("wide", range(3))
def test_the_widest_type_wins(wide: int) -> None:
    graph = graph_of([5])
    single = arguments(graph, torch.float32)
    inputs = [x.detach().double() if n == wide else x.detach() for n, x in enumerate(single)]
    inputs = [x.requires_grad_() for x in inputs]
    out = NeighbourDensity(inputs[2], graph)(*inputs[:2])
    torch.testing.assert_close(out, loop(*(x.double() for x in inputs), graph))
    gradients = torch.autograd.grad(out.sum(), inputs)
    assert [x.dtype for x in gradients] == [x.dtype for x in inputs]
