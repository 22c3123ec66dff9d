"""Muon by shapes is torch's Muon."""

import copy

import pytest
import torch
from torch import nn

from molgeo.training import muon
from molgeo.training.muon import Muon, factor_dtype, orthogonal_factors

SHAPES = [(24, 40), (40, 24), (24, 40), (32, 32), (96, 24), (32, 32), (17, 31), (40, 24)]
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def matrices():
    generator = torch.Generator().manual_seed(5)
    return [nn.Parameter(torch.randn(shape, generator=generator) / 5.0) for shape in SHAPES]


def ten_steps(optimiser, weights, seed=7, n=10):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        for p in weights:
            p.grad = torch.randn(p.shape, generator=generator).mul_(1.0 + p.detach().abs())
        optimiser.step()


def torchs(weights, weight_decay, nesterov=True):
    return torch.optim.Muon(
        weights, lr=1e-2, weight_decay=weight_decay, nesterov=nesterov,
        adjust_lr_fn="match_rms_adamw",
    )  # fmt: skip


def moved_alike(ours, theirs, tolerance):
    for a, b, start in zip(ours, theirs, matrices(), strict=True):
        move = (b - start).detach().norm()
        assert (a - b).detach().norm() < tolerance * move
        assert move > 0.01 * start.detach().norm()


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("nesterov", "elements"), [(True, 1), (True, 2000), (False, 1 << 18)])
def test_ten_steps_in_bfloat16_are_torchs(monkeypatch, weight_decay, nesterov, elements):
    """Wide, tall and square matrices, some or all at a time; torch takes one after the other."""
    monkeypatch.setattr(muon, "ELEMENTS", elements)
    monkeypatch.setattr(muon, "factor_dtype", lambda device: torch.bfloat16)
    ours, theirs = matrices(), matrices()
    optimiser = Muon(ours, 1e-2, weight_decay)
    optimiser.param_groups[0]["nesterov"] = nesterov
    ten_steps(optimiser, ours)
    ten_steps(torchs(theirs, weight_decay, nesterov), theirs)
    moved_alike(ours, theirs, 2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ten_steps_in_float32_are_torchs_in_it(monkeypatch, dtype):
    """torch casts to bfloat16 by a method of the tensor, which here does not."""
    monkeypatch.setattr(muon, "factor_dtype", lambda device: dtype)
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda x: x.to(dtype, copy=True))
    ours, theirs = matrices(), matrices()
    ten_steps(Muon(ours, 1e-2, 0.1), ours)
    ten_steps(torchs(theirs, 0.1), theirs)
    moved_alike(ours, theirs, 1e-5)


def test_float32_is_nearer_to_the_exact_iteration_than_bfloat16():
    x = torch.randn(3, 24, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact, *others = (
        orthogonal_factors(x.to(dtype), COEFFICIENTS, 5, 1e-7).double()
        for dtype in (torch.float64, torch.float32, torch.bfloat16)
    )
    errors = [float((other - exact).abs().max()) for other in others]
    assert errors[0] < 1e-4 < errors[1] < 0.1
    singular = torch.linalg.svdvals(exact)
    assert singular.min() > 0.3
    assert singular.max() < 1.3


def test_a_matrix_without_gradient_stays_and_one_of_zeros_moves_nowhere():
    a, b = matrices()[:2]
    before = a.detach().clone(), b.detach().clone()
    b.grad = torch.zeros_like(b)
    optimiser = Muon([a, b], 1e-2, 0.0)
    optimiser.step()
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
    assert set(optimiser.state) == {b}


def test_states_are_torchs_in_both_directions():
    """So a run that began with torch's Muon goes on."""
    ours, theirs = matrices(), matrices()
    one, other = Muon(ours, 1e-2, 0.1), torchs(theirs, 0.1)
    ten_steps(one, ours, n=2)
    ten_steps(other, theirs, n=2)
    crossed = copy.deepcopy(other.state_dict()), copy.deepcopy(one.state_dict())
    one.load_state_dict(crossed[0])
    other.load_state_dict(crossed[1])
    ten_steps(one, ours, seed=8)
    ten_steps(other, theirs, seed=8)
    # Of unlike precisions on a machine whose bfloat16 is slow.
    moved_alike(ours, theirs, 5e-2)


def test_a_rate_that_is_a_tensor_steps_as_a_number_does():
    """And what fills it is what counts."""
    ours, theirs = matrices(), matrices()
    rate = torch.tensor(7.0)
    optimiser = Muon(ours, rate, 0.1)
    rate.fill_(1e-2)
    ten_steps(optimiser, ours)
    ten_steps(Muon(theirs, 1e-2, 0.1), theirs)
    moved_alike(ours, theirs, 1e-5)


@pytest.mark.parametrize(("units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_precision_is_the_machines(monkeypatch, units, dtype):
    capability = (8, 0) if units else (7, 5)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: units)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for name in ("cpu", "cuda"):
        assert factor_dtype.__wrapped__(torch.device(name)) is dtype
