"""Whole steps: a replay of one makes the next ones too, and nothing of Python is left in it."""

import copy
import dataclasses
import gc
import sys
import weakref
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from no_waiting import no_waiting
from small_models import small
from static_replay import NotCapturedError, StaticReplay
from torch.optim.swa_utils import AveragedModel

from molgeo import models
from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import named
from molgeo.datasets import ForceDataModule
from molgeo.graph.padding import Capacity, load_of
from molgeo.ops import recompute
from molgeo.predictor import Predictor
from molgeo.runtime.cuda_graphs import CudaGraphs
from molgeo.runtime.errors import SettingError
from molgeo.training.forces import ForceConfig, ForceTraining
from molgeo.training.module import PropertyTraining
from molgeo.training.optimisation import optimiser_of, schedule_of
from molgeo.training.qm9 import QM9Config
from molgeo.training.references import fit_references
from molgeo.training.whole_step import WholeStep, averages_of

GFN2 = Path(__file__).parents[1] / "fixtures" / "forces" / "gfn2.npz"
CUTOFF = 4.0
MOLECULES = 6
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sets(small_data):
    forces = ForceDataModule(GFN2)
    forces.setup()
    found = {"forces": forces.molecules, "properties": QM9(small_data / "qm9").molecules}
    return {k: v.with_neighbours(CUTOFF, torch.arange(len(v))) for k, v in found.items()}


@pytest.fixture(params=["properties", "forces"])
def molecules(request, sets):
    return sets[request.param]


def captured(function):
    """As a CUDA graph is: after a call that makes what is kept."""
    function()
    return StaticReplay.capture(function)


class Run:
    """A model with its whole step, and all that a step changes."""

    def __init__(
        self, molecules, capture=None, model="spectrum_net", device="cpu", more=(), **fields
    ):
        torch.manual_seed(0)
        is_forces = molecules.force is not None
        properties = [ENERGY] if is_forces else named(molecules.properties)
        backbone = {**small(model, cutoff=CUTOFF).fields, **dict.fromkeys(more, True)}
        predictor = Predictor(model, backbone, properties, 16, repulsion=bool(more))
        fit_references(predictor, molecules, torch.arange(len(molecules)), {})
        shared = {"learning_rate": 5e-3, "warmup_steps": 3, "clip_norm": 0.1, "replay": True}
        shared |= fields
        config = ForceConfig(data_file=["x"], **shared) if is_forces else QM9Config(**shared)
        self.module = (ForceTraining if is_forces else PropertyTraining)(predictor, config)
        self.module.to(device)
        self.optimizer = optimiser_of(predictor, config, replayed=True)
        self.schedule = schedule_of(self.optimizer, config, 10)
        self.averages = AveragedModel(self.module, device=device)
        self.step = WholeStep(self.module, self.optimizer, self.averages, config, capture)

    def __call__(self, batch):
        losses = {name: float(value) for name, value in self.step(batch).items()}
        self.schedule.step()
        return {**losses, "norm": float(self.step.gradient_norm)}

    def state(self):
        return [x.detach().clone() for x in self.step._state()]


def batches(molecules, n):
    """Batches of one capacity, the same ones each time."""
    generator = torch.Generator().manual_seed(7)
    chosen = [torch.randperm(len(molecules), generator=generator)[:MOLECULES] for _ in range(n)]
    loads = [load_of(molecules.batch(one).graph(CUTOFF).degree, 4) for one in chosen]
    most = [max(load[k] for load in loads) for k in range(len(loads[0]))]
    rest = [most[0] + 8, most[1] + 64, *most[2:]]
    capacity = Capacity(tuple(int(x) for x in rest))
    return [molecules.batch(one, capacity) for one in chosen]


def assert_close(one, other, tolerance=1e-6):
    for a, b in zip(one.state(), other.state(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def on(device):
    """Captures of a device, or what stands for them."""
    return CudaGraphs(device) if device.type == "cuda" else captured


def alike(one, other, batch):
    """Both make the same step.

    A card adds in another order each time, and of gradients that are rounding alone AdamW makes
    steps like others. So there single steps are compared, all their moves as one vector.
    """
    before, is_card = other.state(), batch.pos.device.type == "cuda"
    found, expected = one(batch), other(batch)
    assert found == pytest.approx(expected, rel=1e-4 if is_card else 1e-6)
    assert expected["norm"] > 0.1  # so that it is clipped
    if not is_card:
        assert_close(one, other)
        return
    apart, moves = [], []
    for a, b, start in zip(one.state(), other.state(), before, strict=False):
        if b.dim():
            apart.append((a - b).flatten().double())
            moves.append((b - start).flatten().double())
    assert torch.cat(apart).norm() < 0.1 * torch.cat(moves).norm()
    with torch.no_grad():
        for a, b in zip(one.step._state(), other.step._state(), strict=True):
            a.copy_(b)


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        *[(name, {"optimizer": "muon"}) for name in models.names()],
        ("spectrum_net", {"optimizer": "adamw", "amsgrad": True}),
        ("spectrum_net", {"optimizer": "muon", "clip_norm": 0.0}),
    ],
)
def test_replays_are_the_next_steps(molecules, model, fields, device):
    """Other molecules, learning rates, numbers of steps, decays of the average; clipping too."""
    replayed, computed = (Run(molecules, c, model, device, **fields) for c in (on(device), None))
    rates = set()
    for batch in batches(molecules, 6):
        rates.add(float(replayed.optimizer.param_groups[0]["lr"]))
        alike(replayed, computed, batch.to(device))
    assert len(rates) > 3
    assert int(replayed.averages.n_averaged) == 6
    assert len(replayed.step._captured) == 1


def test_nothing_of_before_is_in_the_graph_that_is_captured(molecules):
    """A node that adds up gradients keeps the stream it was made on, which no capture may touch."""

    def kept(weight):
        weight.view_as(weight).grad_fn.next_functions[0][0].metadata["seen"] = True
        return "seen" in weight.view_as(weight).grad_fn.next_functions[0][0].metadata

    found = []

    def capture(function):
        found.extend(name for name, weight in run.module.named_parameters() if kept(weight))
        return captured(function)

    run = Run(molecules, capture)
    run(batches(molecules, 1)[0])
    assert found == []


def test_blocks_that_are_computed_again_are_replayed(sets, monkeypatch, device):
    """The second forward pass is a part of the capture, with the weights of its own step."""
    capture, tolerance = on(device), 1e-3 if device.type == "cuda" else 1e-6
    kept = Run(sets["forces"], None, "dimenet_pp", device)
    calls, checkpoint = [], recompute.checkpointing.checkpoint
    monkeypatch.setattr(
        recompute.checkpointing,
        "checkpoint",
        lambda *a, **k: calls.append(1) or checkpoint(*a, **k),
    )
    again = Run(sets["forces"], capture, "dimenet_pp", device)
    for batch in batches(sets["forces"], 3):
        monkeypatch.setattr(recompute, "most_edges", lambda device: 10**9)
        expected = kept(batch.to(device))
        monkeypatch.setattr(recompute, "most_edges", lambda device: 0)
        assert again(batch.to(device)) == pytest.approx(expected, rel=tolerance)
    assert calls
    assert_close(again, kept, tolerance)


def test_a_step_is_what_lightning_makes_of_its_parts(sets):
    """Loss, backward, clipping, optimiser and average, one after the other."""
    molecules = sets["properties"]
    run = Run(molecules)
    module, config = copy.deepcopy(run.module), run.module.config
    optimizer = optimiser_of(module.predictor, config)
    averages = AveragedModel(module)
    for batch in batches(molecules, 4):
        for group in optimizer.param_groups:
            group["lr"] = float(run.optimizer.param_groups[0]["lr"])
        run(batch)
        optimizer.zero_grad()
        module.losses(batch)["train_loss"].backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.clip_norm)
        optimizer.step()
        n = int(averages.n_averaged)
        d = min(config.ema_decay, (1 + n) / (10 + n)) if n else 0.0
        for a, w in zip(averages.module.parameters(), module.parameters(), strict=True):
            a.data.mul_(d).add_(w.data, alpha=1 - d)
        averages.n_averaged += 1
    for ours, theirs in ((run.module, module), (run.averages, averages)):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_capture_moves_nothing(sets):
    """Not a bit of weights, averages and the optimiser's state, of a run that is resumed too."""
    run = Run(sets["properties"], captured, optimizer="muon")
    first, second = batches(sets["properties"], 2)
    before, there = run.state(), run.step._state()
    run.step._captured_step(first, captured)
    assert all(torch.equal(a, b) for a, b in zip(before, there, strict=True))
    made = [x for x in run.step._state() if not any(x is y for y in there)]
    assert made
    assert not any(x.any() for x in made)
    run(first)
    before = run.state()
    run.step._captured_step(second, captured)
    assert all(torch.equal(a, b) for a, b in zip(before, run.state(), strict=True))


def test_several_capacities_and_batches_that_none_holds(sets, device):
    """Captures share memory, and steps between replays take other gradients than theirs."""
    molecules = sets["properties"]
    replayed, computed = (
        Run(molecules, c, device=device, optimizer="muon") for c in (on(device), None)
    )
    one, *_ = batches(molecules, 1)
    other = batches(molecules, 6)[-1]
    unpadded = molecules.batch(torch.arange(5))
    for batch in (one, other, unpadded, other, one, unpadded, one):
        alike(replayed, computed, batch.to(device))
    assert len(replayed.step._captured) == 2


def test_mixed_precision_casts_the_present_weights(sets):
    """Autocast keeps casts, which a replay would take for those of its own weights."""
    molecules = sets["properties"]
    replayed, computed = (Run(molecules, c, optimizer="muon") for c in (captured, None))
    for batch in batches(molecules, 4):
        with torch.autocast("cpu", torch.bfloat16):
            found = replayed(batch)
            assert found == pytest.approx(computed(batch), rel=1e-6)
    assert_close(replayed, computed)


class ACard:
    """What of ``torch.cuda`` makes captures, in memory of the CPU; what it was asked for."""

    def __init__(self, monkeypatch):
        self.asked, self.n_pools = [], 0
        for name in ("graph_pool_handle", "current_stream", "stream", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name), raising=False)
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: self._stream("side"))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=None))

    def graph_pool_handle(self):
        self.n_pools += 1
        return f"pool {self.n_pools}"

    def _stream(self, name):
        waited = self.asked.append
        return SimpleNamespace(name=name, wait_stream=lambda s: waited(f"{name} waits: {s.name}"))

    def current_stream(self, device):
        return self._stream("main")

    @contextmanager
    def stream(self, stream):
        self.asked.append(f"on {stream.name}")
        try:
            yield
        finally:
            self.asked.append(f"off {stream.name}")

    @contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        self.asked.append(f"captures in {pool} on {stream.name}, {capture_error_mode}")
        try:
            with StaticReplay() as recorded:
                yield
        except NotCapturedError:
            # The end of the capture is one more error, and its stream is not left.
            raise RuntimeError("operation failed due to a previous error during capture")  # noqa: B904
        graph.replay = recorded.replay


def test_captures_on_a_card(sets, monkeypatch):
    """Warm-up on a stream of its own, which waits and is waited for; one pool for all captures."""
    card, molecules = ACard(monkeypatch), sets["properties"]
    replayed, computed = (Run(molecules, c, optimizer="muon") for c in (CudaGraphs(CPU), None))
    one, other = batches(molecules, 1)[0], batches(molecules, 6)[-1]
    for batch in (one, other, one, other):
        assert replayed(batch) == pytest.approx(computed(batch), rel=1e-6)
    assert_close(replayed, computed)
    warm_up = ["side waits: main", "on side", "main waits: side"]
    assert card.asked == 2 * [*warm_up, "captures in pool 1 on side, thread_local", "off side"]


def test_a_capture_that_fails_leaves_its_stream_and_says_why(monkeypatch):
    """The next one is in other memory, as PyTorch does not end the use of that."""
    card, x = ACard(monkeypatch), torch.ones(3)
    graphs = CudaGraphs(CPU)
    with pytest.raises(NotCapturedError, match="reads a number of the device"):
        graphs(lambda: x.mul_(float(x[0])))
    assert card.asked[-1] == "off side"
    graphs(lambda: x.mul_(2.0))()
    assert card.asked[-2] == "captures in pool 2 on side, thread_local"


def test_a_warm_up_that_fails_is_waited_for(sets, monkeypatch, capsys):
    """What it has begun may still write when the weights are put back."""
    card, n_calls = ACard(monkeypatch), 0
    run = Run(sets["properties"], CudaGraphs(CPU), replay="auto")
    compute = run.step._compute

    def second_has_no_memory(batch):
        nonlocal n_calls
        n_calls += 1
        compute(batch)
        card.asked.append("computes")
        if n_calls == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run.step, "_compute", second_has_no_memory)
    run(batches(sets["properties"], 1)[0])
    waits = ["side waits: main", "on side", "computes", "computes", "main waits: side"]
    assert card.asked == [*waits, "off side", "computes"]
    assert "no memory" in capsys.readouterr().err


@pytest.mark.parametrize("model", models.names())
def test_nothing_of_a_backward_pass_outlives_it(molecules, model):
    """Its nodes know their stream: one that is left of a step before would break a capture."""

    def node(weight):
        return weight.view_as(weight).grad_fn.next_functions[0][0]

    run = Run(molecules, model=model)
    weights = [*run.module.parameters()]
    gc.disable()  # a cycle would leave it to chance
    try:
        loss = run.module.losses(batches(molecules, 1)[0])["train_loss"]
        for weight in weights:
            node(weight).metadata["mark"] = True
        assert all("mark" in node(weight).metadata for weight in weights)
        loss.backward()
        del loss
        assert not any("mark" in node(weight).metadata for weight in weights)
    finally:
        gc.enable()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_all_of_a_step_is_on_the_device(molecules, monkeypatch, optimizer):
    """A device without memory stands for a card; averages are made before the weights move."""
    callback = averages_of(QM9Config(replay=True))
    run = Run(molecules, optimizer=optimizer)
    module, config = run.module, run.module.config
    callback.setup(None, module, "fit")
    made, *others = batches(molecules, 3)
    run(made)  # what is kept of the CPU is there
    module.to("meta")
    callback.on_fit_start(None, module)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # there is none on it
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)
    monkeypatch.setattr(module.predictor, "_has_free_atoms", lambda: [False] * 20)  # read once
    seen = set()

    def fused(*lists, lr, **_):
        seen.update(x.device.type for some in ([lr], *lists) for x in some)

    monkeypatch.setattr(torch, "_fused_adamw_", fused)  # it knows no such device
    adam = sys.modules["torch.optim.adam"]
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda _: None)
    optimizer = optimiser_of(module.predictor, config)
    for group in optimizer.param_groups:
        group |= {"lr": torch.empty((), device="meta"), "capturable": True}
    callback.on_train_start(SimpleNamespace(optimizers=[optimizer]), module)
    for batch in others:
        module.whole_step(batch.map(lambda x: x.to("meta")))
    seen.update(x.device.type for x in module.whole_step._state())
    assert seen == {"meta"}


@pytest.mark.parametrize("replayed", [False, True])
def test_nothing_waits(molecules, device, replayed):
    run = Run(molecules, on(device) if replayed else None, device=device, optimizer="muon")
    first, second = (batch.to(device) for batch in batches(molecules, 2))
    run(first)
    with no_waiting(device):
        run.step(second)
        run.schedule.step()


def test_a_size_without_memory_is_computed_and_the_others_are_captured(sets, monkeypatch, capsys):
    """Its capture is tried once, and what it held in memory is let go."""
    card, molecules = ACard(monkeypatch), sets["properties"]
    replayed, computed = (
        Run(molecules, c, replay="auto", optimizer="muon") for c in (CudaGraphs(CPU), None)
    )
    least, (*_, other, large) = batches(molecules, 1)[0], batches(molecules, 6)
    larger = molecules.batch(torch.arange(5), Capacity((400, *large.capacity.limits[1:])))
    compute, held = replayed.step._compute, []

    def has_little_memory(batch):
        compute(batch)
        if len(batch.z) > len(least.z):
            activations = torch.ones(3)
            held.append(weakref.ref(activations))
            if card.asked[-1].startswith("captures"):
                raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(replayed.step, "_compute", has_little_memory)
    gc.disable()
    try:
        for batch in (least, large, larger, other, least, large, larger):
            assert replayed(batch) == pytest.approx(computed(batch), rel=1e-6)
            assert not any(one() is not None for one in held)
    finally:
        gc.enable()
    assert_close(replayed, computed)
    assert [made is not None for made in replayed.step._captured.values()] == [True, False, False]
    assert [what.startswith("captures in") for what in card.asked].count(True) == 3
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert f"no memory is left to capture steps of {len(large.z)} atoms; steps of such" in told[0]
    asked = Run(molecules, CudaGraphs(CPU), replay=True)
    monkeypatch.setattr(asked.step, "_compute", has_little_memory)
    with pytest.raises(SettingError, match="try a smaller batch_size"):
        asked(large)


def test_batches_of_fewer_molecules_are_captured_for_themselves(sets, device):
    """Such as the last of a pass, of the capacity of the others."""
    molecules = sets["properties"]
    replayed, computed = (Run(molecules, c, device=device) for c in (on(device), None))
    whole = batches(molecules, 1)[0]
    fewer = molecules.batch(torch.arange(MOLECULES - 2), whole.capacity)
    for batch in (whole, fewer, whole):
        alike(replayed, computed, batch.to(device))
    assert len(replayed.step._captured) == 2


def test_what_cannot_be_captured_is_computed(sets, capsys):
    """With ``auto``; who asks for replays is told that there are none."""

    def fails(function):
        function()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nMore")

    molecules = sets["properties"]
    run, computed = (Run(molecules, c, replay="auto") for c in (fails, None))
    for batch in batches(molecules, 3):
        assert run(batch) == computed(batch)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert "cannot be captured: CUDA error: operation not permitted" in told[0]
    asked = Run(molecules, fails, replay=True)
    before, there = asked.state(), asked.step._state()
    with pytest.raises(SettingError, match="try replay: false"):
        asked(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, there, strict=True))


def test_charges_and_the_repulsion_are_replayed(sets, device):
    molecules = sets["forces"]
    charge = torch.arange(len(molecules)) % 3 - 1
    molecules = dataclasses.replace(molecules, charge=charge)
    given = "spectrum_net", device, ("charges",)
    fields = {"optimizer": "muon", "large_forces": 1.0}
    replayed, computed = (Run(molecules, c, *given, **fields) for c in (on(device), None))
    for batch in batches(molecules, 4):
        alike(replayed, computed, batch.to(device))
    assert len(replayed.step._captured) == 1
    assert replayed.module.predictor.backbone.charge.value.weight.any()
