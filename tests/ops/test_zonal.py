"""The sum over angles for each neighbour: its forms, a naive loop, and derivatives."""

import math

import pytest
import torch
from devices import gradcheck, gradgradcheck
from neighbourhoods import clusters, crystal, roomier
from scipy.special import eval_legendre

from molgeo.graph import radius_graph
from molgeo.ops.directional import mapped
from molgeo.ops.directional.zonal import zonal_sum

pytestmark = pytest.mark.usefixtures("on_device")

N_SPHERICAL = 4
FORMS = ("reference", "gram", "harmonic")


def units(pos, graph):
    delta = graph.displacements(pos)
    return delta / torch.linalg.vector_norm(delta, dim=-1, keepdim=True)


def test_agrees_with_a_naive_loop():
    pos, graph = clusters()
    x = torch.randn(graph.n_edges, 3, dtype=torch.float64)
    expected = torch.zeros(graph.n_edges, N_SPHERICAL, 3, dtype=torch.float64)
    source, target = graph.source.tolist(), graph.target.tolist()
    for ca, a in enumerate(target):
        for ba in range(graph.n_edges):
            if target[ba] != a or source[ba] == source[ca]:
                continue
            u, v = pos[source[ca]] - pos[a], pos[source[ba]] - pos[a]
            cosine = float(u @ v / (u.norm() * v.norm()))
            for l in range(N_SPHERICAL):
                y = math.sqrt((2 * l + 1) / (4 * math.pi)) * eval_legendre(l, cosine)
                expected[ca, l] += y * x[ba]
    for form in (*FORMS, "auto"):
        found = zonal_sum(units(pos, graph), graph, N_SPHERICAL, form)(x)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rows", [512, 16])
@pytest.mark.parametrize("system", [clusters, crystal])
def test_forms_agree_with_both_derivatives(system, rows, monkeypatch):
    monkeypatch.setattr(mapped, "ROWS_PER_BLOCK", rows)
    pos, graph = system()
    given = pos.requires_grad_(), torch.randn(graph.n_edges, 3).double().requires_grad_()
    found = []
    for form in FORMS:
        out = zonal_sum(units(given[0], graph), graph, N_SPHERICAL, form)(given[1])
        loss = out.tanh().square().sum()
        first = torch.autograd.grad(loss, given, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), given)
        found.append([out, *first, *second])
    for expected, *others in zip(*found, strict=True):
        for other in others:
            torch.testing.assert_close(other, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("form", FORMS[1:])
def test_gradcheck(form):
    torch.manual_seed(0)
    pos = 1.5 * torch.rand(5, 3, dtype=torch.float64)
    graph = radius_graph(pos, 1.2)
    assert graph.degree.unique().numel() > 1  # there is padding
    x = torch.randn(graph.n_edges, 2, dtype=torch.float64, requires_grad=True)

    def run(pos, x):
        return zonal_sum(units(pos, graph), graph, N_SPHERICAL, form)(x)

    assert gradcheck(run, (pos.requires_grad_(), x))
    assert gradgradcheck(run, (pos, x))


@pytest.mark.parametrize("form", FORMS[1:])
def test_padding_counts_nowhere(form):
    pos, graph = clusters()
    more = roomier(graph)
    x = torch.randn(more.n_edges, 3, dtype=torch.float64)
    unit = torch.nn.functional.normalize(torch.randn(more.forward.numel(), 3).double())
    n_pairs = graph.forward.numel()
    unit[:n_pairs] = units(pos, graph)
    found = zonal_sum(unit, more, N_SPHERICAL, form)(x)
    expected = zonal_sum(unit[:n_pairs], graph, N_SPHERICAL, form)(x[: graph.n_edges])
    torch.testing.assert_close(found[: graph.n_edges], expected)
    assert not found[graph.n_edges :].any()


def test_features_of_another_precision():
    pos, graph = clusters()
    x = torch.randn(graph.n_edges, 3, dtype=torch.float64)
    total = zonal_sum(units(pos, graph).float(), graph, N_SPHERICAL)
    assert total(x).dtype == torch.float64
    torch.testing.assert_close(total(x).float(), total(x.float()))
