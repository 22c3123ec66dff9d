"""Runs that start from a force field and rehearse what it knew."""

import numpy as np
import pytest
import torch

from molgeo.data.forces.readers import read_frames, read_structures
from molgeo.evaluation.cards import facts_of
from molgeo.evaluation.forces import evaluate_forces, file_part
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load
from molgeo.properties import Property
from molgeo.runtime.errors import SettingError
from molgeo.training.forces import ForceConfig, ForceTraining
from molgeo.training.rehearsal import FILE, shipped_structures
from molgeo.training.run import train
from molgeo.training.start import _lend_references
from molgeo.training.task import task_of

from .conftest import BACKBONE, TINY
from .test_start import ETHANOL, KCAL, SHIFT

GFN2 = ETHANOL.with_name("gfn2.npz")


class Killed(BaseException):
    """In place of a signal."""


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A model of several molecules, some with nitrogen."""
    folder = tmp_path_factory.mktemp("first")
    about = {"data_file": [str(GFN2)], "data_name": "many", "level_of_theory": "old"}
    more = {"run_dir": str(folder), "max_epochs": 40, "learning_rate": 0.02}
    return train(ForceConfig(**TINY | about | more))


@pytest.fixture
def fields(first, tiny_run, tmp_path):
    """A run on ethanol of another level that starts from it."""
    with np.load(ETHANOL) as file:
        arrays = dict(file)
    offset = sum(SHIFT[z] for z in arrays["nuclear_charges"].tolist())
    for part in ("train", "test"):
        arrays[f"{part}_energies"] = 1.5 * KCAL * arrays[f"{part}_energies"] + offset
        arrays[f"{part}_forces"] = 1.5 * KCAL * arrays[f"{part}_forces"]
    path = tmp_path / "ethanol.npz"
    np.savez(path, **arrays)
    about = {"data_file": [str(path)], "data_name": "ethanol", "level_of_theory": "new"}
    return tiny_run | about | {"start_from": str(first)}


REHEARSAL = {"rehearsal": 0.5, "rehearsal_file": [str(GFN2)]}


def test_what_is_rehearsed_starts_as_the_checkpoint_has_it(fields):
    """Forces and energies, in spite of other atoms' energies, another unit and nitrogen."""
    still = {"learning_rate": 0.0, "max_epochs": 1, "atom_references": {"H": -325.0}}
    model = load(train(ForceConfig(**fields | REHEARSAL | still)))
    errors = model.header.kept.rmse
    assert model.header.kept.n == 3
    assert errors["forces_eV_A"] < 1e-4
    assert errors["energy_eV"] < 1e-3
    own = model.header.metrics
    assert own.rmse["energy_eV"] < 0.5, "and the data's energies are upon the data's references"
    assert not own.by_charge, "data without charges get none from what is rehearsed"
    before = load(fields["start_from"])
    assert float(model.baseline[0, 0, 7]) == float(before.baseline[0, 0, 7])
    assert model.atom_reference.isnan().all(), "as those of the checkpoint are not known"


@pytest.mark.parametrize("theirs", [{}, {1: -10.0, 7: -70.0}, {1: -10.0, 6: -60.0, 8: -80.0}])
def test_references_are_lent_above_the_free_atoms(theirs):
    """Of H, C and O that the data have, of N that they lack, and of F that only they have."""
    energy = (Property("energy", "eV", "sum", "E", is_energy=True),)
    before, after = (Predictor("schnet", BACKBONE, energy, 8) for _ in range(2))
    for z, value in {1: -13.0, 6: -65.0, 7: -72.0, 8: -85.0}.items():
        before.baseline[0, 0, z] = value
    for z, value in theirs.items():
        before.atom_reference[0, z] = value
    own = {1: -11.0, 6: -61.0, 8: -81.0, 9: -91.0}
    for z, value in own.items():
        after.baseline[0, 0, z] = 2 * value
        after.atom_reference[0, z] = value
    _lend_references(after, before, list(energy))
    baseline, free = after.baseline[0, 0], after.atom_reference[0]
    for z in (1, 6, 8):
        above = float(before.baseline[0, 0, z]) - theirs.get(z, own[z])
        assert float(baseline[z]) - own[z] == pytest.approx(above)
        assert float(free[z]) == pytest.approx(own[z] if z in theirs else torch.nan, nan_ok=True)
    assert (float(baseline[7]), float(baseline[9])) == (-72.0, -182.0)
    assert float(free[7]) == pytest.approx(theirs.get(7, torch.nan), nan_ok=True)
    assert float(free[9]) == -91.0


def test_it_keeps_what_plain_training_forgets(fields, tmp_path, capsys):
    runs = {"plain": {}, "kept": REHEARSAL}
    errors, models = {}, {}
    molecules, rows, _ = file_part(GFN2)
    before = load(fields["start_from"])
    for name, more in runs.items():
        capsys.readouterr()
        longer = {"run_dir": str(tmp_path / name), "max_epochs": 6}
        models[name] = model = load(train(ForceConfig(**fields | longer | more)))
        says = "the model will forget molecules unlike the data: of" in capsys.readouterr().err
        assert says == (name == "plain")
        errors[name] = evaluate_forces(model, molecules, rows)["mae"]["forces_eV_A"]
    old = evaluate_forces(before, molecules, rows)["mae"]["forces_eV_A"]
    assert errors["kept"] < 1.2 * old < 1.5 * old < errors["plain"]
    own = {name: model.header.metrics.mae["forces_eV_A"] for name, model in models.items()}
    assert own["kept"] < 1.5 * own["plain"], "and learns the data"


def test_a_model_says_what_it_knows(fields, tmp_path):
    short = {"max_epochs": 1}
    plain = load(train(ForceConfig(**fields | short | {"run_dir": str(tmp_path / "plain")})))
    path = train(ForceConfig(**fields | short | REHEARSAL))
    kept, before = load(path), load(fields["start_from"])
    assert plain.domain.elements == (1, 6, 8)
    assert plain.header.level_of_theory == "new"
    assert kept.domain == plain.domain.joined(before.domain)
    assert kept.domain.elements == (1, 6, 7, 8)
    n = [one.domain.environments.configurations for one in (kept, plain, before)]
    assert n[0] == n[1] + n[2]
    assert kept.header.level_of_theory == "new (ethanol), else old"
    assert kept.header.training["rehearsal"] == 0.5
    assert kept.header.training["rehearsal_file"] == ["gfn2.npz"]
    assert plain.header.kept.n == 0 < kept.header.kept.n
    card = path.with_suffix(".md").read_text()
    assert "Distance from" in card
    facts = facts_of(kept.header)["rehearsed"]
    assert facts.startswith("50% of each batch are structures of other molecules, as schnet-many")
    assert f"moved by {1000 * kept.header.kept.mae['forces_eV_A']:.3g} meV/Å" in facts
    assert "rehearsed" not in facts_of(plain.header)
    assert kept.expected_errors is None, "errors on other molecules cannot be measured"
    config = ForceConfig(**fields | REHEARSAL)
    with pytest.raises(SettingError, match="calibrate: the model knows molecules that it rehears"):
        task_of(config).calibrations(kept)
    assert "Distance from" not in (tmp_path / "plain" / path.name).with_suffix(".md").read_text()


def test_rehearsed_structures_are_open(fields, tmp_path):
    import ase.io
    from ase.build import bulk, molecule

    ase.io.write(tmp_path / "both.extxyz", [molecule("H2O"), bulk("NaCl", "rocksalt", 5.6)])
    more = REHEARSAL | {"rehearsal_file": [str(tmp_path / "both.extxyz")]}
    with pytest.raises(SettingError, match=r"open structures, got a lattice: .*both.extx"):
        train(ForceConfig(**fields | more))


@pytest.mark.parametrize(("step", "replay"), [(9, False), (7, False), (9, True)])
def test_resumed_exactly(fields, tmp_path, metrics, monkeypatch, step, replay):
    """Whatever the file of the structures has become meanwhile."""
    file = tmp_path / "structures.npz"
    file.write_bytes(GFN2.read_bytes())
    fields |= {"rehearsal": 0.4, "rehearsal_file": [str(file)], "max_epochs": 2, "replay": replay}
    whole = tmp_path / "whole"
    expected = train(ForceConfig(**fields | {"run_dir": str(whole)}))
    losses = ForceTraining.losses

    def killed(self, batch):
        if self.global_step == step:
            raise Killed
        return losses(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ForceTraining, "losses", killed)
        with pytest.raises(Killed):
            train(ForceConfig(**fields))
    file.write_bytes(b"")
    path = train(ForceConfig(**fields), resume=True)
    assert metrics(path.parent) == metrics(whole)
    for a, b in zip(load(path).parameters(), load(expected).parameters(), strict=True):
        assert torch.equal(a, b)


def test_whole_steps_are_those_of_other_runs(fields, tmp_path, metrics):
    """Of padded batches, in which both kinds are.

    What is rehearsed begins with errors of zero, whose signs are those of rounding.
    """
    logs = []
    for replay in (True, False):
        folder = tmp_path / str(replay)
        more = {"run_dir": str(folder), "replay": replay, "max_epochs": 2}
        train(ForceConfig(**fields | REHEARSAL | more))
        log = metrics(folder).items()
        logs.append({k: float(value) for k, value in log if k[1] in ("train_loss", "val_loss")})
    assert logs[0] == pytest.approx(logs[1], rel=0.05)
    assert logs[0][0, "train_loss"] == pytest.approx(logs[1][0, "train_loss"], rel=1e-5)


def test_what_is_rehearsed_lies_in_the_folder(fields):
    run = train(ForceConfig(**fields | REHEARSAL | {"max_epochs": 1})).parent
    frames, given = read_frames(run / FILE), read_structures(GFN2)
    assert 20 < len(frames) <= len(given)
    assert np.isin(frames.pos[:, 0], given.pos[:, 0].astype(np.float32)).all()
    assert set(frames.part.tolist()) == {0, 1}
    assert np.sqrt(np.square(frames.force).mean()) > 0.1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"start_from": ""}, "rehearsal: expected start_from, a checkpoint, beside rehearsal 0.5"),
        ({"batch_size": 1}, "rehearsal: expected a batch_size above 1"),
        ({"rehearsal": 0.0}, "rehearsal_file: expected rehearsal above 0 beside it"),
        ({"rehearsal": 1.0}, "rehearsal"),
        ({"rehearsal_file": ["nowhere.npz"]}, "nowhere.npz does not exist"),
        ({"rehearsal_file": [str(ETHANOL)]}, "expected the arrays z, r, n"),
    ],
)
def test_what_cannot_be_rehearsed(fields, more, message):
    with pytest.raises((SettingError, FileNotFoundError, ValueError), match=message):
        train(ForceConfig(**fields | REHEARSAL | more))


def test_structures_that_a_checkpoint_does_not_know_are_left_out(fields, tmp_path):
    """Here all of them, as they have boron in place of oxygen."""
    with np.load(GFN2) as file:
        arrays = {name: file[name] for name in ("z", "r", "n")}
    arrays["z"][:] = 5
    np.savez(tmp_path / "boron.npz", **arrays)
    more = REHEARSAL | {"rehearsal_file": [str(tmp_path / "boron.npz")]}
    with pytest.raises(SettingError, match=r"knows 0 of 71 structures.*name files of such"):
        train(ForceConfig(**fields | more))


def test_the_structures_that_come_with_molgeo():
    frames = read_structures(shipped_structures())
    assert len(frames) >= 1000
    assert set(np.unique(frames.z)) == {1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53}
    assert set(frames.charge.tolist()) == {-1, 0, 1}
    first = frames.pos[: frames.n_atoms[0]]
    apart = np.linalg.norm(first[:, None] - first[None], axis=-1)[np.triu_indices(len(first), 1)]
    assert 0.6 < apart.min() < 2.0, "in Å"


def test_structures_of_ase_need_no_labels(tmp_path):
    import ase.io
    from ase.build import molecule

    images = [molecule("H2O"), molecule("CH3OH")]
    images[1].info["charge"] = 1
    ase.io.write(tmp_path / "two.extxyz", images)
    frames = read_structures(tmp_path / "two.extxyz")
    assert frames.n_atoms.tolist() == [3, 6]
    assert frames.charge.tolist() == [0, 1]
    assert not frames.force.any()
