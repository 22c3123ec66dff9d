"""The choice of form, at both ends."""

import pytest
import torch
from compounds import compound

from molgeo.graph import radius_graph
from molgeo.ops.directional import directional_sum
from molgeo.ops.directional import total as module
from molgeo.ops.directional.total import cheapest_form


def liquid(n=64):
    """A hundred atoms a nm³, as in water: 52 neighbours within 5 Å."""
    torch.manual_seed(0)
    edge = (10.0 * n) ** (1 / 3)
    cell = edge * torch.eye(3, dtype=torch.float64)[None]
    pos = edge * torch.rand(n, 3, dtype=torch.float64)
    return pos, radius_graph(pos, 5.0, None, cell, torch.ones(1, 3, dtype=torch.bool))


def test_a_card_takes_its_kernels(card):
    _, graph = liquid()
    assert cheapest_form(graph.to(card), 7) == "triton"


def test_small_organic_molecules_take_gram():
    for name in ("CH3CH2OH", "C6H6", "C5H5N"):
        pos = compound(name)[1]
        assert cheapest_form(radius_graph(pos, 5.0), 7) == "gram"


def test_liquid_water_takes_harmonic():
    _, graph = liquid()
    assert graph.degree.double().mean() == pytest.approx(52, abs=4)
    assert cheapest_form(graph, 7) == "harmonic"


def test_more_orders_favour_gram():
    _, graph = liquid()
    assert cheapest_form(graph, 30) == "gram"


def test_no_edges():
    assert cheapest_form(radius_graph(torch.zeros(1, 3), 5.0), 7) == "gram"


@pytest.mark.parametrize("threshold", [0.0, 1e9])
def test_auto_is_the_chosen_form(threshold, monkeypatch):
    monkeypatch.setattr(module, "NEIGHBOURS_PER_ORDER", threshold)
    pos, graph = liquid(8)
    delta = graph.displacements(pos)
    unit = delta / delta.norm(dim=-1, keepdim=True)
    x = torch.randn(graph.n_edges, 3, dtype=torch.float64)
    radial = torch.randn(graph.forward.numel(), 3, 2, dtype=torch.float64)
    weight = torch.randn(3, 2, dtype=torch.float64)
    form = "gram" if threshold else "harmonic"
    total = directional_sum(unit, graph, 3)
    assert total.form == form
    expected = directional_sum(unit, graph, 3, form)(x, radial, weight)
    assert torch.equal(total(x, radial, weight), expected)
