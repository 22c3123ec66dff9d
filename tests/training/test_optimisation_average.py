"""The moving average of weights."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from no_waiting import no_waiting
from torch import nn
from torch.optim.swa_utils import AveragedModel

from molgeo.training.optimisation import exponential_average, move_averages, warmed_up_decay
from molgeo.training.qm9 import QM9Config
from molgeo.training.whole_step import Averages


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


def test_on_a_card_runs_average_without_waiting():
    """Also those that make no whole steps; gradients that are gathered make no step."""
    weights = torch.randn(9, 4, 3, generator=torch.Generator().manual_seed(0))
    callbacks = [Averages(QM9Config(ema_decay=0.5)) for _ in range(2)]
    models = [nn.Linear(3, 4, bias=False) for _ in callbacks]
    for callback, model, name in zip(callbacks, models, ("cpu", "cuda"), strict=True):
        callback._average_model = AveragedModel(model, multi_avg_fn=exponential_average(0.5))
        model.device = torch.device(name)
    for step, w in enumerate(weights, 1):
        for _ in range(2):
            for callback, model in zip(callbacks, models, strict=True):
                model.weight.data.copy_(w)
                context = no_waiting() if model.device.type == "cuda" else nullcontext()
                with context:
                    callback.on_train_batch_end(SimpleNamespace(global_step=step), model, *[0] * 3)
        ours, theirs = (callback._average_model for callback in callbacks)
        torch.testing.assert_close(ours.module.weight, theirs.module.weight)
        assert int(ours.n_averaged) == int(theirs.n_averaged) == step
