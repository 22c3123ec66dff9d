import copy

import pytest
import torch
from compounds import compound
from devices import placed
from no_waiting import no_waiting

from molgeo.data.qm9.properties import NAMES, PROPERTIES, named
from molgeo.elements import SYMBOLS
from molgeo.graph import radius_graph
from molgeo.predictor import Predictor
from molgeo.predictor.header import Facts
from molgeo.properties import Property

pytestmark = pytest.mark.usefixtures("on_device")

SMALL = {"n_features": 8, "n_filters": 8, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}
REFERENCES = ("baseline", "scale", "atom_reference")


def g2(formula):
    z, pos = compound(formula)
    return z, pos.float()


def make(names=NAMES):
    torch.manual_seed(0)
    predictor = Predictor("schnet", SMALL, named(names), head_features=4).eval()
    torch.nn.init.normal_(predictor.heads.out_weight)
    predictor.baseline.normal_()
    predictor.scale.uniform_(0.5, 2.0)
    return placed(predictor)


@pytest.fixture
def predictor(on_device):
    return make()


def test_all_properties_are_float64_a_molecule(predictor):
    z, pos = g2("CH3CH2OH")
    out = predictor(z.repeat(3), pos.repeat(3, 1), torch.arange(3).repeat_interleave(len(z)))
    assert list(out) == list(NAMES)
    assert all(value.shape == (3,) and value.dtype == torch.float64 for value in out.values())
    assert predictor.property_names == NAMES
    assert predictor.cutoff == 4.0


def test_value_is_baseline_plus_scaled_output(predictor):
    z, pos = g2("H2O")
    graph = radius_graph(pos, predictor.cutoff)
    out = predictor.unbounded(z, pos)
    heads = predictor.standardised(z, pos, graph)[0].double()
    scaled = predictor.scale * heads
    composition = predictor.baseline[:, 0, 8] + 2 * predictor.baseline[:, 0, 1]
    for k, (name, known) in enumerate(PROPERTIES.items()):
        if known.head == "sum" and name not in ("u298", "h298"):
            torch.testing.assert_close(out[name][0], composition[k] + scaled[k])
        elif known.head == "mean":
            torch.testing.assert_close(out[name][0], composition[k] / 3 + scaled[k])


def test_no_value_leaves_the_range_of_its_property_but_in_training_mode(on_device):
    kinds = [
        Property("a", "", "mean", minimum=2.0),
        Property("b", "", "sum", maximum=-2.0),
        Property("c", "", "mean", minimum=-2.0, maximum=2.0),
        Property("d", "", "mean"),
    ]
    predictor = placed(Predictor("schnet", SMALL, kinds, head_features=4)).eval()
    z, pos = g2("H2O")
    for shift in (-1e3, 0.0, 1e3):
        predictor.baseline[:, 0] = shift
        own = torch.stack([*predictor.unbounded(z, pos).values()])[:, 0]
        least, most = (
            torch.tensor([getattr(one, key) for one in kinds], dtype=torch.float64)
            for key in ("minimum", "maximum")
        )
        for found in (predictor(z, pos), predictor.judged(z, pos).values):
            torch.testing.assert_close(
                torch.stack([*found.values()])[:, 0], own.clamp(least, most), rtol=0, atol=0
            )
    values = predictor.train()(z, pos)
    assert values["b"].item() > -2.0  # so that it has a gradient
    (gradient,) = torch.autograd.grad(values["b"], predictor.heads.out_bias)
    assert gradient.abs().max() > 0


def test_enthalpy_and_energy_differ_by_the_gas(predictor):
    """H − U = pV = kT; both come from the mean of the two heads."""
    z, pos = g2("H2O")
    graph = radius_graph(pos, predictor.cutoff)
    out = predictor(z, pos)
    heads = predictor.to_units(predictor.standardised(z, pos, graph), z, pos, graph)[0]
    u, h = (heads[NAMES.index(name)] for name in ("u298", "h298"))
    kt = 8.314462618 * 298.15 / 96485.33212  # RT in J/mol over Faraday's constant
    torch.testing.assert_close(out["h298"] - out["u298"], torch.full_like(out["u298"], kt))
    torch.testing.assert_close(out["h298"][0] + out["u298"][0], u + h)


def test_a_single_thermal_energy_is_left_alone():
    predictor = make(("u298",))
    z, pos = g2("H2O")
    graph = radius_graph(pos, predictor.cutoff)
    heads = predictor.to_units(predictor.standardised(z, pos, graph), z, pos, graph)
    torch.testing.assert_close(predictor(z, pos)["u298"], heads[:, 0])


def test_labels_to_network_and_back(predictor):
    z, pos = g2("H2O")
    graph = radius_graph(pos, predictor.cutoff)
    y = torch.randn(1, len(NAMES), generator=torch.Generator().manual_seed(1)).double()
    standardised = predictor.to_standardised(y, z, pos, graph)
    assert standardised.dtype == torch.float32
    again = predictor.to_units(standardised, z, pos, graph)
    torch.testing.assert_close(again, y, rtol=1e-5, atol=1e-5)
    exact = predictor.double()
    again = exact.to_units(exact.to_standardised(y, z, pos, graph), z, pos, graph)
    torch.testing.assert_close(again, y, rtol=1e-12, atol=1e-12)


def test_large_totals_keep_their_digits():
    """Spacing of float32 at −19,444 eV is 2 meV; the baseline must not lose a µeV."""
    predictor = make(("u0",))
    torch.nn.init.zeros_(predictor.heads.out_weight)
    contribution = {1: -16.123456789, 6: -1036.123456789, 7: -1488.987654321, 8: -2042.111111111}
    for number, value in contribution.items():
        predictor.baseline[0, 0, number] = value
    z = torch.tensor([6] * 7 + [8] * 4 + [7] * 2 + [1] * 10)
    pos = 1.5 * torch.arange(3.0 * len(z)).view(-1, 3)
    expected = sum(contribution[int(n)] for n in z)
    assert expected < -18_500
    with torch.no_grad():
        assert abs(float(predictor(z, pos)["u0"]) - expected) < 1e-9
        assert abs(float(predictor.to(torch.float32)(z, pos)["u0"]) - expected) < 1e-9


@pytest.mark.parametrize(
    "convert",
    [
        lambda m: m.half(),
        lambda m: m.float(),
        lambda m: m.double(),
        lambda m: m.to(torch.bfloat16),
        lambda m: m.to(m.baseline.device, torch.float16),
        lambda m: copy.deepcopy(m).half().float(),
        lambda m: torch.nn.Sequential(m).half()[0],
    ],
)
def test_references_are_never_rounded(predictor, convert):
    exact = {name: getattr(predictor, name).clone() for name in REFERENCES}
    converted = convert(predictor)
    for name, value in exact.items():
        buffer = dict(converted.named_buffers())[name]
        assert buffer.dtype == torch.float64
        assert torch.equal(buffer.nan_to_num(), value.nan_to_num())


def test_references_move_with_the_module(predictor):
    assert predictor.to("meta").baseline.device.type == "meta"


def test_atomization_energy_is_relative_to_free_atoms(predictor):
    z, pos = g2("H2O")
    assert set(predictor(z, pos)) == set(NAMES)  # no free atom is known
    for name, values in {"u0": (-13.6, -2042.0), "g298": (-14.0, -2043.0)}.items():
        row = predictor.atom_reference[NAMES.index(name)]
        row[torch.tensor([1, 8])] = torch.tensor(values, dtype=torch.float64)
    out = predictor(z, pos)
    assert set(out) == {*NAMES, "u0_atomization", "g298_atomization"}
    torch.testing.assert_close(out["u0_atomization"], out["u0"] + 2 * 13.6 + 2042.0)
    torch.testing.assert_close(out["g298_atomization"], out["g298"] + 2 * 14.0 + 2043.0)
    z, pos = g2("CO2")
    assert predictor(z, pos)["u0_atomization"].isnan().all()
    assert predictor(z, pos)["u0"].isfinite().all()


def test_forces_are_refused_unless_trained_or_asked_for(predictor):
    z, pos = g2("H2O")
    predictor.name = "mine"
    with pytest.raises(
        ValueError, match=r"mine was trained on properties of relaxed .* mean nothing"
    ):
        predictor.energy_and_forces(z, pos)
    energy, forces = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    predictor.header = Facts(trained_on_forces=True)
    again, same = predictor.energy_and_forces(z, pos)
    torch.testing.assert_close((again, same), (energy, forces))
    predictor.header = Facts(trained_on_forces=False)
    with pytest.raises(ValueError, match="allow_untrained_forces"):
        predictor.energy_and_forces(z, pos)


def test_forces_are_refused_of_an_energy_that_jumps(predictor):
    z, pos = g2("H2O")
    predictor.name, predictor.header = "mine", Facts(trained_on_forces=True)
    predictor.backbone.is_smooth = False
    with pytest.raises(ValueError, match=r"mine: .* jumps .* backbone.smooth: true"):
        predictor.energy_and_forces(z, pos)
    _, forces = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    assert forces.isfinite().all()


def test_forces_need_an_energy():
    z, pos = g2("H2O")
    with pytest.raises(ValueError, match="schnet: forces need an energy; it predicts gap, zpve"):
        make(("gap", "zpve")).energy_and_forces(z, pos, allow_untrained_forces=True)


def test_forces_are_the_negative_gradient_of_the_energy_it_returns():
    predictor = make(("gap", "h298", "u0")).double()
    z, pos = g2("CH3CH2OH")
    pos = pos.double()
    energy, forces = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    torch.testing.assert_close(energy, predictor(z, pos)["h298"].detach())
    direction = torch.randn(pos.shape, generator=torch.Generator().manual_seed(2)).double()
    step = 1e-4
    with torch.no_grad():
        plus, minus = (predictor(z, pos + s * direction)["h298"] for s in (step, -step))
    slope = float((plus - minus) / (2 * step))
    assert -float((forces * direction).sum()) == pytest.approx(slope, rel=1e-6)


def test_forces_leave_no_trace(predictor):
    z, pos = g2("H2O")
    pos.requires_grad_()
    with torch.no_grad():
        energy, forces = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    assert forces.dtype == torch.float32
    assert not energy.requires_grad
    assert not forces.requires_grad
    assert pos.grad is None
    assert all(p.grad is None for p in predictor.parameters())


def test_forces_under_inference_mode(predictor):
    z, pos = g2("H2O")
    energy, forces = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    with torch.inference_mode():
        inputs = (z.clone(), pos.clone(), torch.zeros(3, dtype=torch.long))
        again, same = predictor.energy_and_forces(*inputs, allow_untrained_forces=True)
    torch.testing.assert_close((again, same), (energy, forces))


@pytest.mark.parametrize(
    ("z", "pos", "batch", "match"),
    [
        ((3,), (2, 3), None, r"pos: expected shape \(3, 3\) for 3 atoms, got \(2, 3\)"),
        ((3,), (3, 2), None, r"pos: expected shape \(3, 3\)"),
        ((3,), (9,), None, r"pos: expected shape \(3, 3\)"),
        ((3, 1), (3, 3), None, r"z: expected shape \(3,\)"),
        ((3,), (3, 3), (2,), r"batch: expected shape \(3,\) for 3 atoms, got \(2,\)"),
    ],
)
def test_shapes_that_do_not_fit(predictor, z, pos, batch, match):
    batch = None if batch is None else torch.zeros(batch, dtype=torch.long)
    with pytest.raises(ValueError, match=match):
        predictor(torch.ones(z, dtype=torch.long), torch.rand(pos), batch)


@pytest.mark.parametrize("of", [torch.float64, torch.float32, torch.float16, torch.int64])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_positions_of_any_type(weights, of):
    """Computed in the type of the weights; these positions are exact in all of them."""
    predictor = make().to(weights)
    z, pos = torch.tensor([8, 1, 1], dtype=torch.int32), 1.0 * torch.eye(3)
    expected = predictor(z.long(), pos.to(weights))
    found = predictor(z, pos.to(of))
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name])
    energy, forces = predictor.energy_and_forces(z, pos.to(of), allow_untrained_forces=True)
    torch.testing.assert_close(energy, expected["u0"])
    assert forces.dtype == (weights if of == torch.int64 else of)


@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_a_graph_of_another_type(weights):
    predictor = make(("u0",)).to(weights)
    z, pos = torch.tensor([8, 1, 1]), torch.eye(3, dtype=torch.float64)
    cell, pbc = 5.0 * pos[None], torch.tensor([[True, True, True]])
    found = [
        predictor(z, pos, graph=radius_graph(pos.to(of), 4.0, None, cell.to(of), pbc))["u0"]
        for of in (torch.float32, torch.float64)
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("z", "pos", "error", "match"),
    [
        ([8], torch.zeros(1, 3), TypeError, "z: expected a torch.Tensor, got list"),
        (torch.tensor([8]), [[0.0] * 3], TypeError, "pos: expected a torch.Tensor, got list"),
        (torch.tensor([8.0]), torch.zeros(1, 3), TypeError, "z: expected integers, got torch.fl"),
        (torch.tensor([8]), torch.zeros(1, 3) > 0, TypeError, "pos: expected real numbers"),
        (torch.tensor([-1]), torch.zeros(1, 3), ValueError, "z: expected atomic numbers, 1 to"),
        (torch.tensor([8, 300]), torch.eye(3)[:2], ValueError, "z: .* 99, got 300"),
        (torch.tensor([8]), torch.zeros(1, 3, device="meta"), ValueError, "pos: .* device, "),
    ],
)
def test_tensors_of_the_wrong_kind(predictor, z, pos, error, match):
    there = predictor.scale.device
    z, pos = (
        x.to(there) if isinstance(x, torch.Tensor) and x.device.type == "cpu" else x
        for x in (z, pos)
    )
    with pytest.raises(error, match=match):
        predictor(z, pos)


def test_config_rebuilds_it(predictor):
    other = Predictor(**dict(predictor.config))
    placed(other).load_state_dict(predictor.state_dict())
    z, pos = g2("H2O")
    torch.testing.assert_close(other.eval()(z, pos)["gap"], predictor(z, pos)["gap"])
    assert other.config == predictor.config
    assert predictor.config.backbone == {**SMALL, "activation": "ssp", "n_out": None}


def test_references_cover_every_element(predictor):
    assert predictor.baseline.shape == (12, 2, len(SYMBOLS))
    assert predictor.atom_reference.shape == (12, len(SYMBOLS))


def test_unknown_names():
    with pytest.raises(ValueError, match="did you mean 'schnet'"):
        Predictor("schnett", {}, named(["gap"]))
    with pytest.raises(TypeError, match="did you mean 'n_blocks'"):
        Predictor("schnet", {"n_block": 2}, named(["gap"]))
    with pytest.raises(ValueError, match=r"of molgeo\.Property, got 'gap'"):
        Predictor("schnet", SMALL, ["gap"])
    with pytest.raises(ValueError, match=r"expected some of mu, .*, got 'colour'"):
        named(["gap", "colour"])


def test_free_atoms_are_looked_up_again_if_they_change(predictor):
    """And not otherwise: a look waits for the device."""
    z, pos = g2("H2O")
    graph = radius_graph(pos, predictor.cutoff)
    known = {"u0_atomization", *NAMES}
    state = copy.deepcopy(predictor.state_dict())
    state["atom_reference"][NAMES.index("u0"), [1, 8]] = -1.0
    assert set(predictor(z, pos)) == set(NAMES)
    predictor.load_state_dict(state)
    assert set(predictor(z, pos)) == known
    with no_waiting(pos.device):
        assert set(predictor(z, pos, graph=graph)) == known
    other = copy.deepcopy(predictor)
    other.atom_reference.fill_(torch.nan)
    assert set(other(z, pos)) == set(NAMES)
    assert set(predictor(z, pos)) == known
    with torch.inference_mode():
        third = Predictor(**dict(predictor.config))
        assert set(third(z, pos)) == set(NAMES)
        third.load_state_dict(state)
        assert set(third(z, pos)) == known
