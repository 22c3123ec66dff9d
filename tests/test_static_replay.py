"""What stands in for a CUDA graph does what one does."""

import pytest
import torch
from static_replay import NotCapturedError, StaticReplay
from torch import nn


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(5)


def test_replay_follows_its_inputs():
    """Views, lists of tensors, results in place and in given tensors."""

    def function(x, into):
        rows = x.view(4, 3).t()
        parts = torch._foreach_mul(list(rows.split(1)), 2.0)
        total = torch.cat(parts).sum(0)
        total.add_(1.0)[0] = 7.0
        torch.exp(total, out=into)
        return total, into.max(0).values

    x, into = torch.randn(12), torch.empty(4)
    with StaticReplay() as graph:
        total, largest = function(x, into)
    x.copy_(torch.randn(12))
    graph.replay()
    expected, expected_into = torch.empty(0), torch.empty(4)
    expected, expected_largest = function(x, expected_into)
    assert torch.equal(total, expected)
    assert torch.equal(into, expected_into)
    assert torch.equal(largest, expected_largest)


def test_python_is_not_run_again():
    """A number of Python stays, one in a tensor does not."""
    calls = []

    def function(x, count):
        calls.append(1)
        count.add_(1)
        return x * len(calls), x * count

    x, count = torch.ones(1), torch.zeros(())
    with StaticReplay() as graph:
        by_python, by_device = function(x, count)
    for _ in range(3):
        graph.replay()
    assert by_python == 1
    assert by_device == 4


def test_second_derivatives_are_replayed():
    def function(x):
        force = torch.autograd.grad(x.sin().square().sum(), x, create_graph=True)[0]
        return torch.autograd.grad(force.square().sum(), x)[0]

    x = torch.randn(5, requires_grad=True)
    with StaticReplay() as graph:
        result = function(x)
    with torch.no_grad():
        x.copy_(torch.randn(5))
    graph.replay()
    assert torch.equal(result, function(x))


@pytest.mark.parametrize("inference", [False, True])
def test_what_was_recorded_without_derivatives(inference):
    x = torch.randn(5)
    with torch.inference_mode(inference), StaticReplay() as graph:
        y = (x * 2).add_(1)
    x.fill_(3.0)
    graph.replay()
    assert torch.equal(y, torch.full((5,), 7.0))


@pytest.mark.parametrize("to_none", [False, True], ids=["added to", "made anew"])
@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_steps_of_training_are_replayed(to_none, optimizer):
    """Gradients that autograd keeps or adds to, the optimiser's state, its count of steps."""
    options = {"AdamW": {"fused": True}, "SGD": {"momentum": 0.9, "foreach": True}}[optimizer]
    rates = [torch.zeros(()) if optimizer == "AdamW" else 0.1 for _ in range(2)]

    def trained(rate):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(3, 8), nn.SiLU(), nn.Linear(8, 1))
        made = getattr(torch.optim, optimizer)
        optimiser = made(model.parameters(), lr=rate, **options)
        x = torch.ones(6, 3)

        def step():
            optimiser.zero_grad(to_none)
            model(x).square().mean().backward()
            optimiser.step()

        return model, x, step

    (model, x, step), (other, other_x, other_step) = map(trained, rates)
    step()  # makes the state
    other_step()
    replay = None
    for number in range(5):
        batch = torch.randn(6, 3)
        for inputs, rate in zip((x, other_x), rates, strict=True):
            inputs.copy_(batch)
            if optimizer == "AdamW":
                rate.fill_(0.1 / (1 + number))
        other_step()
        if replay is None:
            replay = StaticReplay.capture(step)
        else:
            replay()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x + torch.tensor([1.0, 2.0, 3.0]),
        lambda x: x.long().bincount(minlength=3),
        lambda x: x.unique(),
    ],
)
def test_what_no_graph_holds_is_refused(function):
    with pytest.raises(NotCapturedError, match="aten"), StaticReplay():
        function(torch.ones(3))


def test_elements_are_set_by_a_mask():
    x = torch.randn(6)
    with StaticReplay() as graph:
        y = x.clone()
        y[x > 0] = 0.0
    x.neg_()
    graph.replay()
    assert torch.equal(y, x.clamp(max=0.0))


def test_casts_of_mixed_precision_are_replayed_and_no_others():
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    with StaticReplay() as graph:
        with torch.autocast("cpu", torch.bfloat16):
            lower = x @ y
        exact = x @ y
    x.copy_(torch.randn(3, 3))
    with torch.autocast("cpu", torch.bfloat16):
        graph.replay()
        expected = x @ y
    assert torch.equal(lower, expected)
    assert torch.equal(exact, x @ y)
