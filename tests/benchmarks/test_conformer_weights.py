"""The model that weighs conformers: its targets, its shares, and that it learns."""

import numpy as np
import pytest
import torch

from molgeo.chem.conformers.distinct import first_alike
from molgeo.datasets import QM9
from molgeo.generate.geometries import parted
from molgeo.generate.qm9 import make_once
from molgeo.predictor.merging import merged


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch, pytestconfig):
    monkeypatch.syspath_prepend(pytestconfig.rootpath / "benchmarks")
    import conformer_weights

    return conformer_weights


@pytest.fixture(scope="module")
def conformers(small_data):
    """Those of the small set's molecules, and these at MMFF94's minimum."""
    data = QM9(small_data / "qm9")
    rows = np.arange(len(data))
    return data, make_once(data, rows, "smiles", 4), make_once(data, rows, "mmff", 1)


def test_targets_are_largest_for_the_nearest_conformer_and_sum_to_one(weights, conformers):
    data, cheap, own = conformers
    known = weights.compared(data, cheap, own)
    several = [len(set(first_alike(one.z, one.pos))) for one in parted(cheap)]
    assert known.first.diff().tolist() == [n for n in several if n > 1]
    for a, b in zip(known.first[:-1].tolist(), known.first[1:].tolist(), strict=True):
        t, d, n = known.target[a:b], known.apart[a:b], known.log_count[a:b].exp()
        assert float(t.sum()) == pytest.approx(1.0, abs=1e-5)
        ratio = (t[0] / t[1]) / (n[0] / n[1])
        assert float(ratio.log()) == pytest.approx(float(d[1] - d[0]) / 0.03, rel=1e-3, abs=1e-3)


def test_the_conformer_itself_is_at_no_distance(weights, conformers):
    data, _, own = conformers
    twice = own._replace(
        n_conformers=np.full_like(own.n_conformers, 2),
        n_atoms=np.repeat(own.n_atoms, 2),
        energy=np.repeat(own.energy, 2),
        number=np.tile(np.array([0, 1], np.uint8), len(own.rows)),
        **_doubled(own),
    )
    known = weights.compared(data, twice, own)
    apart = known.apart.view(-1, 2)
    assert len(apart) > 50
    torch.testing.assert_close(apart[:, 0], torch.zeros(len(apart)), atol=1e-5, rtol=0)
    assert bool((apart[:, 1] > 0.03).all())
    assert bool((known.target.view(-1, 2)[:, 0] > 0.5).all())


def _doubled(own):
    """Each conformer, and the same stretched by a tenth."""
    ends = np.cumsum(own.n_atoms)
    pos = [own.pos[b - n : b] for n, b in zip(own.n_atoms, ends, strict=True)]
    z = [own.z[b - n : b] for n, b in zip(own.n_atoms, ends, strict=True)]
    return {
        "pos": np.concatenate([part for one in pos for part in (one, 1.1 * one)]),
        "z": np.concatenate([part for one in z for part in (one, one)]),
    }


def test_shares_are_a_softmax_over_the_conformers_of_each_molecule(weights, conformers):
    known = weights.compared(*conformers)
    net = weights.started().eval()
    with torch.no_grad():
        net.heads.out_bias[1] = 0.5
    picked = torch.tensor([3, 0, 5])
    some = weights.chosen(known, picked)
    with torch.no_grad():
        found = weights.log_shares(net, known, some).exp()
    begin = 0
    for m in picked.tolist():
        own = torch.arange(int(known.first[m]), int(known.first[m + 1]))
        batch = known.set.batch(known.places[own])
        with torch.no_grad():
            w = net(batch.z, batch.pos, batch.batch)["log_weight"] + known.log_count[own]
        expected = w.softmax(0).float()
        torch.testing.assert_close(found[begin : begin + len(own)], expected, rtol=1e-4, atol=1e-6)
        begin += len(own)
    assert begin == len(found)


def test_its_unit_is_the_size_of_its_values(weights, conformers):
    """So that none of them is one that no molecule has, and none is changed."""
    known = weights.compared(*conformers)
    net = weights.started().eval()
    with torch.no_grad():
        net.heads.out_weight.normal_(std=3.0)
        net.heads.out_bias.fill_(5.0)
    batch = known.set.batch(known.places)
    with torch.no_grad():
        before = net(batch.z, batch.pos, batch.batch)["log_weight"]
        assert bool((net.judged(batch.z, batch.pos, batch.batch).strangeness > 1).any())
        shares = weights.measured(net, known)
        weights.standardise(net, known)
        found = net.judged(batch.z, batch.pos, batch.batch)
    torch.testing.assert_close(found.values["log_weight"], before, rtol=1e-4, atol=1e-3)
    assert float(found.strangeness.max()) < 0.5
    assert weights.measured(net, known) == pytest.approx(shares, rel=1e-3)
    assert float(net.scale[0]) == pytest.approx(float(before.square().mean().sqrt()), rel=1e-4)


def test_before_its_first_step_each_counts_as_often_as_it_was_made(weights, conformers):
    known = weights.compared(*conformers)
    found = weights.measured(weights.started().eval(), known)
    assert found["share"] == pytest.approx(found["share_by_counts"], abs=1e-4)


def test_a_network_of_a_mean_goes_on_as_it_was(weights, conformers):
    """The mean's value is that of its networks; they share a bias, as the mean has one."""
    known = weights.compared(*conformers)
    parts = [weights.started().eval() for _ in range(2)]
    with torch.no_grad():
        for k, one in enumerate(parts):
            one.heads.out_weight.normal_(std=3.0, generator=torch.Generator().manual_seed(k))
            one.heads.out_bias.fill_(0.3)
        parts[1].backbone.embedding.weight.mul_(1.1)
        weights.standardise(parts[1], known)
        bias = parts[0].heads.out_bias * parts[0].scale
        parts[1].heads.out_bias.copy_(bias / parts[1].scale)
    whole = merged(parts)
    batch = known.set.batch(known.places[:20])
    for k, one in enumerate(parts):
        with torch.no_grad():
            expected = one(batch.z, batch.pos, batch.batch)["log_weight"]
            found = weights.member(whole, k).eval()(batch.z, batch.pos, batch.batch)["log_weight"]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


def test_atoms_are_shaken_in_training_alone(weights, conformers):
    known = weights.compared(*conformers)
    net, few = weights.started(), torch.arange(4)
    with torch.no_grad():
        net.heads.out_weight.normal_(std=0.1)
        losses = [float(weights.loss_of(net, known, few)) for _ in range(2)]
        assert losses[0] != losses[1]
        assert weights.measured(net, known) == weights.measured(net, known)
        plain = [float(weights.loss_of(net, known, few, 0.0)) for _ in range(2)]
    assert plain[0] == plain[1]


def test_it_learns_and_goes_on_from_its_state(weights, conformers, tmp_path, monkeypatch, capsys):
    known = weights.compared(*conformers)
    net, state = weights.started(), tmp_path / "state.pt"
    before = weights.measured(net.eval(), known)
    monkeypatch.setattr(weights, "KEPT", 0.0)
    clock = iter(np.arange(0.0, 1e6, 0.5))
    monkeypatch.setattr(weights.time, "monotonic", lambda: float(next(clock)))
    step = weights.trained(net.train(), known, known, state, 0.5, noise=0.0)
    after = weights.measured(net.eval(), known)
    assert after["cross_entropy"] < before["cross_entropy"] - 0.1
    assert after["share"] > before["share"] + 0.02
    assert step > 40
    again = weights.started()
    assert weights.trained(again, known, known, state, 0.5, noise=0.0) == step
    for name, w in again.state_dict().items():
        torch.testing.assert_close(w, net.state_dict()[name], equal_nan=True)
    assert "cross_entropy" in capsys.readouterr().out
