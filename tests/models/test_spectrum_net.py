"""SpectrumNet against its formula, with explicit angles."""

import itertools

import pytest
import torch
from compounds import compound
from devices import placed
from scipy.special import eval_legendre
from torch import Tensor

from molgeo.graph import radius_graph
from molgeo.models.spectrum_net import Interaction, SpectrumNet
from molgeo.ops.basis.envelope import cosine_cutoff

pytestmark = pytest.mark.usefixtures("on_device")

FIELDS = {"n_features": 8, "n_filters": 6, "n_products": 5, "n_gaussians": 7, "n_blocks": 2}


@pytest.fixture(autouse=True)
def _float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)


def by_angles(model: SpectrumNet, z: Tensor, pos: Tensor) -> Tensor:
    """Atom features by the formula: a loop over atoms and pairs of neighbours."""
    c = model.config
    h = model.embedding(z)
    for block in model.blocks:
        h = h + torch.stack([update(model, block, h, pos, i) for i in range(len(z))])
    assert h.shape == (len(z), c.n_features)
    return h


def update(model: SpectrumNet, block: Interaction, h: Tensor, pos: Tensor, i: int) -> Tensor:
    c = model.config
    vector = pos - pos[i]
    d = vector.norm(dim=-1)
    neighbours = [j for j in range(len(pos)) if j != i and d[j] < c.cutoff]
    message = {}
    for j in neighbours:
        rbf = model.basis(d[j : j + 1])[0] * cosine_cutoff(d[j], c.cutoff)
        message[j] = block.filter(rbf) * block.before(h[j])
    zero = torch.zeros(c.n_filters)
    invariants = [sum(message.values(), zero)]
    for l, factors in enumerate(block.factors, 1):
        total = torch.zeros(c.n_products)
        for j, k in itertools.product(neighbours, repeat=2):
            cosine = (vector[j] @ vector[k] / (d[j] * d[k])).item()
            q, r = factors(message[j]).chunk(2)[0], factors(message[k]).chunk(2)[1]
            total = total + eval_legendre(l, cosine) * q * r
        invariants.append(total)
    return block.update(block.after(torch.cat(invariants)))


@pytest.mark.parametrize("n_spherical", [1, 2, 4])
@pytest.mark.parametrize("name", ["CH3CH2OH", "CO2", "OH", "C2H2"])
def test_agrees_with_a_sum_over_angles(name: str, n_spherical: int) -> None:
    model = placed(SpectrumNet(**FIELDS, n_spherical=n_spherical, cutoff=2.5))
    z, pos = compound(name)
    found = model.atom_features(z, pos, radius_graph(pos, model.cutoff))
    torch.testing.assert_close(found, by_angles(model, z, pos))


def test_sees_angles_where_distances_within_the_cutoff_are_equal() -> None:
    """Water opened and closed: the hydrogens do not see each other, their oxygen sees the angle."""
    z = torch.tensor([8, 1, 1])

    def water(degrees: float) -> Tensor:
        angle = torch.deg2rad(torch.tensor(degrees))
        other = torch.stack([angle.cos(), angle.sin(), torch.tensor(0.0)])
        return torch.stack([torch.zeros(3), torch.tensor([1.0, 0, 0]), other])

    for n_spherical, sees in ((1, False), (2, True)):
        model = placed(SpectrumNet(**FIELDS, n_spherical=n_spherical, cutoff=1.2))
        with torch.no_grad():
            outputs = [model(z, water(degrees)) for degrees in (100.0, 130.0)]
        assert (abs(outputs[0] - outputs[1]) > 1e-6).item() is sees


@pytest.mark.parametrize(
    ("name", "least"), [("n_features", 2), ("n_filters", 1), ("n_products", 1), ("n_gaussians", 2)]
)
def test_refuses_numbers_that_are_too_small(name: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least {least}, got 0"):
        SpectrumNet(**{name: 0})


def charged(names: list[str], charges: list[int], **fields: object) -> tuple[Tensor, Tensor]:
    """Shares of the charge, and features, of all atoms of a batch, with random weights."""
    atoms = [compound(name) for name in names]
    sizes = torch.tensor([len(z) for z, _ in atoms])
    batch = torch.repeat_interleave(torch.arange(len(names)), sizes)
    z, pos = (torch.cat(parts) for parts in zip(*atoms, strict=True))
    model = placed(SpectrumNet(**FIELDS, charges=True, n_out=None, **fields))
    torch.nn.init.normal_(model.charge.value.weight)
    graph = radius_graph(pos, model.cutoff, batch).with_known(torch.tensor(charges))
    found: list[Tensor] = []
    shares = model.charge.shares
    model.charge.shares = lambda h, graph: found.append(shares(h, graph)) or found[0]
    features = model.atom_features(z, pos, graph)
    return torch.stack([found[0][batch == m].sum() for m in range(len(names))]), features


def test_shares_of_the_charge_sum_to_it() -> None:
    totals, _ = charged(["CH3CH2OH", "NH3", "CO2"], [1, 0, -2])
    torch.testing.assert_close(totals, torch.tensor([1.0, 0.0, -2.0]))


def test_before_training_the_charge_changes_nothing() -> None:
    z, pos = compound("CH3CH2OH")
    torch.manual_seed(1)
    neutral = SpectrumNet(**FIELDS)
    model = SpectrumNet(**FIELDS, charges=True)
    model.load_state_dict(neutral.state_dict(), strict=False)
    expected = placed(neutral)(z, pos)
    for charge in (None, torch.tensor([0]), torch.tensor([1]), torch.tensor([-1])):
        assert torch.equal(placed(model)(z, pos, charge=charge), expected)


def test_two_molecules_share_twice_the_charge_as_each_has_it() -> None:
    """Of two equal molecules far apart, with the sum of their charges, each is as it was."""
    z, pos = compound("NH3")
    model = placed(SpectrumNet(**FIELDS, charges=True))
    torch.nn.init.normal_(model.charge.value.weight)
    alone = model(z, pos, charge=torch.tensor([1]))
    both = torch.cat([z, z]), torch.cat([pos, pos + 100.0])
    torch.testing.assert_close(model(*both, charge=torch.tensor([2])), 2 * alone)


def test_features_of_all_blocks_end_with_those_of_the_last() -> None:
    z, pos = compound("CH3CH2OH")
    graph = radius_graph(pos, 4.0)
    whole = placed(SpectrumNet(**FIELDS, cutoff=4.0, all_blocks=True, n_out=None))
    last = placed(SpectrumNet(**FIELDS, cutoff=4.0, n_out=None))
    last.load_state_dict(whole.state_dict())
    found = whole.atom_features(z, pos, graph)
    assert found.shape == (9, 16)
    assert whole.feature_dim == 16
    torch.testing.assert_close(found[:, 8:], last.atom_features(z, pos, graph))
    first = placed(SpectrumNet(**{**FIELDS, "n_blocks": 1}, cutoff=4.0, n_out=None))
    first.load_state_dict(whole.state_dict(), strict=False)
    torch.testing.assert_close(found[:, :8], first.atom_features(z, pos, graph))
