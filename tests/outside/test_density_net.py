"""A backbone of another package: checked, trained, shipped and loaded, without a line of molgeo."""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from checkpoint_files import parts, rewrite
from outside.density_net import DensityNet, DensityNetConfig
from outside.odd_nets import Counting
from torch import nn

import molgeo
from molgeo import models
from molgeo.data.qm9.properties import named
from molgeo.evaluation.info import info
from molgeo.graph import radius_graph
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import CheckpointError, load, read_header, save_checkpoint
from molgeo.predictor.domain import Domain
from molgeo.testing import CHECKS, Case, check_backbone
from molgeo.training.config import config_from
from molgeo.training.run import train

TESTS = Path(__file__).parents[1]
PATH = "outside.density_net.DensityNet"
SMALL = {"width": 8, "n_radial": 8, "cutoff": 4.0}
RUN = {
    "model": PATH,
    "backbone": SMALL,
    "head_features": 8,
    "batch_size": 8,
    "max_epochs": 2,
    "warmup_steps": 2,
    "learning_rate": 5e-3,
    "accelerator": "cpu",
    "threads": 1,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_what_molgeo_expects(check):
    check(Case(DensityNet, SMALL))


@pytest.fixture
def shipped(small_data, tmp_path):
    """A model of two properties, trained on a few molecules of QM9."""
    properties = {"properties": ["gap", "u0"], "data_dir": str(small_data)}
    return train(
        config_from({"data": "qm9", "run_dir": str(tmp_path / "run"), **RUN, **properties})
    )


def test_it_is_trained_on_qm9_and_predicts(shipped):
    assert shipped.name == "DensityNet-qm9.safetensors"
    assert read_header(shipped).config.model == PATH
    predictor = load(shipped)
    assert type(predictor.backbone) is DensityNet
    assert predictor.backbone.config == DensityNetConfig(**SMALL, n_out=None)
    table = molgeo.predict(["CCO"], model=str(shipped), conformers=1)
    assert table.status.tolist() == ["ok"]
    assert table.gap_eV.notna().all()


def test_it_is_trained_on_forces_and_moves_atoms(tmp_path):
    from ase.build import molecule

    files = {"data_file": [str(TESTS / "fixtures" / "forces" / "ethanol.npz")]}
    fields = {"data": "forces", "energy_unit": "kcal/mol", "run_dir": str(tmp_path / "run")}
    path = train(config_from({**RUN, **fields, **files}))
    assert read_header(path).trained_on_forces
    atoms = molecule("CH3CH2OH")
    atoms.calc = molgeo.MolgeoCalculator(str(path))
    assert abs(atoms.get_forces()).max() > 0
    assert abs(atoms.get_forces().sum(0)).max() < 1e-4


def in_another_process(path, *arguments, **environment):
    """Predict ethanol by a model whose package is on the path, and not imported."""
    return subprocess.run(
        [sys.executable, "-m", "molgeo", "predict", "CCO", "--model", str(path), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{TESTS.parent}:{TESTS}", **environment},
        check=False,
    )


ONE = ("--format", "json", "--conformers", "1")


def test_it_is_loaded_elsewhere_if_the_user_names_it(shipped):
    run = in_another_process(shipped)
    assert run.returncode == 2
    assert f"'{PATH}' is code that a file may not import" in run.stderr
    assert f"import outside.density_net first, or set MOLGEO_MODELS={PATH}" in run.stderr
    run = in_another_process(shipped, *ONE, MOLGEO_MODELS=PATH)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0]["status"] == "ok"


def test_a_file_has_no_code_imported(shipped, tmp_path, monkeypatch, capsys):
    """To import a module is to run it, and anybody can write a header."""
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MOLGEO_MODELS", f"{PATH}, evil.Other")
    header, tensors = parts(shipped)
    hostile = tmp_path / "hostile.safetensors"
    rewrite(hostile, {**header, "config": {**header["config"], "model": "evil.Net"}}, tensors)
    with pytest.raises(CheckpointError, match=r"'evil\.Net' is code that a file may not import"):
        load(hostile)
    fields = {"data": "qm9", "start_from": str(hostile), "run_dir": str(tmp_path / "next")}
    with pytest.raises(ValueError, match=r"'evil\.Net' is code that a file may not import"):
        train(config_from(fields))
    info(str(hostile))
    assert "evil.Net" in capsys.readouterr().out
    assert "evil" not in sys.modules


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package of somebody else, as pip installs it: a folder with entry points."""
    info = tmp_path / "site" / "density_net-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: density-net\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[molgeo.models]\ndensity_net = outside.density_net:DensityNet\n"
        "broken = outside.no_module:Net\nconfig = outside.density_net:DensityNetConfig\n"
    )
    monkeypatch.syspath_prepend(info.parent)
    return info.parent


def test_an_entry_point_gives_it_a_name(installed, small_data, tmp_path):
    assert {"density_net", "schnet"} <= set(models.names())
    assert models.model_class("density_net") is DensityNet
    assert models.name_of(DensityNet) == "density_net"
    fields = {"model": "density_net", "properties": ["gap"], "data_dir": str(small_data)}
    run = {"data": "qm9", "run_dir": str(tmp_path / "run"), "max_epochs": 1}
    path = train(config_from({**RUN, **run, **fields}))
    assert path.name == "density_net-qm9.safetensors"
    run = in_another_process(path, *ONE, PYTHONPATH=f"{TESTS.parent}:{TESTS}:{installed}")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)[0]["status"] == "ok"


def test_entry_points_that_give_no_model(installed):
    with pytest.raises(ValueError, match=r"'broken' cannot be imported .*ModuleNotFound"):
        models.build("broken")
    with pytest.raises(ValueError, match="'config': expected a class that extends"):
        models.build("config")
    second = installed / "other-1.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (second / "entry_points.txt").write_text("[molgeo.models]\ndensity_net = other:Net\n")
    with pytest.raises(ValueError, match="'density_net' is the name of other:Net and of outside"):
        models.build("density_net")


def test_an_entry_point_does_not_take_the_name_of_molgeos_own(installed):
    (installed / "density_net-1.0.dist-info" / "entry_points.txt").write_text(
        "[molgeo.models]\nschnet = outside.density_net:DensityNet\n"
    )
    models._warn_of_shadowed.cache_clear()
    with pytest.warns(UserWarning, match=r"'schnet' is molgeo's own; outside\.density_net:Dens"):
        assert models.model_class("schnet") is models.SchNet


@pytest.mark.parametrize("path", [PATH, DensityNet])
def test_it_is_built_from_its_path_or_class(path):
    predictor = Predictor(path, SMALL, named(("gap",)))
    assert predictor.config.model == PATH
    assert type(predictor.backbone) is DensityNet


@pytest.mark.parametrize(
    ("path", "match"),
    [
        (
            "outside.nowhere.Net",
            "cannot be imported .*No module named .*PYTHONPATH",
        ),
        ("outside.density_net.Net", "cannot be imported .*has no attribute 'Net'"),
        (
            "outside.density_net.math",
            "expected a class that extends .*, got <mod",
        ),
        ("outside.density_net.Backbone", "expected a class that extends"),
        ("torch.nn.Linear", "expected a class that extends"),
    ],
)
def test_paths_that_give_no_model(path, match):
    with pytest.raises(ValueError, match=match):
        models.build(path)


def test_headers_name_what_is_imported_and_a_backbone_alone(shipped, tmp_path):
    header, tensors = parts(shipped)
    path = tmp_path / "other.safetensors"
    for name in ("torch.nn.Linear", "outside.density_net.Backbone", "os.system", "json.tool.main"):
        rewrite(path, {**header, "config": {**header["config"], "model": name}}, tensors)
        with pytest.raises(CheckpointError, match="its backbone is not at hand") as refusal:
            load(path)
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) <= 300
    assert "json.tool" not in sys.modules


@pytest.mark.parametrize("name", ["Scaled", "Uncounted"])
def test_whatever_trains_is_saved_and_loaded(small_data, tmp_path, name):
    odd = {"model": f"outside.odd_nets.{name}", "max_steps": 2, "properties": ["gap"]}
    folders = {"data_dir": str(small_data), "run_dir": str(tmp_path / "run")}
    model = load(train(config_from({"data": "qm9", **RUN, **odd, **folders})))
    if name == "Scaled":
        assert model.backbone.second.weight is model.backbone.first.weight
        assert float(model.backbone.factor.detach()) != 1.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Counted",
            r"'backbone\.order': expected float32 or float64, got torch\.int64 of shape \(3,\); "
            ".* register a buffer that the settings determine with persistent=False",
        ),
        ("Double", r"backbone\.mlp\.0\.weight: expected float32 weights, got torch\.float64"),
    ],
)
def test_what_no_checkpoint_can_hold_is_refused_before_data_are_read(name, message):
    path = f"outside.odd_nets.{name}"
    with pytest.raises(ValueError, match=message):
        config_from({"data": "qm9", "data_dir": "nowhere", **RUN, "model": path})
    odd = Predictor(path, SMALL, named(["gap"]))
    odd.domain = Domain((1, 6), 9, 1.0)
    with pytest.raises(ValueError, match=message):
        save_checkpoint(odd, "nowhere.safetensors", {})


class Lopsided(DensityNet):
    """Sees the first axis more than the others."""

    def atom_features(self, z, pos, graph):
        return super().atom_features(z, pos * torch.tensor([1.1, 1.0, 1.0]), graph)


class Jumping(DensityNet):
    """Has no envelope, so that atoms leave with a jump."""

    def envelope(self, d):
        return (d < self.cutoff).to(d.dtype)


class Ordered(DensityNet):
    """Counts its atoms."""

    def atom_features(self, z, pos, graph):
        features = super().atom_features(z, pos, graph)
        return features * (1 + 0.01 * torch.arange(len(z)).unsqueeze(-1))


class Detached(DensityNet):
    """Loses a part of the gradient."""

    def atom_features(self, z, pos, graph):
        own, cut = (super(Detached, self).atom_features(z, x, graph) for x in (pos, pos.detach()))
        return own + cut


class Angular(DensityNet):
    """Takes an arc cosine, whose derivative is infinite on a line."""

    def atom_features(self, z, pos, graph):
        unit = nn.functional.normalize(graph.vectors(pos), dim=-1)
        a, b = torch.combinations(torch.arange(graph.n_edges)).unbind(-1)
        meet = graph.target[a] == graph.target[b]
        a, b = a[meet], b[meet]
        angle = torch.acos((unit[a] * unit[b]).sum(-1))
        total = pos.new_zeros(len(z)).index_add(0, graph.target[a], angle.square())
        return super().atom_features(z, pos, graph) + 0.0 * total.unsqueeze(-1)


class Open(DensityNet):
    """Knows no boundaries."""

    def atom_features(self, z, pos, graph):
        return super().atom_features(z, pos, graph.with_offset(None))


class Diluted(DensityNet):
    """Divides by the number of all edges."""

    def atom_features(self, z, pos, graph):
        return super().atom_features(z, pos, graph) / (1 + graph.n_edges)


class Unchecked(DensityNet):
    """Takes any field."""

    def __init__(self, config=None, **fields):
        super().__init__(config, **{k: v for k, v in fields.items() if k in SMALL | {"n_out": 1}})


@pytest.mark.parametrize(
    ("cls", "failed", "sentence"),
    [
        (Lopsided, "rotation", "rotation: outputs of the published model: the deviation is"),
        (Jumping, "cutoff", "the energy of the published model jumps by"),
        (
            Ordered,
            "order_of_atoms",
            "order of atoms: outputs of the published model: the",
        ),
        (Detached, "forces", "forces on methanol in the published model: the deviation is"),
        (Angular, "training", "training on forces: not finite in the published model"),
        (Open, "periodic", "stress of a crystal: the deviation is"),
        (Diluted, "padding", "padding of molecules: features of the published model in torch.fl"),
        (Unchecked, "config", "expected a TypeError about cutof, got none"),
    ],
)
def test_a_broken_one_is_told_what_is_broken(cls, failed, sentence):
    (check,) = (check for check in CHECKS if check.__name__ == failed)
    with pytest.raises(AssertionError) as found:
        check(Case(cls, SMALL))
    assert sentence in str(found.value)


def test_all_that_is_broken_is_listed():
    with pytest.raises(AssertionError) as found:
        check_backbone(Lopsided, **SMALL)
    title, *lines = str(found.value).splitlines()
    assert title == f"Lopsided fails {len(lines)} of {len(CHECKS)} checks"
    names = {line.split(":")[0].strip() for line in lines}
    assert "rotation" in names
    assert "translation" not in names


@dataclass(frozen=True)
class EndlessConfig(DensityNetConfig):
    largest: float = math.inf


class Endless(DensityNet):
    """Its config's default is no number that JSON has."""

    config_class = EndlessConfig


def test_if_no_model_can_be_built_that_alone_is_told():
    with pytest.raises(AssertionError) as found:
        check_backbone(Endless, **SMALL)
    title, *lines = str(found.value).splitlines()
    assert title == f"Endless fails the first of {len(CHECKS)} checks, which the others need"
    assert len(lines) == 1
    assert "EndlessConfig: largest: expected a finite number, got inf" in lines[0]


def test_a_config_may_have_fields_that_are_not_given():
    for check in CHECKS:
        if check.__name__ in ("config", "checkpoint"):
            check(Case(Counting, SMALL))


def test_vectors_of_edges_are_those_of_pairs():
    pos = torch.randn(6, 3)
    cell, pbc = 3.0 * torch.eye(3)[None], torch.ones(1, 3, dtype=torch.bool)
    graph = radius_graph(pos, 4.0, None, cell, pbc)
    torch.testing.assert_close(graph.vectors(pos)[graph.forward], graph.displacements(pos))
    torch.testing.assert_close(graph.vectors(pos)[graph.reverse], -graph.vectors(pos))
