import copy
import csv

import pytest
import torch
from torch import nn

from molgeo.models.dimenet_pp import DimeNetPlusPlus
from molgeo.predictor.checkpoint import load
from molgeo.training.module import PropertyTraining
from molgeo.training.optimisation import MuonAndAdamW, optimiser_of
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


def test_steps_are_those_of_torchs_optimisers(layers):
    """Each part's parameters move as under its optimiser alone."""
    torch.manual_seed(0)
    inputs = torch.randn(50, 6)
    twin = nn.Sequential(
        nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 1)
    )
    twin.load_state_dict(layers.state_dict())
    ours = MuonAndAdamW(layers, adamw())
    muon = torch.optim.Muon(
        [twin[2].weight], lr=1e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
    )
    rest = torch.optim.AdamW([p for p in twin.parameters() if p is not twin[2].weight], **adamw())
    for _ in range(3):
        a_step(layers, ours, inputs)
        for optimiser in (muon, rest):
            optimiser.zero_grad()
        twin(inputs).square().mean().backward()
        for optimiser in (muon, rest):
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
