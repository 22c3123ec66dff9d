"""Every sum over neighbours on a padded graph: as without padding, to second derivatives.

That of the kernels is in `test_padded_kernels.py`.
"""

import pytest
import torch
from neighbourhoods import clusters, crystal, roomier

from molgeo.graph.padding import Capacity, padded_atoms
from molgeo.ops.basis.harmonics import racah_harmonics
from molgeo.ops.bilinear import bilinear_sum
from molgeo.ops.density import NeighbourDensity
from molgeo.ops.directional import directional_sum
from molgeo.ops.filter import continuous_filter
from molgeo.ops.segment import expand_pairs

pytestmark = pytest.mark.usefixtures("on_device")

ORDERS = 3


def unit_of(delta):
    return delta / torch.linalg.vector_norm(delta, dim=-1, keepdim=True)


def directional(form):
    def function(pos, graph, of_edges, of_pairs, of_atoms, weight):
        radial = of_pairs[:, : 2 * ORDERS].view(-1, ORDERS, 2)
        total = directional_sum(unit_of(graph.displacements(pos)), graph, ORDERS, form)
        return total(of_edges, radial, weight[:, :2])

    return function


def bilinear(angle, form):
    def function(pos, graph, of_edges, of_pairs, of_atoms, weight):
        radial = of_pairs[:, : 2 * ORDERS].view(-1, ORDERS, 2)
        matrix = torch.stack([weight, weight.T], dim=1)  # (c_out, n_bilinear, c_in)
        return bilinear_sum(graph.displacements(pos), graph, ORDERS, angle, form)(
            of_edges, radial, matrix
        )

    return function


def density(pos, graph, of_edges, of_pairs, of_atoms, weight):
    unit = expand_pairs(unit_of(graph.displacements(pos)), graph, sign=-1.0)
    return NeighbourDensity(racah_harmonics(unit, ORDERS), graph)(of_atoms, of_pairs)


def convolution(pos, graph, of_edges, of_pairs, of_atoms, weight):
    distances = graph.distances(pos).unsqueeze(-1)
    return continuous_filter(of_atoms, of_pairs * (-distances).exp(), graph)


SUMS = {f"directional {form}": directional(form) for form in ("reference", "gram", "harmonic")}
SUMS |= {
    f"bilinear {angle} {form}": bilinear(angle, form)
    for angle in ("paper", "reference")
    for form in ("gram", "reference")
}
SUMS |= {"density": density, "convolution": convolution}
CHANNELS = 6


def results(function, pos, graph, operands):
    """Value, gradients, and gradients of a function of the gradients."""
    n_atoms, n_edges = graph.n_atoms, graph.n_edges
    sizes = n_edges, n_edges // 2, n_atoms, CHANNELS
    given = [x[:n].clone() for x, n in zip(operands, sizes, strict=True)]
    inputs = [x.requires_grad_() for x in (pos.clone(), *given)]
    options = {"allow_unused": True, "materialize_grads": True}
    out = function(inputs[0], graph, *inputs[1:])
    first = torch.autograd.grad(out.sin().sum(), inputs, create_graph=True, **options)
    second = torch.autograd.grad(sum(x.sin().sum() for x in first), inputs, **options)
    return [out, *first, *second]


@pytest.mark.parametrize("system", [clusters, crystal])
@pytest.mark.parametrize("name", SUMS)
def test_padding_counts_nowhere(name, system):
    pos, graph = system()
    more = roomier(graph)
    capacity = Capacity((more.n_atoms, more.n_edges))
    _, more_pos = padded_atoms(torch.ones(len(pos), dtype=torch.long), pos, capacity)
    torch.manual_seed(2)
    sizes = more.n_edges, more.n_edges // 2, more.n_atoms, CHANNELS
    operands = [torch.randn(n, CHANNELS, dtype=pos.dtype) for n in sizes]
    # As in models, which are smooth at the cutoff: nothing is beyond it.
    operands[1][graph.n_edges // 2 :] = 0
    few = results(SUMS[name], pos, graph, operands)
    many = results(SUMS[name], more_pos, more, operands)
    for a, b in zip(many, few, strict=True):
        torch.testing.assert_close(a[: len(b)], b, rtol=1e-9, atol=1e-9)
