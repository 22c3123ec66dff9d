import copy
import csv

import pytest
import torch
from no_waiting import no_waiting
from static_replay import StaticReplay
from torch import nn

from molgeo.models.dimenet_pp import DimeNetPlusPlus
from molgeo.predictor.checkpoint import load
from molgeo.training import muon
from molgeo.training.module import PropertyTraining
from molgeo.training.muon import Muon
from molgeo.training.optimisation import MuonAndAdamW, move_averages, optimiser_of, schedule_of
from molgeo.training.qm9 import QM9Config
from molgeo.training.run import train


@pytest.fixture
def layers():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 1)
    )


def a_step(model, optimiser, inputs):
    optimiser.zero_grad()
    model(inputs).square().mean().backward()
    optimiser.step()


def adamw(**fields):
    return {"lr": 1e-2, "weight_decay": 0.1, "amsgrad": False, "fused": True, **fields}


def test_steps_are_those_of_both_optimisers(layers):
    """Each part's parameters move as under its optimiser alone."""
    torch.manual_seed(0)
    inputs = torch.randn(50, 6)
    twin = nn.Sequential(
        nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 1)
    )
    twin.load_state_dict(layers.state_dict())
    ours = MuonAndAdamW(layers, adamw())
    of_matrices = Muon([twin[2].weight], 1e-2, 0.1)  # which tests/training/test_muon.py compares
    rest = torch.optim.AdamW([p for p in twin.parameters() if p is not twin[2].weight], **adamw())
    for _ in range(3):
        a_step(layers, ours, inputs)
        for optimiser in (of_matrices, rest):
            optimiser.zero_grad()
        twin(inputs).square().mean().backward()
        for optimiser in (of_matrices, rest):
            optimiser.step()
    for a, b in zip(layers.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_who_takes_what():
    """Muon: wide matrices of dense layers. Never embeddings, biases or narrow bases."""
    model = DimeNetPlusPlus(hidden=32, int_emb=16, out_emb=32, n_blocks=1)
    muon, rest = MuonAndAdamW(model, adamw()).param_groups
    of = {id(p): name for name, p in model.named_parameters()}
    assert {id(p) for group in (muon, rest) for p in group["params"]} == set(of)
    taken = {of[id(p)] for p in muon["params"]}
    assert {"embedding.dense.weight", "interactions.0.after_skip.0.dense1.weight"} <= taken
    assert not {"embedding.rbf.weight", "embedding.elements.weight"} & taken
    names = {of[id(p)] for p in rest["params"]}
    assert "embedding.elements.weight" in names
    assert any(name.endswith("bias") for name in names)
    assert len(muon["params"]) > 5


def test_a_schedule_reaches_both_parts_also_after_loading(layers):
    optimiser = MuonAndAdamW(layers, adamw())
    a_step(layers, optimiser, torch.ones(2, 6))
    again = MuonAndAdamW(layers, adamw())
    again.load_state_dict(optimiser.state_dict())
    schedule = torch.optim.lr_scheduler.LambdaLR(again, lambda step: 0.5**step)
    a_step(layers, again, torch.ones(2, 6))
    schedule.step()
    assert [g["lr"] for part in again._parts for g in part.param_groups] == [5e-3, 5e-3]


def test_a_loaded_state_goes_on_as_before(layers):
    torch.manual_seed(0)
    inputs = torch.randn(4, 20, 6)
    optimiser = MuonAndAdamW(layers, adamw())
    a_step(layers, optimiser, inputs[0])
    twin = nn.Sequential(
        nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 1)
    )
    twin.load_state_dict(layers.state_dict())
    other = MuonAndAdamW(twin, adamw())
    other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for batch in inputs[1:]:
        a_step(layers, optimiser, batch)
        a_step(twin, other, batch)
    for a, b in zip(layers.parameters(), twin.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_model_without_matrices_or_of_nothing_else():
    narrow, bare = nn.Linear(2, 2), nn.Linear(32, 32, bias=False)
    assert [type(part).__name__ for part in MuonAndAdamW(narrow, adamw())._parts] == ["AdamW"]
    assert [type(part).__name__ for part in MuonAndAdamW(bare, adamw())._parts] == ["Muon"]


def test_a_closure_gives_its_loss(layers):
    optimiser = MuonAndAdamW(layers, adamw())

    def closure():
        optimiser.zero_grad()
        loss = layers(torch.ones(1, 6)).sum()
        loss.backward()
        return loss

    before = layers[2].weight.clone()
    assert optimiser.step(closure).shape == ()
    assert not torch.equal(layers[2].weight, before)


def test_adamw_is_torchs_own(layers):
    assert type(optimiser_of(layers, QM9Config())) is torch.optim.AdamW


@pytest.fixture(params=["adamw", "muon"])
def config(request, monkeypatch):
    # bfloat16 makes a difference of the last digit one of its own last digit.
    monkeypatch.setattr(muon, "factor_dtype", lambda device: torch.float32)
    return QM9Config(
        optimizer=request.param, learning_rate=1e-2, weight_decay=0.1,
        warmup_steps=3, schedule="exponential", decay_steps=5, decay_rate=0.3,
    )  # fmt: skip


def run(model, optimiser, schedule, inputs):
    for batch in inputs:
        a_step(model, optimiser, batch)
        schedule.step()


def test_replayed_steps_are_the_same_steps(layers, config):
    """With rates and counts that are tensors, through warm-up and decay."""
    inputs = torch.randn(8, 20, 6, generator=torch.Generator().manual_seed(0))
    twin = copy.deepcopy(layers)
    rates = []
    for model, replayed in ((layers, False), (twin, True)):
        optimiser = optimiser_of(model, config, replayed)
        schedule = schedule_of(optimiser, config, 100)
        run(model, optimiser, schedule, inputs)
        rates.append([float(group["lr"]) for group in optimiser.param_groups])
        assert all(isinstance(g["lr"], torch.Tensor) == replayed for g in optimiser.param_groups)
        assert schedule.base_lrs == [1e-2] * len(optimiser.param_groups)
        # Numbers, so that a step does no work on a card, and a state has no rates of float32.
        assert {type(rate) for rate in schedule.state_dict()["base_lrs"]} == {float}
    assert rates[0] == pytest.approx(rates[1])
    assert rates[0][0] == pytest.approx(1e-2 * 0.3 ** (5 / 5))
    for a, b in zip(layers.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.mark.parametrize("replayed", [False, True])
def test_states_of_replayed_runs_and_others_load_alike(layers, config, replayed):
    """A run may be resumed on another machine; what was a number is one again."""
    inputs = torch.randn(6, 20, 6, generator=torch.Generator().manual_seed(0))
    first = optimiser_of(layers, config, not replayed)
    schedule = schedule_of(first, config, 100)
    run(layers, first, schedule, inputs[:3])
    twin = copy.deepcopy(layers)
    second = optimiser_of(twin, config, replayed)
    later = schedule_of(second, config, 100)
    form = [dict(group, params=None) for group in second.param_groups]
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    later.load_state_dict(copy.deepcopy(schedule.state_dict()))
    for group, own in zip(second.param_groups, form, strict=True):
        assert type(group["lr"]) is type(own["lr"])
        assert group.get("capturable") == own.get("capturable")
        assert float(group["lr"]) == pytest.approx(1e-2)
    run(layers, first, schedule, inputs[3:])
    run(twin, second, later, inputs[3:])
    for a, b in zip(layers.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_a_recorded_step_replays_with_new_gradients_and_the_present_rate(layers, config):
    """Nothing in it waits for a device, or is a number of the step that was recorded."""
    inputs = torch.randn(8, 20, 6, generator=torch.Generator().manual_seed(0))
    twin = copy.deepcopy(layers)
    optimiser = optimiser_of(layers, config, replayed=True)
    schedule = schedule_of(optimiser, config, 100)
    run(layers, optimiser, schedule, inputs[:2])
    eager = optimiser_of(twin, config, replayed=True)
    run(twin, eager, schedule_of(eager, config, 100), inputs)
    static, averages = inputs[2].clone(), [p.detach().clone() for p in layers.parameters()]
    count = torch.tensor(1)

    def step():
        optimiser.zero_grad(set_to_none=False)
        layers(static).square().mean().backward()
        optimiser.step()
        move_averages(averages, list(layers.parameters()), count, 0.9)
        count.add_(1)

    with no_waiting():
        replay = StaticReplay.capture(step)
        schedule.step()
    for batch in inputs[3:]:
        static.copy_(batch)
        replay()
        schedule.step()
    assert count == 7
    for a, b, average in zip(layers.parameters(), twin.parameters(), averages, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
        assert 0 < (a - average).detach().abs().max() < 0.1


class Killed(BaseException):
    """In place of a signal."""


def test_a_run_with_muon_learns_and_resumes_to_the_same_weights(tiny, tmp_path, monkeypatch):
    whole = train(tiny(run_dir=str(tmp_path / "whole"), optimizer="muon", max_epochs=3))
    config = tiny(run_dir=str(tmp_path / "parts"), optimizer="muon", max_epochs=3)
    step = PropertyTraining.training_step

    def killed(self, batch, batch_idx):
        if self.global_step == 10:
            raise Killed
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, "training_step", killed)
        with pytest.raises(Killed):
            train(config)
    resumed = train(config, resume=True)
    for a, b in zip(load(whole).parameters(), load(resumed).parameters(), strict=True):
        assert torch.equal(a, b)
    with (tmp_path / "whole" / "log" / "metrics.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]
    assert losses[-1] < losses[0]
