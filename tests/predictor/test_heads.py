import pytest
import torch
from compounds import compound
from devices import placed

from molgeo.data.qm9.properties import PROPERTIES, named
from molgeo.graph import radius_graph
from molgeo.predictor import Predictor
from molgeo.predictor.heads import SQUARED_DISTANCE_UNIT, Heads, centred, pool
from molgeo.predictor.merging import merged
from molgeo.properties import Property

pytestmark = pytest.mark.usefixtures("on_device")

ALL = list(PROPERTIES.values())


def g2(formula):
    return compound(formula)


def join(molecules):
    sizes = torch.tensor([len(z) for z, _ in molecules])
    batch = torch.repeat_interleave(torch.arange(len(molecules)), sizes)
    z, pos = (torch.cat(part) for part in zip(*molecules, strict=True))
    return z, pos, radius_graph(pos, 3.0, batch)


def test_centre_of_mass_is_that_of_ase():
    from ase.build import molecule

    names = ["CH3CH2OH", "HCN", "SiH4", "CH3Cl", "C6H6"]
    z, pos, graph = join([g2(name) for name in names])
    shift = pos - centred(z, pos, graph)
    for number, name in enumerate(names):
        expected = torch.tensor(molecule(name).get_center_of_mass())
        for row in shift[graph.batch == number]:
            torch.testing.assert_close(row, expected, rtol=0, atol=2e-4)


def pooled(kind, atoms, molecules, charges=None):
    z, pos, graph = join(molecules)
    return pool(atoms.unsqueeze(-1), charges, [kind], z, pos, graph)[:, 0]


def test_each_kind_by_hand():
    z = torch.tensor([1, 1])
    pos = torch.tensor([[0.0, 0, 0], [0, 0, 2.0]], dtype=torch.float64)  # centre at z = 1
    s = torch.tensor([3.0, 5.0], dtype=torch.float64)
    q = torch.tensor([[0.5], [2.0]], dtype=torch.float64)
    assert pooled("sum", s, [(z, pos)]).item() == 8.0
    assert pooled("mean", s, [(z, pos)]).item() == 4.0
    # Neutral charges are −1 and 1.
    assert pooled("dipole", s, [(z, pos)]).item() == pytest.approx(2.0)
    expected = 8.0 + (0.5 + 2.0) * 1.0 / SQUARED_DISTANCE_UNIT
    assert pooled("extent", s, [(z, pos)], q).item() == pytest.approx(expected)


def test_columns_keep_their_order():
    z, pos, graph = join([g2("H2O"), g2("CO2")])
    generator = torch.Generator().manual_seed(0)
    atoms = torch.rand(6, 6, generator=generator, dtype=torch.float64)
    charges = torch.rand(6, 2, generator=generator, dtype=torch.float64)
    kinds = ["extent", "mean", "dipole", "sum", "extent", "mean"]
    together = pool(atoms, charges, kinds, z, pos, graph)
    for k, kind in enumerate(kinds):
        own = {0: charges[:, :1], 4: charges[:, 1:]}.get(k)
        alone = pool(atoms[:, k : k + 1], own, [kind], z, pos, graph)
        torch.testing.assert_close(together[:, k], alone[:, 0])


@pytest.mark.parametrize("formula", ["CO2", "C6H6", "C2H4", "CH4", "N2"])
def test_dipole_of_a_symmetric_molecule_is_zero(formula):
    """Equivalent atoms have equal features, hence equal charges."""
    z, pos = g2(formula)
    charges = torch.linspace(-1, 1, 10, dtype=torch.float64)[z]
    assert pooled("dipole", charges, [(z, pos)]).abs() < 1e-10
    bent = pos.clone()
    bent[0, 0] += 0.2
    assert pooled("dipole", charges + 0.1 * torch.arange(len(z)), [(z, bent)]).abs() > 1e-3


def test_dipole_is_that_of_neutral_charges_wherever_the_molecule_is():
    z, pos = g2("H2O")
    q = torch.tensor([0.3, 1.0, -0.4], dtype=torch.float64)
    neutral = q - q.mean()
    expected = torch.linalg.vector_norm(neutral @ pos)
    turn, _ = torch.linalg.qr(
        torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()
    )
    for moved in (pos, pos + 1000.0, pos @ turn, -pos):
        torch.testing.assert_close(pooled("dipole", q, [(z, moved)])[0], expected)
        torch.testing.assert_close(pooled("dipole", q + 5.0, [(z, moved)])[0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dipole_has_finite_derivatives_at_zero(dtype):
    """Exactly zero (one atom), zero but for rounding (CO2), and not zero (water), in one batch."""
    molecules = [(torch.tensor([8]), torch.zeros(1, 3)), g2("CO2"), g2("H2O")]
    z, pos, graph = join([(z, pos.to(dtype)) for z, pos in molecules])
    pos.requires_grad_()
    q = torch.linspace(-1, 1, 10, dtype=dtype)[z].unsqueeze(-1).requires_grad_()
    out = pool(q, None, ["dipole"], z, pos, graph)[:, 0]
    assert out[0] == 0
    assert out[2] > 0.1
    gradients = torch.autograd.grad(out.sum(), (pos, q), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in gradients), (pos, q))
    assert all(g.isfinite().all() for g in (*gradients, *second))
    assert gradients[0][-3:].abs().max() > 0.1


def test_extent_grows_with_the_square_of_the_size():
    z, pos = g2("C6H6")
    s, q = torch.zeros(12, dtype=torch.float64), torch.ones(12, 1, dtype=torch.float64)
    small = pooled("extent", s, [(z, pos)], q)
    torch.testing.assert_close(pooled("extent", s, [(z, 2 * pos)], q), 4 * small)
    r2 = (pos - pos.mean(0)).square().sum() / SQUARED_DISTANCE_UNIT  # its centre of mass
    torch.testing.assert_close(small[0], r2)


@pytest.mark.parametrize(("kind", "factor"), [("sum", 2.0), ("mean", 1.0), ("orbital", 1.0)])
def test_two_copies(kind, factor):
    z, pos = g2("CH3CH2OH")
    generator = torch.Generator().manual_seed(2)
    s = torch.rand(len(z), generator=generator, dtype=torch.float64)
    q = torch.randn(len(z), 1, generator=generator, dtype=torch.float64)
    pair = (torch.cat([z, z]), torch.cat([pos, pos + 30.0]))
    once = pooled(kind, s, [(z, pos)], q)
    twice = pooled(kind, s.repeat(2), [pair], q.repeat(2, 1))
    torch.testing.assert_close(twice, factor * once)


def test_an_orbital_lies_where_its_shares_are():
    from scipy.special import softmax

    z, pos = g2("CH3CH2OH")
    generator = torch.Generator().manual_seed(3)
    s = torch.rand(len(z), generator=generator, dtype=torch.float64)
    q = torch.randn(len(z), 1, generator=generator, dtype=torch.float64)
    expected = float(softmax(q[:, 0].numpy()) @ s.numpy())
    assert pooled("orbital", s, [(z, pos)], q).item() == pytest.approx(expected)
    for shift in (-1e5, 1e5):  # no exponential is infinite, none of all is zero
        moved = pooled("orbital", s, [(z, pos)], q + shift)
        assert moved.item() == pytest.approx(expected)
    equal = pooled("orbital", s, [(z, pos)], torch.zeros_like(q))
    assert equal.item() == pytest.approx(s.mean().item())


def test_an_orbital_does_not_feel_a_chain_on_which_it_does_not_lie():
    z, pos = g2("CH3CH2OH")
    chain, far = torch.full((40,), 6), 30.0 + torch.arange(120.0).view(40, 3).double()
    s = torch.linspace(-8.0, -6.0, len(z), dtype=torch.float64)
    q = torch.linspace(0.0, 3.0, len(z), dtype=torch.float64).unsqueeze(1)
    whole = (torch.cat([z, chain]), torch.cat([pos, far]))
    more = torch.cat([s, torch.full((40,), -9.0).double()])
    none = torch.cat([q, torch.full((40, 1), -30.0).double()])
    alone = pooled("orbital", s, [(z, pos)], q)
    torch.testing.assert_close(pooled("orbital", more, [whole], none), alone)
    assert (pooled("mean", more, [whole]) - pooled("mean", s, [(z, pos)])).abs() > 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivatives_of_an_orbital(dtype):
    z, pos, graph = join([g2("H2O"), g2("CO2")])
    generator = torch.Generator().manual_seed(4)
    s, q = (torch.randn(len(z), generator=generator, dtype=dtype) for _ in range(2))
    q.requires_grad_()
    out = pool(s.unsqueeze(-1), q.unsqueeze(-1), ["orbital"], z, pos, graph).sum()
    (found,) = torch.autograd.grad(out, q, create_graph=True)
    p = torch.cat([q[:3].softmax(0), q[3:].softmax(0)])
    mean = torch.cat([(p * s)[:3].sum().expand(3), (p * s)[3:].sum().expand(3)])
    expected = p * (s - mean)
    torch.testing.assert_close(found, expected)
    second, wanted = (torch.autograd.grad(x.square().sum(), q)[0] for x in (found, expected))
    torch.testing.assert_close(second, wanted)


def test_pooling_a_batch_is_pooling_each():
    molecules = [g2("H2O"), g2("C6H6"), (torch.tensor([6]), torch.ones(1, 3).double())]
    heads = placed(Heads(5, ALL, hidden=3)).double()
    torch.nn.init.normal_(heads.out_bias)
    z, pos, graph = join(molecules)
    features = torch.rand(len(z), 5, generator=torch.Generator().manual_seed(3)).double()
    together = heads(features, z, pos, graph)
    for number, one in enumerate(molecules):
        rows = graph.batch == number
        alone = heads(features[rows], *join([one]))
        torch.testing.assert_close(alone[0], together[number])


def test_each_property_has_its_own_network():
    heads = placed(Heads(5, ALL, hidden=3)).double()
    z, pos, graph = join([g2("CH3CH2OH")])
    features = torch.rand(len(z), 5, generator=torch.Generator().manual_seed(3)).double()
    before = heads(features, z, pos, graph)[0]
    with torch.no_grad():
        heads.out_weight[4] += 1.0
    changed = (heads(features, z, pos, graph)[0] != before).nonzero().flatten().tolist()
    assert [heads.properties[k].name for k in changed] == ["gap"]
    with torch.no_grad():
        heads.out_weight[len(ALL)] += 1.0  # the charges of the extent
    changed = (heads(features, z, pos, graph)[0] != before).nonzero().flatten().tolist()
    assert [heads.properties[k].name for k in changed] == ["gap", "r2"]


def test_sums_over_atoms_are_at_least_float32():
    heads = placed(Heads(4, named(("u0", "r2", "mu")), hidden=3))
    z, pos, graph = join([g2("H2O")])
    with torch.autocast(z.device.type, dtype=torch.bfloat16):
        assert heads(torch.ones(3, 4), z, pos.float(), graph).dtype == torch.float32
    assert heads.double()(torch.ones(3, 4).double(), z, pos, graph).dtype == torch.float64


@pytest.mark.parametrize(
    ("properties", "match"),
    [
        ([], "expected 1 to 1000 of molgeo.Property, got 0"),
        (["gap"], "expected 1 to 1000 of molgeo.Property, got 'gap'"),
        ("gap", "expected 1 to 1000 of molgeo.Property, got 'gap'"),
        (named(["gap", "mu", "gap"]), "each name once, got gap, gap"),
    ],
)
def test_wrong_properties(properties, match):
    with pytest.raises(ValueError, match=match):
        Heads(4, properties)


def test_orbitals_are_not_merged():
    backbone = {"n_features": 16, "n_filters": 16, "n_blocks": 1, "cutoff": 4.0}
    homo = Property("homo", "eV", "orbital")
    parts = [Predictor("schnet", backbone, [homo]) for _ in range(2)]
    with pytest.raises(ValueError, match="expected no orbital"):
        merged(parts)
    other = Predictor("schnet", backbone, [Property("homo", "eV", "mean")])
    with pytest.raises(ValueError, match="head: expected the same"):
        merged([other, parts[0]])
