"""Captured potentials where tests compute: as CUDA graphs on a card, and it takes no ASE."""

import pytest
import torch
from no_waiting import no_waiting
from small_models import every_model, small
from static_replay import StaticReplay

from molgeo.graph import radius_graph
from molgeo.runtime.cuda_graphs import CudaGraphs
from molgeo.simulation import replay
from molgeo.simulation.replay import Replayed
from molgeo.testing.case import MOLECULES, atoms_of, collated

NAMES = [*MOLECULES]


@pytest.fixture(autouse=True)
def made(device, monkeypatch):
    """Captures, each of which is noted."""
    calls = []

    def capture_on(model_device):
        assert model_device.type == device.type
        capture = CudaGraphs(model_device) if device.type == "cuda" else StaticReplay.capture

        def noted(function):
            calls.append(function)
            return capture(function)

        return noted

    monkeypatch.setattr(replay, "capture_on", capture_on)
    return calls


def inputs(names, cutoff, device):
    z, pos, batch = (x.to(device) for x in collated([atoms_of(name) for name in names]))
    pos = pos.float()
    return z, pos, radius_graph(pos, cutoff, batch)


def assert_alike(replayed, model, z, pos, graph):
    found, expected = (each.potential(z, pos, graph) for each in (replayed, model))
    for name, value in expected._asdict().items():
        if value is not None:
            scale = 1.0 + float(value.abs().max())
            torch.testing.assert_close(
                getattr(found, name), value, rtol=0, atol=1e-5 * scale, equal_nan=True
            )


@every_model
def test_replays_are_evaluations(name, device, made):
    """Of moved atoms, other graphs, other atoms; after a second capture for more of them too."""
    model = small(name, device).predictor().float().eval().requires_grad_(False)
    replayed = Replayed(model, replay=True)
    for names, n in ((NAMES[:4], 1), (NAMES[1:4], 1), (NAMES, 2), (NAMES[3:], 2)):
        for cutoff in (3.0, 3.2):
            z, pos, graph = inputs(names, cutoff, device)
            for _ in range(2):
                assert_alike(replayed, model, z, pos, graph)
                pos = pos + 0.01 * pos.sin()
        assert len(made) == n
        replayed.forget()


def test_several_models_take_turns(device, made):
    """Each with captures in memory of its own."""
    models = [
        small(name, device).predictor().float().requires_grad_(False)
        for name in ("schnet", "spectrum_net")
    ]
    replayed = [Replayed(model, replay=True) for model in models]
    z, pos, graph = inputs(NAMES, 3.0, device)
    for _ in range(3):
        for each, model in zip(replayed, models, strict=True):
            assert_alike(each, model, z, pos, graph)
        pos = pos + 0.01 * pos.sin()
    assert len(made) == 2


def test_a_replay_does_not_wait(device):
    model = small("spectrum_net", device).predictor().float().requires_grad_(False)
    replayed = Replayed(model, replay=True)
    z, pos, graph = inputs(NAMES, 3.0, device)
    replayed.potential(z, pos, graph)
    with no_waiting(device):
        replayed.potential(z, pos + 0.01, graph)
