"""The moving average of weights."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from molgeo.training.optimisation import exponential_average, move_averages, warmed_up_decay


def test_decay_warms_up_to_its_end():
    assert warmed_up_decay(0.999, 0) == 0.1
    assert warmed_up_decay(0.999, 1) == 2 / 11
    assert warmed_up_decay(0.999, 8989) < 0.999
    assert warmed_up_decay(0.999, 8991) == 0.999
    assert warmed_up_decay(0.0, 50) == 0.0


def average_of(values, decay):
    model = nn.Linear(1, 1, bias=False)
    average = AveragedModel(model, multi_avg_fn=exponential_average(decay))
    for value in values:
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
    return average.module.weight.item()


def test_average_is_the_recursion():
    expected = 3.0
    for t, w in enumerate([5.0, -1.0, 2.0], start=1):
        d = min(0.3, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * w
    assert average_of([3.0, 5.0, -1.0, 2.0], 0.3) == pytest.approx(expected, rel=1e-6)


def test_short_runs_forget_their_first_weights():
    """With a plain decay of 0.999 nine tenths of the first weights would remain."""
    assert abs(average_of([1000.0] + [1.0] * 100, 0.999) - 1.0) < 0.01


def test_it_goes_on_from_a_saved_state():
    model = nn.Linear(3, 3)
    torch.manual_seed(0)
    weights = torch.randn(20, 3, 3)
    whole = AveragedModel(model, multi_avg_fn=exponential_average(0.9))
    for w in weights[:12]:
        model.weight.data.copy_(w)
        whole.update_parameters(model)
    resumed = AveragedModel(nn.Linear(3, 3), multi_avg_fn=exponential_average(0.9))
    resumed.load_state_dict(whole.state_dict())
    for w in weights[12:]:
        model.weight.data.copy_(w)
        whole.update_parameters(model)
        resumed.update_parameters(model)
    assert torch.equal(whole.module.weight, resumed.module.weight)


def test_the_average_of_a_device_is_the_same():
    """From the first weights on, with the decay as a tensor."""
    weights = torch.randn(15, 4, 3, generator=torch.Generator().manual_seed(0))
    model = nn.Linear(3, 4, bias=False)
    average = AveragedModel(model, multi_avg_fn=exponential_average(0.5))
    there, updates = [torch.zeros(4, 3)], torch.tensor(0)
    for w in weights:
        model.weight.data.copy_(w)
        average.update_parameters(model)
        move_averages(there, [w], updates, 0.5)
        updates += 1
        torch.testing.assert_close(there[0], average.module.weight.detach())
