"""Expected errors of forces, against plain formulas and plain sums."""

import copy
import pickle

import numpy as np
import pytest
import torch
from force_fields import force_field
from scipy.optimize import minimize

from molgeo.graph import radius_graph
from molgeo.predictor.checkpoint import load, save_checkpoint
from molgeo.predictor.expected_errors import HELD, WITHIN, ExpectedErrors, expected_errors
from molgeo.predictor.gaussians import Gaussians, gaussians

WIDTH, KEPT, ELEMENTS = 12, 5, (1, 6, 8)


def atoms(n, seed, elements=ELEMENTS):
    generator = torch.Generator().manual_seed(seed)
    z = torch.tensor(elements)[torch.randint(0, len(elements), (n,), generator=generator)]
    return torch.randn(n, WIDTH, generator=generator) * torch.linspace(2.0, 0.1, WIDTH), z


def errors_of(apart, z, seed):
    """Exponential errors that grow as a power of the distance, faster for oxygen."""
    rate = 0.1 * apart ** torch.where(z == 8, 2.0, 1.0)
    return rate * -torch.rand(len(z), generator=torch.Generator().manual_seed(seed)).log()


@pytest.fixture(scope="module")
def made():
    found = gaussians(*atoms(4000, 0), kept=KEPT)
    features, z = atoms(6000, 1)
    features = features * (0.5 + torch.rand(6000, 1, generator=torch.Generator().manual_seed(5)))
    _, apart = Gaussians(**found).distances(features, z)
    error, molecule = errors_of(apart, z, 2), torch.arange(6000) // 10
    return expected_errors(found, apart, z, error, molecule), features, z, apart, error, molecule


def test_the_law_is_the_one_that_the_errors_were_drawn_from(made):
    own, features, z, apart, error, _ = made
    expected = own.of_atoms(features, z)
    torch.testing.assert_close(
        expected, 0.1 * apart ** torch.where(z == 8, 2.0, 1.0), rtol=0.15, atol=0
    )
    for number in ELEMENTS:  # and calibrated
        ratio = expected[z == number].mean() / error[z == number].mean()
        assert float(ratio) == pytest.approx(1.0, abs=0.05)


def test_the_law_makes_the_errors_most_likely(made):
    own, _, z, apart, error, _ = made
    x, y = np.log(apart.square().double().numpy()), error.double().numpy()

    def best(x, y, start, weight):
        def loss(law):
            linear = law[0] + law[1] * x
            held = weight * ((law - start) ** 2).sum() / 2
            return (linear + y * np.exp(-linear)).sum() + held

        return minimize(loss, start, method="BFGS", options={"gtol": 1e-6}).x

    of_all = best(x, y, np.array([np.log(y.mean()), 0.5]), 1.0)
    for number, law in zip(ELEMENTS, own.law.tolist(), strict=True):
        mine = z.numpy() == number
        assert law == pytest.approx(best(x[mine], y[mine], of_all, HELD), abs=1e-4)


def test_the_limit_is_what_few_molecules_have(made):
    own, features, z, _, _, molecule = made
    largest = torch.zeros(600).scatter_reduce(0, molecule, own.of_atoms(features, z), "amax")
    assert float((largest <= own.limit).float().mean()) == pytest.approx(WITHIN, abs=0.003)
    assert own.reasons([float(own.limit) * 0.99]) == ()
    assert "expected error of a force" in own.reasons([float(own.limit) * 1.01])[0]


def test_an_element_without_validation_atoms_has_the_law_of_all():
    found = gaussians(*atoms(4000, 0), kept=KEPT)
    features, z = atoms(500, 1, elements=(1, 6))
    _, apart = Gaussians(**found).distances(features, z)
    own = expected_errors(found, apart, z, errors_of(apart, z, 2), torch.arange(500) // 10)
    features, z = atoms(50, 3, elements=(8,))
    _, apart = Gaussians(**found).distances(features, z)
    torch.testing.assert_close(own.of_atoms(features, z), 0.1 * apart, rtol=0.2, atol=0)
    assert torch.isinf(own.of_atoms(features, torch.full_like(z, 17))).all()


def told(charges=False, seed=0):
    """A force field of random weights with a record of random features."""
    own = force_field("spectrum_net", seed=seed, **({"charges": True} if charges else {}))
    generator = torch.Generator().manual_seed(seed)
    z = torch.tensor([1, 6, 8]).repeat(100)
    features = torch.randn(300, own.backbone.feature_dim, generator=generator) + z[:, None]
    apart, error = (torch.rand(300, generator=generator) + 0.1 for _ in range(2))
    own.expected_errors = expected_errors(
        gaussians(features, z, KEPT), apart, z, error, torch.arange(300) // 6
    )
    return own


def molecule(seed=0, n=9):
    rng = np.random.default_rng(seed)
    pos = torch.from_numpy(rng.uniform(0.0, 4.0, (n, 3))).float()
    return torch.from_numpy(rng.choice([1, 6, 8], n)), pos


def potential(own, z, pos, batch=None):
    return own.potential(z, pos, radius_graph(pos, own.cutoff, batch))


def test_rotations_and_the_order_of_atoms_change_nothing():
    own, (z, pos) = told(), molecule()
    expected = potential(own, z, pos).forces_std
    assert expected.shape == (9,)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(potential(own, z, pos @ turn + 1.0).forces_std, expected)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(potential(own, z[order], pos[order]).forces_std, expected[order])


def test_a_batch_is_its_molecules_and_says_so_beside_values():
    own = told()
    parts = [molecule(k, n) for k, n in enumerate((3, 7, 5))]
    z, pos = (torch.cat([part[k] for part in parts]) for k in (0, 1))
    batch = torch.repeat_interleave(torch.tensor([3, 7, 5]))
    alone = [potential(own, *part).forces_std for part in parts]
    torch.testing.assert_close(potential(own, z, pos, batch).forces_std, torch.cat(alone))
    with torch.no_grad():
        signals = own.judged(z, pos, batch).signals
    torch.testing.assert_close(signals[:, 0], torch.stack([one.max() for one in alone]))


def test_forces_and_energies_are_those_of_before():
    own, (z, pos) = told(), molecule()
    found, own.expected_errors = potential(own, z, pos), None
    before = potential(own, z, pos)
    assert before.forces_std is None
    assert torch.equal(before.forces, found.forces)
    assert torch.equal(before.energy, found.energy)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_tell_the_same(clone):
    own, (z, pos) = told(), molecule()
    expected = potential(own, z, pos).forces_std
    assert torch.equal(potential(clone(own), z, pos).forces_std, expected)
    exact = potential(clone(own).double(), z, pos.double()).forces_std
    torch.testing.assert_close(exact, expected, rtol=1e-4, atol=0)


def test_a_file_keeps_the_record_and_old_ones_have_none(tmp_path):
    own, (z, pos) = told(), molecule()
    path = tmp_path / "own.safetensors"
    save_checkpoint(own, path, {"trained_on_forces": True})
    again = load(path)
    assert again.header.expected_errors == 1
    assert torch.equal(potential(again, z, pos).forces_std, potential(own, z, pos).forces_std)
    own.expected_errors = None
    save_checkpoint(own, path, {"trained_on_forces": True})
    assert load(path).expected_errors is None
    assert load("spectrum_net-gfn2").expected_errors is None  # of an older format


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("law", lambda x: x[:, :1].contiguous(), "expectederrors.law: expected"),
        ("limit", lambda x: torch.full_like(x, torch.nan), "expectederrors.limit: expected finite"),
        ("elements", lambda x: x + 0.5, "expectederrors.elements: expected atomic numbers"),
    ],
)
def test_a_record_that_is_none_is_refused(made, name, change, message):
    tensors = made[0].tensors()
    tensors[name] = change(tensors[name])
    with pytest.raises(ValueError, match=message):
        ExpectedErrors.of(tensors, WIDTH)
