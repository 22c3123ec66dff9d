"""Distances to the training data in feature space, against the plain formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from molgeo import predict
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.graph import radius_graph
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.predictor.familiarity import (
    FLAGGED,
    LINE,
    PERCENTS,
    SIGNALS,
    Familiarity,
    familiarity,
    mean_features,
)
from molgeo.predictor.gaussians import gaussians
from molgeo.predictor.predictor import Predictor

WIDTH, KEPT = 12, 5


def atoms(n, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.tensor([1, 6, 8])[torch.randint(0, 3, (n,), generator=generator)]
    scale = torch.linspace(2.0, 0.1, WIDTH)
    return torch.randn(n, WIDTH, generator=generator) * scale + z[:, None] + shift, z


def record(seed=0):
    found = gaussians(*atoms(4000, seed), kept=KEPT)
    table = torch.rand(500, len(SIGNALS), generator=torch.Generator().manual_seed(1))
    return familiarity(found, table)


def test_distances_are_those_of_the_formulas():
    features, z = atoms(40, 1)
    training, numbers = (x.double().numpy() for x in atoms(4000, 0))
    near, apart = record().distances(features, z)
    for i, number in enumerate(z.tolist()):
        x = training[numbers == number]
        values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        p = (features[i].double().numpy() - x.mean(0)) @ vectors
        inside, left = p[-KEPT:], p[:-KEPT]
        expected = np.sqrt((inside**2 / values[-KEPT:]).mean())
        assert float(near[i]) == pytest.approx(expected, rel=1e-4)
        expected = np.sqrt((left**2).sum() / values[:-KEPT].sum())
        assert float(apart[i]) == pytest.approx(expected, rel=1e-3)


def test_an_unknown_element_is_at_infinity():
    near, apart = record().distances(torch.zeros(1, WIDTH), torch.tensor([9]))
    assert torch.isinf(near).all()
    assert torch.isinf(apart).all()


def test_signals_are_of_each_molecule_alone():
    features, z = atoms(9, 2)
    batch = torch.tensor([0] * 4 + [1] * 5)
    pos = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    known = record()
    together = known.signals(features, z, radius_graph(pos, 5.0, batch))
    parts = (slice(0, 4), slice(4, 9))
    alone = [known.signals(features[k], z[k], radius_graph(pos[k], 5.0)) for k in parts]
    torch.testing.assert_close(together, torch.cat(alone))
    near, apart = known.distances(features[:4], z[:4])
    expected = [near.max(), near.mean(), apart.max(), apart.mean(), (z[:4] > 1).sum()]
    torch.testing.assert_close(together[0], torch.stack([one.float() for one in expected]))


def test_the_share_that_is_flagged_and_the_phrase_that_says_how_far():
    known = record()
    place = SIGNALS.index(LINE)
    table = torch.rand(20_000, len(SIGNALS), generator=torch.Generator().manual_seed(3))
    flagged = [bool(known.reasons(row)) for row in table.tolist()]
    assert np.mean(flagged) == pytest.approx(FLAGGED, abs=0.01)
    signals = [0.5] * len(SIGNALS)
    assert known.reasons(signals) == ()
    signals[place] = 9.0
    assert "99.9%" in known.reasons(signals)[0]


def test_larger_than_all_is_told_by_heavy_atoms():
    known = record()
    assert not known.is_larger([0.0] * len(SIGNALS))
    assert known.is_larger([0.0] * (len(SIGNALS) - 1) + [2.0])


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    own = Predictor("schnet", {"n_blocks": 1}, [PROPERTIES["u0"]], 4)
    own.domain = Domain((1, 6, 8), max_atoms=29, min_distance=0.9)
    _, z = atoms(500, 0)
    own.familiarity = familiarity(
        gaussians(torch.randn(500, own.backbone.feature_dim), z, KEPT),
        torch.rand(100, len(SIGNALS)),
    )
    return own.eval()


def water():
    z = torch.tensor([8, 1, 1])
    return z, torch.tensor([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])


def test_a_file_keeps_the_record(predictor, tmp_path):
    path = tmp_path / "own.safetensors"
    save_checkpoint(predictor, path, {})
    again = load(path)
    for name, tensor in predictor.familiarity.tensors().items():
        assert torch.equal(again.familiarity.tensors()[name], tensor)
    assert again.header.familiarity == len(SIGNALS)
    with torch.no_grad():
        out, _, signals, _ = again.judged(*water())
        assert out["u0"] == again(*water())["u0"]
    assert signals.shape == (1, len(SIGNALS))


def test_a_model_without_a_record_has_no_signals(predictor):
    predictor.familiarity = None
    with torch.no_grad():
        assert predictor.judged(*water()).signals is None


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mean", lambda x: x[:, :3].contiguous(), "familiarity.mean: expected"),
        ("rest", torch.zeros_like, "expected numbers above 0"),
        ("axes", lambda x: torch.full_like(x, torch.nan), "familiarity.axes: expected finite"),
    ],
)
def test_a_record_that_is_none_is_refused(predictor, name, change, message):
    tensors = predictor.familiarity.tensors()
    tensors[name] = change(tensors[name])
    with pytest.raises(ValueError, match=message):
        Familiarity.of(tensors, predictor.backbone.feature_dim)


def test_a_missing_tensor_is_refused(predictor):
    tensors = predictor.familiarity.tensors()
    del tensors["axes"]
    with pytest.raises(ValueError, match="familiarity: expected"):
        Familiarity.of(tensors, predictor.backbone.feature_dim)
    assert len(predictor.familiarity.percentiles) - 1 == PERCENTS


def test_a_small_training_molecule_is_known_however_odd_its_atoms_are():
    features, z = atoms(12, 3, shift=4.0)
    batch = torch.arange(12) // 4
    features[batch == 2] += 9.0
    graph = radius_graph(torch.randn(12, 3, generator=torch.Generator().manual_seed(4)), 5.0, batch)
    without = record()
    own = replace(without, known=mean_features(features, graph)[:2])
    before, after = (one.signals(features, z, graph) for one in (without, own))
    median = without.percentiles[PERCENTS // 2]
    assert (before[:, :4] > median[:4]).all()
    assert torch.equal(after[:2], torch.minimum(before[:2], median.expand(2, -1)))
    assert torch.equal(after[2], before[2])


def test_molecules_of_the_training_data_are_inside():
    table = predict(["CCO", "CCC", "O=C=O", "N=N"], properties="gap")
    assert table["in_domain"].tolist() == [True, True, False, False]  # QM9 has no CO2


def test_the_largest_validation_molecule_is_not_larger_than_itself():
    """Heavy atoms averaged over conformers, whose shares are floats, are no whole number."""
    known = record()
    most = float(known.percentiles[-1, -1])
    usual = [1.0] * (len(SIGNALS) - 1)
    assert not known.is_larger([*usual, most * (1 + 1e-12) + 1e-9])
    assert known.is_larger([*usual, most + 1.0])
