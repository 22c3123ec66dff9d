"""SchNet's filtered sum: values against a loop, derivatives against finite differences."""

import pytest
import torch
from devices import gradcheck, gradgradcheck
from torch import Tensor

from molgeo.graph import Graph, radius_graph
from molgeo.ops import filter as filter_module
from molgeo.ops.filter import continuous_filter

pytestmark = pytest.mark.usefixtures("on_device")

WIDTH = 3


@pytest.fixture(params=[2048, 5, 1], ids=["one run", "several runs", "a run an atom"])
def edges_per_run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(filter_module, "EDGES_PER_RUN", request.param)
    return request.param


def graph_of(sizes: list[int], cutoff: float = 1.5) -> Graph:
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(sum(sizes), 3, generator=generator, dtype=torch.float64)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return radius_graph(2.0 * pos, cutoff, batch)


def arguments(graph: Graph, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    h = torch.randn(graph.n_atoms, WIDTH, generator=generator, dtype=dtype, requires_grad=True)
    n_pairs = graph.n_edges // 2
    filters = torch.randn(n_pairs, WIDTH, generator=generator, dtype=dtype, requires_grad=True)
    return h, filters


def loop(h: Tensor, filters: Tensor, graph: Graph) -> Tensor:
    """The definition, edge by edge."""
    out = [torch.zeros(h.shape[1], dtype=h.dtype) for _ in range(graph.n_atoms)]
    for source, target, pair in zip(graph.source, graph.target, graph.pair, strict=True):
        out[target] = out[target] + filters[pair] * h[source]
    return torch.stack(out)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [[7, 1, 5], [1], [2]])
def test_values_and_gradients_equal_a_loop(
    edges_per_run: int, sizes: list[int], dtype: torch.dtype
) -> None:
    graph = graph_of(sizes)
    h, filters = arguments(graph, dtype)
    out, expected = continuous_filter(h, filters, graph), loop(h, filters, graph)
    torch.testing.assert_close(out, expected)

    weight = torch.linspace(-1.0, 1.0, out.numel(), dtype=dtype).view_as(out)
    inputs = (h, filters)
    options = {"allow_unused": True, "materialize_grads": True}
    gradients = torch.autograd.grad((out * weight).sum(), inputs, **options)
    if graph.n_edges:
        expected_gradients = torch.autograd.grad((expected * weight).sum(), inputs)
        torch.testing.assert_close(gradients, expected_gradients)
    else:
        assert all(not gradient.any() for gradient in gradients)


def test_the_graph_has_runs_to_test() -> None:
    assert graph_of([7, 1, 5]).n_edges > 10


def test_first_and_second_derivatives(edges_per_run: int) -> None:
    graph = graph_of([4, 1, 2], cutoff=3.0)
    assert graph.n_edges

    def function(h: Tensor, filters: Tensor) -> Tensor:
        return continuous_filter(h, filters, graph)

    inputs = arguments(graph)
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def test_third_derivative() -> None:
    graph = graph_of([3], cutoff=4.0)
    h, filters = arguments(graph)

    def second(h: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
        # Cubed, so that derivatives of every order depend on both arguments.
        energy = continuous_filter(h, filters, graph).pow(3).sum()
        grad_h, grad_filters = torch.autograd.grad(energy, (h, filters), create_graph=True)
        return torch.autograd.grad(
            grad_h.square().sum() + grad_filters.square().sum(), (h, filters), create_graph=True
        )

    assert gradcheck(second, (h, filters))


def test_mixed_types_take_the_wider_one() -> None:
    graph = graph_of([4, 3])
    h, filters = arguments(graph, torch.float32)
    out = continuous_filter(h.bfloat16(), filters, graph)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, continuous_filter(h.bfloat16().float(), filters, graph))
    out.sum().backward()
    assert h.grad is not None
    assert h.grad.dtype == torch.float32


def test_periodic_images_of_one_atom() -> None:
    # One atom in a chain: a single pair, whose two edges both lead from the atom to itself.
    zero = torch.tensor([0, 0])
    graph = Graph(
        source=zero,
        target=zero,
        reverse=torch.tensor([1, 0]),
        pair=zero,
        forward=torch.tensor([0]),
        ptr=torch.tensor([0, 2]),
        batch=torch.tensor([0]),
        n_molecules=1,
        offset=torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]),
    )
    h, filters = arguments(graph)
    torch.testing.assert_close(continuous_filter(h, filters, graph), 2.0 * filters * h)
    assert gradcheck(lambda *x: continuous_filter(*x, graph), (h, filters))
