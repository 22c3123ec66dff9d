"""A run ends at its first NaN or infinity, and what it has saved is from before."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from no_waiting import no_waiting

from molgeo.data.datamodule import FlatDataModule
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, read_header
from molgeo.training import finite
from molgeo.training.finite import Finite, NotFiniteError
from molgeo.training.forces import ForceConfig
from molgeo.training.module import PropertyTraining
from molgeo.training.optimisation import schedule_of
from molgeo.training.qm9 import QM9Config
from molgeo.training.run import train
from molgeo.training.task import task_of

from .test_start import ETHANOL


@pytest.fixture(params=["each step", "now and then"])
def looks(request, monkeypatch):
    """As on a CPU, and as on a device that is asked every seven steps."""
    if request.param == "now and then":
        monkeypatch.setattr(Finite, "_looks_at_each", lambda self, trainer: False)
        monkeypatch.setattr(finite, "EVERY", 7)
    return request.param


def with_bad_row(part, change):
    """A data module's ``setup`` that makes one row of a part bad."""
    original = FlatDataModule.setup

    def setup(self, stage=None):
        if hasattr(self, "molecules"):
            return
        original(self, stage)
        row = getattr(self.parts, part)[3]
        setup.idx = int(self.molecules.idx[row])
        self.molecules = change(self.molecules, int(row))

    return setup


def infinite_label(molecules, row):
    y = molecules.y.clone()
    y[row] = 1e300  # finite in float64, infinite for the network
    return dataclasses.replace(molecules, y=y)


def infinite_force(molecules, row):
    force = molecules.force.clone()
    force[int(molecules.ptr[row])] = 1e300
    return dataclasses.replace(molecules, force=force)


def atoms_on_atoms(molecules, row):
    pos = molecules.pos.clone()
    pos[int(molecules.ptr[row]) + 1] = pos[int(molecules.ptr[row])]
    return dataclasses.replace(molecules, pos=pos)


def explode_at(step):
    """A training step whose loss becomes NaN by the weights."""
    original = PropertyTraining.training_step

    def training_step(self, batch, batch_idx):
        if self.trainer.global_step + 1 == step:
            with torch.no_grad():
                next(self.predictor.heads.parameters()).fill_(torch.nan)
        return original(self, batch, batch_idx)

    return training_step


@pytest.mark.parametrize("step", [5, 9, 16])
def test_states_are_those_before(tiny, tmp_path, monkeypatch, looks, step):
    monkeypatch.setattr(PropertyTraining, "training_step", explode_at(step))
    run = tmp_path / "run"
    with pytest.raises(
        NotFiniteError, match=rf"stopped at step {step}, learning rate \S+: the loss is"
    ):
        train(tiny(max_epochs=4, save_every_steps=4))
    last = torch.load(run / "last.ckpt", weights_only=True)
    assert last["global_step"] == {5: 4, 9: 8, 16: 16 - 4}[step]
    for part in ("state_dict", "current_model_state"):
        for name, tensor in last[part].items():
            assert name.endswith("atom_reference") or tensor.isfinite().all(), name
    model = load(run / "schnet-qm9.safetensors")  # a whole file, its own test passed
    assert model.header.interrupted
    assert model.header.steps == {5: 4, 9: 6, 16: 12}[step]


def test_the_command_ends_with_one_line(tiny, tmp_path, monkeypatch, capsys, small_data):
    from molgeo.cli import program as cli

    monkeypatch.setattr(PropertyTraining, "training_step", explode_at(8))
    words = [
        "train",
        "--data",
        "qm9",
        "--data_dir",
        str(small_data),
        "--run_dir",
        str(tmp_path / "run"),
    ]
    words += ["--backbone", "{n_features: 16, n_filters: 16, n_blocks: 1, n_gaussians: 8}"]
    words += ["--head_features", "8", "--batch_size", "8", "--max_epochs", "3", "--threads", "1"]
    words += ["--accelerator", "cpu", "--warmup_steps", "0", "--matmul_precision", "medium"]
    assert cli.main(words) == 1
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("molgeo:")]
    assert "stopped at step 8, learning rate 0.000" in line
    for cure in ("a learning_rate smaller than 0.001", "matmul_precision highest", "rows"):
        assert cure in line
    assert "schnet-qm9.safetensors holds the best weights before" in line


def test_a_rate_that_explodes(tiny, tmp_path, looks):
    with pytest.raises(
        NotFiniteError, match=r"learning rate .*e\+.* try a learning_rate smaller than"
    ):
        train(tiny(learning_rate=1e12, max_epochs=30, clip_norm=0.0))


def test_nothing_was_kept(tiny, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(PropertyTraining, "training_step", explode_at(2))
        with pytest.raises(NotFiniteError, match="no weights were kept"):
            train(tiny())
    assert not list((tmp_path / "run").glob("*.ckpt"))
    train(tiny(max_epochs=1))  # the folder holds no run, so that another may begin there


@pytest.fixture
def no_references(monkeypatch):
    """The fit of references would take the number for a label, and all others for noise."""
    monkeypatch.setattr("molgeo.training.start.fit_references", lambda *_: None)


def test_a_bad_row_is_named(tiny, monkeypatch, no_references):
    setup = with_bad_row("train", infinite_label)
    monkeypatch.setattr("molgeo.data.qm9.datamodule.QM9DataModule.setup", setup)
    with pytest.raises(NotFiniteError) as error:
        train(tiny(max_epochs=1))
    assert f"look at molecule {setup.idx} of the data" in str(error.value)


def test_a_bad_row_among_forces_is_named(tiny_run, monkeypatch, no_references):
    setup = with_bad_row("train", infinite_force)
    monkeypatch.setattr("molgeo.data.forces.datamodule.ForceDataModule.setup", setup)
    about = {"data_name": "e", "data_file": [str(ETHANOL)], "energy_unit": "kcal/mol"}
    with pytest.raises(NotFiniteError) as error:
        train(ForceConfig(**tiny_run, **about))
    assert f"look at molecule {setup.idx} of the data" in str(error.value)


def test_atoms_in_one_place_are_refused_before_the_run(tiny, tmp_path, monkeypatch):
    setup = with_bad_row("train", atoms_on_atoms)
    monkeypatch.setattr("molgeo.data.qm9.datamodule.QM9DataModule.setup", setup)
    with pytest.raises(ValueError, match=r"two atoms are less than 0\.01 Å apart") as error:
        train(tiny(max_epochs=1))
    assert f"in molecule {setup.idx}" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_bad_validation(tiny, tmp_path, monkeypatch):
    setup = with_bad_row("validation", infinite_label)
    monkeypatch.setattr("molgeo.data.qm9.datamodule.QM9DataModule.setup", setup)
    with pytest.raises(NotFiniteError, match=r"step 6, .*: the validation loss is inf") as error:
        train(tiny(max_epochs=3, save_every_steps=4))
    assert f"look at molecule {setup.idx} of the data" in str(error.value)
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    assert not (tmp_path / "run" / "best.ckpt").exists()


def test_what_is_finite_is_left_alone(tiny, tmp_path, monkeypatch):
    """To the last bit the run that nobody looks at."""
    watched = train(tiny())
    monkeypatch.setattr("molgeo.training.run.Finite", lambda config: finite.Callback())
    alone = train(tiny(run_dir=str(tmp_path / "alone")))
    for a, b in zip(load(watched).parameters(), load(alone).parameters(), strict=True):
        assert torch.equal(a, b)
    assert read_header(watched).validation_loss == read_header(alone).validation_loss


def test_what_replayed_steps_leave_is_looked_at_now_and_then(monkeypatch):
    """Nothing is read in between, and the first bad step is the one that is named."""
    monkeypatch.setattr(finite, "EVERY", 7)
    model = torch.nn.Linear(1, 1)
    config = QM9Config(learning_rate=2e-3, warmup_steps=10)
    schedule = schedule_of(torch.optim.SGD(model.parameters(), 2e-3), config, 100)
    trainer = SimpleNamespace(
        global_step=0,
        strategy=SimpleNamespace(reduce_boolean_decision=lambda here, all: here),
        lr_scheduler_configs=[SimpleNamespace(scheduler=schedule)],
    )
    watch = Finite(config)
    norms = {4: torch.inf, 5: torch.nan}
    outputs = [
        {"loss": torch.tensor(1.0), "gradient_norm": torch.tensor(norms.get(step, 1.0))}
        for step in range(1, 8)
    ]
    with no_waiting():
        for trainer.global_step, output in enumerate(outputs[:6], start=1):
            watch.on_train_batch_end(trainer, model, output, None, 0)
    trainer.global_step = 7
    with pytest.raises(
        NotFiniteError, match=r"at step 4, learning rate 0\.0008: the gradient is inf"
    ):
        watch.on_train_batch_end(trainer, model, outputs[6], None, 0)


def test_single_molecules_sum_to_the_batch(tiny_run):
    about = {"data_name": "e", "data_file": [str(ETHANOL)], "energy_unit": "kcal/mol"}
    config = ForceConfig(**tiny_run, **about)
    task = task_of(config)
    data = task.data
    data.setup()
    torch.manual_seed(0)
    module = task.module(Predictor("schnet", config.backbone, config.learned, 8))
    batch = data.molecules.batch(torch.tensor([3, 17, 5]))
    whole = module.losses(batch)["train_loss"].detach()
    parts = [module.losses(batch.molecule(m))["train_loss"].detach() for m in range(3)]
    assert float(torch.stack(parts).mean()) == pytest.approx(float(whole), rel=1e-5)
