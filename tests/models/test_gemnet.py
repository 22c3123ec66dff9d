"""GemNet against a slow oracle of the paper's equations, its factors, and what it learns."""

import pytest
import torch
from compounds import compound
from devices import placed
from gemnet_oracle import Oracle
from learning import losses_of
from pairs import BONDS, difference, hydrogen_peroxides
from pyg_agreement import batch_of
from unruly import assert_finite

from molgeo.elements import SYMBOLS
from molgeo.graph import radius_graph
from molgeo.graph.quadruplets import count_quadruplets
from molgeo.models import GemNet, GemNetQ, gemnet_q
from molgeo.ops import room
from molgeo.ops.keeping_variance import Scaling
from molgeo.ops.two_hop import bytes_needed
from molgeo.runtime.errors import InputError

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {
    "atom_emb": 8, "edge_emb": 12, "triplet_emb": 6, "triplet_out": 5, "rbf_emb": 4, "cbf_emb": 3,
    "n_blocks": 2, "n_spherical": 4, "n_radial": 3, "n_concat": 2, "cutoff": 3.0,
}  # fmt: skip
MODELS = {
    "T": (GemNet, SMALL),
    "Q": (GemNetQ, SMALL | {"quad_emb": 4, "quad_out": 5, "sbf_emb": 3, "int_cutoff": 3.5}),
}
SHAPES = {
    "H2O2": "O 0 .73 -.05 O 0 -.73 -.05 H .83 .91 .42 H -.83 -.91 .42",
    "CH3CHO": "C 0 .46 0 O 1.2 .4 .1 C -.95 -.7 0 H -.5 1.4 .1 H -.4 -1.7 .2 H -1.5 -.6 .9 "
    "H -1.6 -.6 -.9",
}
every_kind = pytest.mark.parametrize("kind", MODELS)


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


def shape(name):
    words = SHAPES[name].split()
    z = torch.tensor([SYMBOLS.index(symbol) for symbol in words[::4]])
    return z, torch.tensor([[float(x) for x in words[k::4]] for k in (1, 2, 3)]).T.contiguous()


def small(kind, **fields):
    cls, own = MODELS[kind]
    return placed(cls(**own | fields))


def fitted(kind, molecules, **fields):
    """A model with factors of some molecules."""
    model = small(kind, **fields)
    z, pos, batch = molecules
    model.fit_factors(z, pos, radius_graph(pos, model.cutoff, batch))
    return model


@every_kind
@pytest.mark.parametrize("name", ["CH3CHO", "CO2", "C2H2", "H2O2"])
def test_agrees_with_the_papers_equations(kind, name):
    model = fitted(kind, batch_of(["CH3CH2OH", "CO2", "H2O"]))
    z, pos = shape(name) if name in SHAPES else compound(name)
    expected = Oracle(model.cpu(), z.cpu(), pos.cpu()).energy()
    found = placed(model)(z, pos)
    torch.testing.assert_close(found[0].cpu(), torch.as_tensor(expected), rtol=1e-8, atol=1e-8)


@every_kind
@pytest.mark.parametrize("name", ["CH3CHO", "CO2"])
def test_direct_forces_agree_with_the_papers_equations(kind, name):
    model = small(kind, direct_forces=True)
    with torch.no_grad():
        for block in model.forces:
            block.last.weight.normal_()
    z, pos, batch = batch_of(["CH3CH2OH", "CO2", "H2O"])
    model.fit_factors(z, pos, radius_graph(pos, model.cutoff, batch))
    assert all(block.scaling.factor != 1 for block in model.forces)
    z, pos = shape(name) if name in SHAPES else compound(name)
    features, found = model.features_and_forces(z, pos, radius_graph(pos, model.cutoff))
    torch.testing.assert_close(features.sum(0, keepdim=True), model(z, pos))
    expected = torch.as_tensor(Oracle(model.cpu(), z.cpu(), pos.cpu()).forces())
    assert expected.abs().max() > 1e-2
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("smooth", [True, False])
def test_both_forms_agree_with_the_papers_equations(smooth):
    z, pos, _ = batch_of(["C2H4"])
    model = small("Q", smooth=smooth, n_blocks=1)
    assert model.is_smooth is smooth
    expected = Oracle(model.cpu(), z.cpu(), pos.cpu()).energy()
    torch.testing.assert_close(placed(model)(z, pos)[0].cpu(), torch.as_tensor(expected))


def test_published_sizes():
    """1.9 M and 2.2 M in the paper."""
    sizes = [sum(p.numel() for p in model.parameters()) for model in (GemNet(), GemNetQ())]
    assert sizes == [1_893_318, 2_155_462]


def variances(model, molecules):
    """Of what each factor gives, in the order of the model."""
    found = []

    def look(module, inputs, output):
        counted = output[(output != 0).any(-1)]
        found.append(counted.var().item())

    hooks = [m.register_forward_hook(look) for m in model.modules() if isinstance(m, Scaling)]
    model(*molecules)
    for hook in hooks:
        hook.remove()
    return torch.tensor(found)


@every_kind
def test_factors_make_variances_one(kind):
    molecules = batch_of(["CH3CH2OH", "C6H6", "CO2", "C5H5N", "H2O"])
    model = placed(MODELS[kind][0](n_blocks=2))
    before = variances(model, molecules)
    assert ((before < 0.1) | (before > 10)).any()
    model.fit_factors(molecules[0], molecules[1], radius_graph(molecules[1], 5.0, molecules[2]))
    after = variances(model, molecules)
    torch.testing.assert_close(after, torch.ones_like(after))
    others = variances(model, batch_of(["C2H6", "CH3CH2OH", "NH3", "C2H4", "C6H6"]))
    assert ((others > 0.4) & (others < 2.5)).all(), others
    factors = [v for name, v in model.state_dict().items() if name.endswith("scaling.factor")]
    assert len(factors) == len(after)


def test_factors_of_what_does_not_vary_stay():
    model = small("T")
    pos = 100.0 * torch.eye(3)
    model.fit_factors(torch.tensor([6, 1, 8]), pos, radius_graph(pos, model.cutoff))
    assert all(m.factor == 1 for m in model.modules() if isinstance(m, Scaling))


@every_kind
def test_it_learns_energies_and_forces(kind):
    z, pos, batch = batch_of(["CH3CH2OH", "H2O", "CH4", "CO2"])
    model = fitted(kind, (z, pos, batch), n_blocks=1)
    wanted, slope = torch.tensor([[1.0], [-1.0], [0.5], [0.0]]), 0.5 * torch.randn(pos.shape)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        energy = model(z, pos, batch)
        (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
        loss = (energy - wanted).square().mean() + (gradient - slope).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@every_kind
def test_learns(kind):
    losses = losses_of(fitted(kind, batch_of(["CH3CH2OH", "H2O", "CH4", "CO2"])))
    assert losses[-1] < 0.02 * losses[0]


@every_kind
def test_nothing_is_infinite(kind):
    """A thousand crowded, linear, planar and periodic structures, to the second derivatives."""
    fields = {"n_blocks": 1, "n_spherical": 3, "cutoff": 2.4}
    fields |= {"int_cutoff": 2.6} if kind == "Q" else {}
    assert_finite(fitted(kind, batch_of(["CH3CH2OH", "CO2"]), **fields))


def test_a_dihedral_angle_is_seen_through_the_middle_bond():
    fields = {"cutoff": BONDS, "n_blocks": 3}
    assert difference(small("Q", int_cutoff=BONDS, **fields), hydrogen_peroxides()) > 1e-9
    assert difference(small("Q", int_cutoff=1.4, **fields), hydrogen_peroxides()) < 1e-12


def test_energies_and_forces_are_smooth_at_both_cutoffs():
    model = fitted("Q", batch_of(["CH3CH2OH", "C2H4"]), cutoff=2.5, int_cutoff=4.0)
    z, pos = compound("C2H4")
    for cutoff in (2.5, 4.0):
        found = []
        for distance in (cutoff - 1e-6, cutoff + 1e-6, cutoff - 0.3):
            # An HO group, of which both atoms pass the cutoff at about the same time.
            way = distance * torch.tensor([0.36, 0.48, 0.8])
            oxygen = pos[:1] + way
            x = torch.cat([pos, oxygen, oxygen + 0.96 * torch.eye(3)[:1]]).requires_grad_()
            energy = model(torch.cat([z, torch.tensor([8, 1])]), x)
            found.append((energy.item(), *torch.autograd.grad(energy.sum(), x)))
        inner, outer, near = found
        assert abs(near[0] - outer[0]) > 1e-5
        assert abs(inner[0] - outer[0]) < 1e-4 * abs(near[0] - outer[0])
        assert (inner[1] - outer[1]).abs().max() < 1e-4 * outer[1].abs().max()


def test_what_does_not_fit_is_refused_with_its_number(monkeypatch):
    z, pos = compound("CH3CH2OH")
    model = small("Q")
    expected = model(z, pos)
    graph = radius_graph(pos, model.cutoff)
    n = count_quadruplets(graph, graph.vectors(pos).norm(dim=-1) < model.config.cutoff)
    short = bytes_needed(graph) - 1
    for module in (gemnet_q, room):
        monkeypatch.setattr(module, "memory_of", lambda device: short)
    with pytest.raises(
        InputError, match=rf"^{n:,} quadruplets of 9 atoms need .*without quadruplets"
    ):
        model(z, pos)
    monkeypatch.setattr(gemnet_q, "memory_of", lambda device: bytes_needed(graph))
    assert torch.equal(model(z, pos), expected)
