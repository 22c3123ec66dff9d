"""Heads that take moments of a molecule's features, and models that have them."""

import pytest
import torch
from compounds import compound
from neighbourhoods import arguments

from molgeo.graph import radius_graph
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.predictor.heads import LEAST_VARIANCE, MOST_WIDTHS, Heads, Moments
from molgeo.predictor.merging import merged
from molgeo.predictor.program import program_of
from molgeo.properties import Property

LOG_S, VOLUME = Property("logS", "", "moments"), Property("volume", "A3", "sum")
OTHER = Property("other", "", "moments")
FIELDS = {
    "n_features": 8,
    "n_filters": 6,
    "n_products": 4,
    "n_blocks": 2,
    "cutoff": 3.0,
    "all_blocks": True,
}


def join(names):
    molecules = [compound(name) for name in names]
    sizes = torch.tensor([len(z) for z, _ in molecules])
    z, pos = (torch.cat(part) for part in zip(*molecules, strict=True))
    batch = torch.repeat_interleave(torch.arange(len(names)), sizes)
    return z, pos.float(), radius_graph(pos.float(), 3.0, batch)


def test_moments_by_hand():
    _, _, graph = join(["N2", "H2O"])
    features = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, -1.0], [0.0, -2.0], [3.0, -3.0]])
    raw = Moments.raw(features, graph)
    assert raw.shape == (2, 4, 2)
    expected = [[4.0, 0.0], [2.0, 0.0], [(1 + LEAST_VARIANCE) ** 0.5, 1e-3], [3.0, 0.0]]
    torch.testing.assert_close(raw[0], torch.tensor(expected))
    expected = [[3.0, -6.0], [1.0, -2.0], [2**0.5, (2 / 3) ** 0.5], [3.0, -1.0]]
    torch.testing.assert_close(raw[1], torch.tensor(expected), rtol=1e-5, atol=1e-5)


def test_moments_are_standardised_cut_and_constants_left_out():
    z, _, graph = join(["N2", "H2O", "CO2", "C2H4"])
    features = torch.rand(len(z), 3, generator=torch.Generator().manual_seed(0))
    features[:, 2] = 0.7
    moments = Moments(3)
    moments.fit(moments.raw(features, graph))
    found = moments(moments.raw(features, graph)).view(4, 4, 3)
    torch.testing.assert_close(found.mean(0), torch.zeros(4, 3), rtol=0, atol=1e-5)
    spread = torch.ones(4, 3)
    spread[1:, 2] = 0.0  # its sum counts the atoms, and the rest is the same for all
    torch.testing.assert_close(found.std(0), spread, rtol=1e-4, atol=1e-4)
    assert moments(moments.raw(1e6 * features, graph)).abs().max() == MOST_WIDTHS


def test_one_molecule_has_nothing_usual():
    _, _, graph = join(["H2O"])
    moments = Moments(2)
    moments.fit(moments.raw(torch.rand(3, 2), graph))
    assert not moments.factor.any()


def test_heads_of_both_kinds_stay_in_their_columns():
    torch.manual_seed(0)
    z, pos, graph = join(["H2O", "CH4"])
    heads = Heads(5, [LOG_S, VOLUME, OTHER], hidden=3)
    torch.nn.init.normal_(heads.out_weight)
    torch.nn.init.normal_(heads.out_bias)
    features = torch.rand(len(z), 5)
    out = heads(features, z, pos, graph)
    alone = Heads(5, [VOLUME], hidden=3)
    alone.load_state_dict(
        {
            "in_layer.weight": heads.in_layer.weight,
            "in_layer.bias": heads.in_layer.bias,
            "out_weight": heads.out_weight[1:2],
            "out_bias": heads.out_bias[1:2],
        }
    )
    torch.testing.assert_close(alone(features, z, pos, graph)[:, 0], out[:, 1])
    h = torch.nn.functional.silu(
        heads.moments_layer(heads.moments(heads.moments.raw(features, graph)))
    )
    for column, k in ((0, 0), (2, 1)):
        own = h[:, 3 * k : 3 * k + 3] @ heads.out_weight[column] + heads.out_bias[column]
        torch.testing.assert_close(out[:, column], own)
    atoms, _ = heads.per_atom(features)
    assert not atoms[:, [0, 2]].any()


def test_the_order_of_atoms_changes_nothing():
    torch.manual_seed(0)
    z, pos, graph = join(["C2H4"])
    heads, features = Heads(4, [LOG_S], hidden=3), torch.rand(6, 4)
    order = torch.tensor([3, 0, 5, 2, 1, 4])
    a, b = heads(features, z, pos, graph), heads(features[order], z[order], pos[order], graph)
    torch.testing.assert_close(a, b)


def predictor(seed, features=0):
    """A model whose backbone is that of a seed, and its heads of another."""
    torch.manual_seed(features)
    made = Predictor("spectrum_net", FIELDS, [LOG_S, VOLUME], head_features=5)
    torch.manual_seed(seed)
    for parameter in made.heads.parameters():
        torch.nn.init.normal_(parameter)
    z, pos, graph = join(["H2O", "CH4", "C2H4", "CO2", "C6H6"])
    with torch.no_grad():
        known = made.backbone.atom_features(z, pos, graph)
        moments = made.heads.moments
        moments.fit(moments.raw(known, graph))
        width = torch.where(moments.factor > 0, 1 / moments.factor, 0.0)
        moments.centre += 0.1 * width * torch.randn_like(width)
        moments.factor *= 0.9 + 0.2 * torch.rand_like(moments.factor)
    made.scale[:] = torch.tensor([1.0 + seed, 2.0])
    made.baseline.normal_()
    made.domain = Domain((1, 6, 8), max_atoms=12, min_distance=0.7)
    return made.eval()


@torch.no_grad()
@pytest.mark.parametrize("others", [0, 1])
def test_models_merge_into_their_mean(others):
    """With one backbone if all are the same: what is usual differs between them all the same."""
    parts = [predictor(1), predictor(2, others), predictor(3, others)]
    whole = merged(parts)
    assert whole.config.model == ("side_by_side" if others else "spectrum_net")
    z, pos, graph = join(["H2O", "CH4", "CO2"])
    found = whole(z, pos, graph.batch)
    for name in ("logS", "volume"):
        expected = sum(one(z, pos, graph.batch)[name] for one in parts) / 3
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-4)


@torch.no_grad()
def test_a_file_and_a_program_give_the_same(tmp_path):
    made = predictor(1)
    save_checkpoint(made, tmp_path / "a.safetensors", {"data": "own"})
    z, pos, graph = join(["H2O", "C6H6"])
    expected = made(z, pos, graph.batch)
    again = load(tmp_path / "a.safetensors")
    assert again.properties[0].head == "moments"
    assert torch.equal(again(z, pos, graph.batch)["logS"], expected["logS"])
    n_atoms = graph.atoms_per_molecule
    program = program_of(made).module()
    for key, value in program(*arguments(z, pos.double(), n_atoms, graph)).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-4)
