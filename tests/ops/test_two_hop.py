"""The sum over quadruplets as two sums over pairs: a naive loop, and derivatives."""

import math

import pytest
import torch
from compounds import compound
from devices import gradcheck, gradgradcheck
from gemnet_oracle import angle, dihedral, harmonic
from neighbourhoods import clusters, roomier

from molgeo.graph import radius_graph
from molgeo.ops import recompute, two_hop
from molgeo.ops.two_hop import TwoHopSum, orders_of

pytestmark = pytest.mark.usefixtures("on_device")

N = 4


def units(pos, graph):
    delta = graph.displacements(pos)
    return delta / torch.linalg.vector_norm(delta, dim=-1, keepdim=True)


def operands(graph, channels=2):
    torch.manual_seed(2)
    x = torch.randn(graph.n_edges, channels, dtype=torch.float64)
    return x, torch.randn(graph.forward.numel(), N, channels, dtype=torch.float64)


def naive(pos, graph, x, radial, power):
    """Quadruplet by quadruplet; ``power`` is that of sin φ_abd for each m."""
    columns = [(l, m) for m in range(N) for l in range(m, N)]
    assert [l for l, _ in columns] == orders_of(N)
    expected = torch.zeros(graph.n_edges, len(columns), x.shape[1]).double()
    vectors, pos = graph.vectors(pos).cpu().numpy(), pos.cpu().numpy()
    source, target, reverse = (t.tolist() for t in (graph.source, graph.target, graph.reverse))
    out = [[e for e in range(graph.n_edges) if source[e] == j] for j in range(graph.n_atoms)]
    for ca in range(graph.n_edges):
        a, ac = target[ca], reverse[ca]
        c = vectors[ac]
        for ab in out[a]:
            if ab == ac:
                continue
            b = vectors[ab]
            for bd in out[target[ab]]:
                d = b + vectors[bd]
                if bd == reverse[ab] or (target[bd] == source[ca] and abs(d - c).max() < 1e-6):
                    continue
                phi_cab, phi_abd = angle(c, b), angle(-b, d - b)
                theta = dihedral(c, 0 * c, b, d)
                y = torch.tensor([harmonic(k, 0, phi_abd, 0.0) for k in range(N)])
                message = x[reverse[bd]] * (y.double() @ radial[graph.pair[ab]])
                for n, (l, m) in enumerate(columns):
                    sine = math.sin(phi_abd)
                    sine = 0.0 if sine < 1e-4 else sine ** power(m)  # no dihedral on a line
                    factor = harmonic(l, m, phi_cab, theta) * (sine if m else 1.0)
                    expected[ca, n] += factor * message
    return expected


def ends(n):
    """A crowded molecule without lines, of which all pairs are edges."""
    torch.manual_seed(n)
    pos = 2 * torch.rand(n, 3, dtype=torch.float64)
    return pos, radius_graph(pos, 1.8)


def small_crystal():
    """Few enough neighbours for a loop over quadruplets, which close through images."""
    torch.manual_seed(1)
    pos = 2.2 * torch.rand(2, 3, dtype=torch.float64)
    cell = 2.4 * torch.eye(3, dtype=torch.float64) + 0.2 * torch.rand(3, 3, dtype=torch.float64)
    return pos, radius_graph(pos, 2.55, None, cell[None], torch.ones(1, 3, dtype=torch.bool))


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("system", [lambda: ends(6), small_crystal], ids=["molecule", "crystal"])
def test_agrees_with_a_naive_loop(system, smooth):
    pos, graph = system()
    x, radial = operands(graph)
    found = TwoHopSum(units(pos, graph), graph, N, smooth)(x, radial)
    expected = naive(pos, graph, x, radial, lambda m: m if smooth else 0)
    assert expected.abs().max() > 1
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def derivatives(total, pos, x, radial):
    loss = total(pos, x, radial).tanh().square().sum()
    first = torch.autograd.grad(loss, (pos, x, radial), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (pos, x, radial))
    return loss, *first, *second


@pytest.mark.parametrize("rows", [512, 16])
def test_blocks_that_are_kept_or_made_again_give_the_same(rows, monkeypatch):
    pos, graph = clusters()
    given = [t.requires_grad_() for t in (pos, *operands(graph))]

    def total(pos, x, radial):
        return TwoHopSum(units(pos, graph), graph, N)(x, radial)

    expected = derivatives(total, *given)
    monkeypatch.setattr(two_hop, "ROWS_AT_A_TIME", rows)
    for module in (two_hop, recompute):
        monkeypatch.setattr(module, "most_edges", lambda device: 0)
    assert TwoHopSum(units(pos, graph), graph, N).kept is None
    for found, wanted in zip(derivatives(total, *given), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_gradcheck():
    pos, graph = ends(4)
    assert graph.degree.unique().numel() > 1  # there is padding
    given = [t.requires_grad_() for t in (pos, *operands(graph, 1))]

    def total(pos, x, radial):
        return TwoHopSum(units(pos, graph), graph, 3)(x, radial[:, :3])

    assert gradcheck(total, given)
    assert gradgradcheck(total, given, atol=1e-4)


@pytest.mark.parametrize("name", ["C2H2", "C2H4", "C6H6"])
def test_derivatives_of_linear_and_planar_molecules(name):
    _, pos = compound(name)
    graph = radius_graph(pos, 4.0)
    x, radial = operands(graph)
    direction = torch.randn_like(pos)

    def slope(pos):
        out = TwoHopSum(units(pos, graph), graph, N)(x, radial)
        return torch.autograd.grad(out.tanh().sum(), pos, create_graph=True)[0]

    pos.requires_grad_()
    (curvature,) = torch.autograd.grad((slope(pos) * direction).sum(), pos)
    ahead, behind = (slope((pos + h * direction).detach().requires_grad_()) for h in (1e-5, -1e-5))
    assert curvature.abs().max() > 0.1
    torch.testing.assert_close(curvature, (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-5)


def test_the_papers_dihedral_jumps_at_a_line_and_the_smooth_one_does_not():
    """d passes from one side of the line a, b to the other."""
    jumps = {}
    for kind in ("smooth", "paper"):
        for offset in (0.02, 0.01):
            sides = []
            for side in (offset, -offset):
                places = [[0.0, 0, 0], [1.4, 0, 0], [2.8, side, 0], [-0.5, 1.2, 0.3]]
                pos = torch.tensor(places, dtype=torch.float64)  # a, b, d, c
                graph = radius_graph(pos, 1.6)
                x, radial = operands(graph)
                sides.append(TwoHopSum(units(pos, graph), graph, N, kind == "smooth")(x, radial))
            jumps[kind, offset] = float((sides[0] - sides[1]).abs().max())
    assert jumps["smooth", 0.01] == pytest.approx(jumps["smooth", 0.02] / 2, rel=0.01)
    assert jumps["paper", 0.01] == pytest.approx(jumps["paper", 0.02], rel=0.05)
    assert jumps["paper", 0.01] > 10 * jumps["smooth", 0.01]


def test_padding_counts_nowhere():
    pos, graph = clusters()
    more, (x, radial) = roomier(graph), operands(roomier(graph))
    unit = torch.nn.functional.normalize(torch.randn(more.forward.numel(), 3).double())
    n_pairs = graph.forward.numel()
    unit[:n_pairs] = units(pos, graph)
    found = TwoHopSum(unit, more, N)(x, radial)
    expected = TwoHopSum(unit[:n_pairs], graph, N)(x[: graph.n_edges], radial[:n_pairs])
    torch.testing.assert_close(found[: graph.n_edges], expected)
    assert not found[graph.n_edges :].any()
