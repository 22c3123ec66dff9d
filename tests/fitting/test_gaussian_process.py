"""What amplitudes, lengths and weights a Gaussian process is given."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor, kernels

from molgeo.fitting import gaussian_process
from molgeo.fitting.gaussian_process import LEAST_NOISE, fitted, main_components
from molgeo.predictor.kernel import Known, alike, kernel_of


def drawn(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def unlikeliness(known, y, amplitudes, lengths, noise):
    """-log p(y) / n, written in another way."""
    whole = kernel_of(alike(known, known), amplitudes, lengths) + noise * torch.eye(len(y)).double()
    normal = torch.distributions.MultivariateNormal(torch.zeros(len(y)).double(), whole)
    return -float(normal.log_prob(y.double())) / len(y)


def test_labels_are_as_likely_as_another_library_finds_them():
    x = drawn(60, 3, 0)
    y = (2 * x[:, 0]).sin() + x[:, 1] + 0.2 * drawn(60, 1, 1)[:, 0]
    found = fitted(Known(x), y)
    ours = unlikeliness(Known(x), y, found.amplitudes, found.lengths, found.noise)
    kernel = kernels.ConstantKernel() * kernels.Matern(nu=1.5) + kernels.WhiteKernel()
    kernel += kernels.ConstantKernel() * kernels.DotProduct(0.0, sigma_0_bounds="fixed")
    other = GaussianProcessRegressor(kernel, alpha=0.0, n_restarts_optimizer=3, random_state=0)
    other.fit(x.double().numpy(), y.double().numpy())
    assert ours < -other.log_marginal_likelihood_value_ / 60 + 0.02
    assert 0.01 < float(found.noise) < 0.1  # 0.04 was put in


def test_labels_of_no_meaning_tell_nothing_of_others():
    known, y = Known(drawn(80, 4, 0), drawn(80, 2, 1)), drawn(80, 1, 2)[:, 0]
    found = fitted(known, y)
    new = Known(drawn(50, 4, 3), drawn(50, 2, 4))
    near = kernel_of(alike(new, known), found.amplitudes, found.lengths)
    assert float((near @ found.alpha).std()) < 0.4
    surely = (near @ found.root.double()).square().sum(1)
    assert float(surely.mean()) < 0.3  # of a variance of about one


def test_labels_without_noise_keep_a_little():
    x = drawn(50, 2, 0)
    found = fitted(Known(x), x[:, 0])
    assert LEAST_NOISE <= float(found.noise) < 10 * LEAST_NOISE
    assert torch.isfinite(found.alpha).all()


def test_the_same_molecule_twice_is_no_fault():
    x = drawn(30, 3, 0).repeat(2, 1)
    y = torch.cat([x[:30, 0], x[:30, 0] + 0.5])
    found = fitted(Known(x), y)
    predicted = kernel_of(alike(Known(x), Known(x)), found.amplitudes, found.lengths)
    torch.testing.assert_close((predicted @ found.alpha)[:30], (predicted @ found.alpha)[30:])


@pytest.mark.parametrize("rank", [10, 60])
def test_the_root_never_makes_a_molecule_surer_than_it_is(rank, monkeypatch):
    monkeypatch.setattr(gaussian_process, "KEPT", rank)
    known = Known(drawn(60, 4, 0), drawn(60, 2, 1), drawn(60, 3, 5))
    y = drawn(60, 1, 2)[:, 0]
    found = fitted(known, y)
    assert found.root.shape == (60, rank)
    whole = kernel_of(alike(known, known), found.amplitudes, found.lengths)
    exact = torch.linalg.inv(whole + found.noise * torch.eye(60).double())
    new = Known(drawn(9, 4, 3), drawn(9, 2, 4), drawn(9, 3, 6))
    near = kernel_of(alike(new, known), found.amplitudes, found.lengths)
    known_part = (near @ found.root.double()).square().sum(1)
    all_of_it = (near @ exact * near).sum(1)
    assert bool((known_part <= all_of_it * (1 + 1e-4)).all())
    if rank == 60:
        torch.testing.assert_close(known_part, all_of_it, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("n", [8, 200])
def test_main_components(n):
    """Of fewer molecules than moments and of more; distances stay what they are."""
    hidden = drawn(n, 3, 0) @ drawn(3, 40, 1)
    found = main_components(hidden)
    before, after = (torch.cdist(x, x) for x in (hidden.double(), (hidden @ found).double()))
    assert found.shape == (40, 3)
    torch.testing.assert_close(found.T @ found, torch.eye(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(main_components(hidden), found)
    assert bool((found.gather(0, found.abs().argmax(0, keepdim=True)) > 0).all())
