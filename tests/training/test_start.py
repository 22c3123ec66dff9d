"""Runs that go on from a checkpoint, and runs at other geometries than the data set's own."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from molgeo.data.qm9.properties import named
from molgeo.graph import radius_graph
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import load, read_header
from molgeo.properties import names_of
from molgeo.runtime.errors import SettingError
from molgeo.training.forces import ForceConfig
from molgeo.training.run import train
from molgeo.training.start import _copy_heads
from molgeo.training.table import TableConfig
from molgeo.units import ENERGY_UNITS

ETHANOL = Path(__file__).parents[1] / "fixtures" / "forces" / "ethanol.npz"
KCAL = ENERGY_UNITS["kcal/mol"]
BACKBONE = {"n_features": 16, "n_filters": 16, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}


def test_kept_references_make_the_very_model(tiny, tmp_path):
    first = train(tiny())
    fields = {"start_from": str(first), "learning_rate": 0.0, "seed": 7, "keep_references": True}
    second = train(tiny(run_dir=str(tmp_path / "second"), **fields))
    before, after = load(first), load(second)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(after.state_dict()[name], value, equal_nan=True)
    assert read_header(second).training["start_from"] == first.name
    assert after.header.metrics.mae == pytest.approx(before.header.metrics.mae)


def test_model_and_widths_are_the_checkpoints(tiny, tmp_path):
    """A run that names none of them takes them, and says in its config what it took."""
    first = train(tiny(max_epochs=1, limit_train=8))
    fields = {"backbone": {}, "head_features": 64, "max_epochs": 1, "limit_train": 8}
    second = tmp_path / "second"
    exported = train(tiny(run_dir=str(second), start_from=str(first), **fields))
    assert load(exported).config == load(first).config
    config = yaml.safe_load((second / "config.yaml").read_text())
    assert (config["head_features"], config["backbone"]["n_features"]) == (8, 16)
    fields["max_epochs"] = 2
    train(tiny(run_dir=str(second), start_from=str(first), **fields), resume=True)
    assert torch.load(second / "last.ckpt", weights_only=True)["epoch"] == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backbone": {"n_features": 32}}, "has backbone.n_features 16, this run 32; leave"),
        ({"model": "dimenet_pp", "backbone": {}}, "has model 'schnet', this run 'dimenet_pp'"),
        (
            {"properties": ["gap"], "keep_references": True},
            "keep_references: expected a checkpoint with the same heads, gap of width 8; ",
        ),
    ],
)
def test_another_model_is_refused(tiny, tmp_path, fields, message):
    first = train(tiny(max_epochs=1, limit_train=8))
    with pytest.raises(ValueError, match=message):
        train(tiny(run_dir=str(tmp_path / "second"), start_from=str(first), **fields))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"properties": ["r2", "gap"]}, "backbone (schnet) and the heads of r2, gap;"),
        ({"head_features": 9}, "backbone (schnet); the heads are fresh;"),
    ],
)
def test_heads_are_taken_where_they_fit(tiny, tmp_path, capsys, fields, said):
    first = train(tiny(max_epochs=1, limit_train=8))
    capsys.readouterr()
    fields = {"start_from": str(first), "learning_rate": 0.0, "max_epochs": 1, **fields}
    second = train(tiny(run_dir=str(tmp_path / "second"), **fields))
    err = capsys.readouterr().err
    assert said in err
    assert "level of theory" not in err
    before, after = load(first), load(second)
    for name, value in before.backbone.state_dict().items():
        torch.testing.assert_close(after.backbone.state_dict()[name], value)


def test_copied_heads_give_the_same():
    """Of properties in another order, and an extent, which has two outputs an atom."""
    torch.manual_seed(0)
    before = Predictor("schnet", BACKBONE, named(("mu", "r2", "gap", "u0")), 8)
    after = Predictor("schnet", BACKBONE, named(("gap", "alpha", "r2")), 8)
    after.backbone.load_state_dict(before.backbone.state_dict())
    assert names_of(_copy_heads(before.heads, after.heads)) == ("gap", "r2")
    z, pos = torch.tensor([8, 1, 1]), torch.eye(3)
    graph = radius_graph(pos, 4.0)
    old, new = (p.standardised(z, pos, graph)[0] for p in (before, after))
    torch.testing.assert_close(new[[0, 2]], old[[2, 1]])


SHIFT = {1: -310.0, 6: 912.0, 8: -4.5}
"""eV; what another level of theory may add to each atom."""


@pytest.fixture
def ethanol(tiny_run, tmp_path):
    """Make configs of runs on ethanol's forces, and on those of a level that is otherwise."""

    def config(factor=1.0, shift=False, level="one", **fields):
        with np.load(ETHANOL) as file:
            arrays = dict(file)
        offset = sum(SHIFT[z] for z in arrays["nuclear_charges"].tolist()) if shift else 0.0
        for part in ("train", "test"):
            arrays[f"{part}_energies"] = factor * KCAL * arrays[f"{part}_energies"] + offset
            arrays[f"{part}_forces"] = factor * KCAL * arrays[f"{part}_forces"]
        path = tmp_path / f"ethanol-{factor}-{shift}.npz"
        np.savez(path, **arrays)
        about = {"data_name": "ethanol", "data_file": [str(path)], "level_of_theory": level}
        return ForceConfig(**(tiny_run | about | fields))

    return config


def test_another_level_of_theory_starts_where_the_checkpoint_is(ethanol, tmp_path, capsys):
    """Shifted by a constant per atom and scaled: nothing is lost before the first step."""
    first = train(ethanol())
    capsys.readouterr()
    still = {"start_from": str(first), "learning_rate": 0.0, "max_epochs": 1}
    moved = ethanol(1.5, True, "another", run_dir=str(tmp_path / "still"), **still)
    error = read_header(first).metrics.mae
    got = read_header(train(moved)).metrics.mae
    assert got["forces_eV_A"] == pytest.approx(1.5 * error["forces_eV_A"], rel=0.03)
    assert got["energy_eV"] < 2.0 * error["energy_eV"]
    err = capsys.readouterr().err
    assert "references are fitted to the data" in err
    assert "level of theory: one in the checkpoint, another in the data" in err


def test_starting_from_another_level_is_no_worse_than_from_scratch(ethanol, tmp_path):
    first = train(ethanol(max_epochs=6))
    runs = {"scratch": {}, "started": {"start_from": str(first)}}
    mae = {
        name: read_header(
            train(ethanol(1.5, True, run_dir=str(tmp_path / name), **fields))
        ).metrics.mae
        for name, fields in runs.items()
    }
    for column, error in mae["started"].items():
        assert error < mae["scratch"][column], column


def test_references_that_are_kept_in_spite_of_another_level_are_named(ethanol, tmp_path, capsys):
    first = train(ethanol(level=""))
    fields = {"start_from": str(first), "keep_references": True, "limit_train": 8, "max_epochs": 1}
    train(ethanol(1.5, True, "another", run_dir=str(tmp_path / "second"), **fields))
    err = capsys.readouterr().err
    assert "references are the checkpoint's" in err
    assert (
        "not stated in the checkpoint, another in the data; keep_references does not bridge them"
        in err
    )


def test_forces_are_no_labels_of_a_backbone_whose_energy_jumps(ethanol):
    for smooth in (False, True):
        backbone = {"hidden": 8, "n_blocks": 1, "n_spherical": 2, "smooth": smooth}
        config = ethanol(model="spherenet", backbone=backbone, max_steps=1)
        if smooth:
            assert train(config).exists()
        else:
            with pytest.raises(SettingError, match=r"spherenet: .* jumps .* backbone.smooth: true"):
                train(config)


def test_a_missing_checkpoint_is_refused(tiny):
    with pytest.raises(ValueError, match="nowhere"):
        train(tiny(start_from="nowhere"))


def test_another_geometry(tiny, small_data, tmp_path):
    from molgeo.generate.qm9 import prepare

    shutil.copytree(small_data, tmp_path / "data")
    fields = {"data_dir": str(tmp_path / "data"), "geometry": "mmff"}
    with pytest.raises(FileNotFoundError, match="molgeo data prepare qm9 --conformers"):
        train(tiny(**fields))
    prepare(tmp_path / "data" / "qm9", "mmff")
    exported = train(tiny(**fields))
    assert exported.name == "schnet-qm9-mmff.safetensors"
    header = read_header(exported)
    assert header.geometry == header.metrics.geometry == "mmff"
    assert header.geometry_source.startswith("MMFF94")
    assert header.n_train == 51
    given = train(tiny(run_dir=str(tmp_path / "given")))
    assert read_header(given).metrics.geometry == "dft"
    assert read_header(given).validation_loss != header.validation_loss


def test_an_element_that_the_model_knows_nothing_of(ethanol, monkeypatch):
    """It is said before the first step, which on a card would end the process."""
    monkeypatch.setattr("molgeo.models.schnet.SchNet.n_elements", 8)
    with pytest.raises(SettingError, match=r"model: schnet has features of .* below 8, .* O \(8\)"):
        train(ethanol())


@pytest.fixture
def ions(tmp_path):
    """A file of molecules of GFN2's fixture, a third of them with made-up charges."""
    with np.load(ETHANOL.with_name("gfn2.npz")) as file:
        arrays = {name: file[name] for name in ("z", "r", "f", "n", "e", "qm9")}
    arrays["charge"] = np.arange(len(arrays["n"])) % 3 - 1
    arrays["part"] = np.arange(len(arrays["n"])) % 5 // 3  # 0, 0, 0, 1, 1
    arrays["part"][-4:] = 2
    path = tmp_path / "ions.npz"
    np.savez(path, **arrays)
    return str(path)


SPECTRUM = {"n_features": 16, "n_filters": 16, "n_products": 8, "n_blocks": 2, "cutoff": 4.0}


def test_a_run_on_ions_starts_from_a_neutral_model(tiny_run, ions, tmp_path):
    """It begins with the same numbers, learns the charge, and says which charges it knows."""
    shared = {**tiny_run, "model": "spectrum_net", "backbone": SPECTRUM, "batch_size": 4}
    shared |= {"learning_rate": 5e-3, "warmup_steps": 2, "limit_train": 0}
    neutral = [str(ETHANOL.with_name("gfn2.npz"))]
    first = train(ForceConfig(**shared | {"data_file": neutral, "max_epochs": 1}))
    shared |= {"start_from": str(first), "data_file": [ions], "repulsion": True}
    backbone = {"backbone": {"charges": True}, "run_dir": str(tmp_path / "second")}
    still = shared | backbone | {"learning_rate": 0.0, "max_steps": 1}
    before, after = load(first), load(train(ForceConfig(**still)))
    for name, value in before.backbone.state_dict().items():
        assert torch.equal(after.backbone.state_dict()[name], value)
    assert not after.backbone.charge.value.weight.any()
    config = ForceConfig(**shared | backbone | {"run_dir": str(tmp_path / "third")})
    learned = load(train(config))
    assert learned.domain.charges == (-1, 0, 1)
    assert learned.config.repulsion
    assert learned.backbone.charge.value.weight.any()
    assert list(learned.header.metrics.by_charge) == ["-1", "0", "+1"]
    water = torch.tensor([8, 1, 1]), torch.eye(3)
    with torch.no_grad():
        values = [float(learned(*water, charge=torch.tensor([q]))["energy"]) for q in (-1, 0, 1)]
    assert len(set(values)) == 3
    more = config.model_copy(update={"max_epochs": config.max_epochs + 1})
    assert load(train(more, resume=True)).header.steps > learned.header.steps


def test_several_charges_need_a_backbone_that_takes_them(tiny_run, ions):
    shared = {**tiny_run, "data_file": [ions], "limit_train": 0}
    for model, advice in (
        ("schnet", "take spectrum_net"),
        ("spectrum_net", "set backbone.charges"),
    ):
        backbone = BACKBONE if model == "schnet" else SPECTRUM
        message = f"model: the data have charges -1, 0, 1, and {model} does not take .*; {advice}"
        with pytest.raises(SettingError, match=message):
            train(ForceConfig(**shared | {"model": model, "backbone": backbone}))


def test_one_charge_needs_no_input(tiny_run, ions):
    with np.load(ions) as file:
        arrays = dict(file)
    arrays["charge"][:] = 1
    np.savez(ions, **arrays)
    exported = train(ForceConfig(**tiny_run | {"data_file": [ions], "max_epochs": 1}))
    assert load(exported).domain.seen_charges == (1,)


def test_a_fresh_backbone_fits_its_factors_to_training_data_and_a_checkpoint_keeps_them(
    tiny, tmp_path
):
    sizes = {"atom_emb": 8, "edge_emb": 8, "triplet_emb": 4, "triplet_out": 4, "n_blocks": 1}
    fields = {"model": "gemnet", "backbone": {**sizes, "cutoff": 3.0}, "learning_rate": 0.0}
    first = train(tiny(**fields, max_epochs=1))
    factors = {k: v for k, v in load(first).state_dict().items() if k.endswith("scaling.factor")}
    assert len(factors) == 5
    assert all(factor != 1 for factor in factors.values())
    again = {"start_from": str(first), "model": "gemnet", "backbone": {}, "learning_rate": 0.0}
    second = train(tiny(**again, run_dir=str(tmp_path / "second"), max_epochs=1))
    after = load(second).state_dict()
    assert all(after[name] == factor for name, factor in factors.items())


def test_moments_are_standardised_at_the_start(small_data, tiny_run, tmp_path):
    """Those of the backbone that the run starts from, beside heads of atoms that stay in place."""
    (tmp_path / "mine.csv").write_text(
        "smiles,own,other\n" + "".join(f"{'C' * k}O,{k},{2 * k}\n" for k in range(1, 11))
    )
    fields = {"n_features": 8, "n_filters": 4, "n_products": 4, "n_blocks": 2, "cutoff": 3.0}
    targets = [{"column": "own", "head": "moments"}, {"column": "other", "head": "sum"}]
    own = {"targets": targets, "data": "table", "data_file": str(tmp_path / "mine.csv")}
    own |= {"data_dir": str(tmp_path / "data"), "model": "spectrum_net", "backbone": fields}
    tiny = {**tiny_run, **own, "max_steps": 2}
    first = train(TableConfig(**{**tiny, "run_dir": str(tmp_path / "a")}))
    grown = {**tiny, "start_from": str(first), "backbone": {"all_blocks": True}}
    second = train(TableConfig(**{**grown, "run_dir": str(tmp_path / "b")}))
    before, after = load(first), load(second)
    assert after.backbone.feature_dim == 16
    assert after.heads.moments.factor.shape == (4, 16)
    assert (after.heads.moments.factor > 0).sum() > 8
    again = {**tiny, "start_from": str(second), "backbone": {}, "run_dir": str(tmp_path / "c")}
    third = load(train(TableConfig(**{**again, "max_steps": 1, "learning_rate": 0.0})))
    assert torch.equal(third.heads.moments.factor, after.heads.moments.factor)
    assert before.heads.feature_dim == 8
