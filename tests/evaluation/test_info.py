"""What a terminal shows of the shipped models and of a checkpoint."""

import hashlib

import pytest
from checkpoint_files import small_predictor
from hostile_headers import FACTS

from molgeo import models
from molgeo.evaluation import info
from molgeo.evaluation.cards import facts_of
from molgeo.graph.bond_kinds import BondKinds
from molgeo.graph.environments import Environments
from molgeo.predictor.checkpoint import catalogue, load, read_header, save_checkpoint
from molgeo.predictor.header import Facts


def test_info_of_a_model_that_says_little(tmp_path, capsys):
    path = tmp_path / "bare.safetensors"
    save_checkpoint(small_predictor(), path, {"n_train": 5, "metrics": {"mae": {"gap_eV": None}}})
    load(path)
    info.info(str(path))
    out = capsys.readouterr().out
    assert "5 molecules" in out
    assert "bare" in out
    assert f"SHA-256: {hashlib.sha256(path.read_bytes()).hexdigest()}\n" in out


def test_one_damaged_model_does_not_hide_the_others(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad-qm9.safetensors").write_bytes(b"nothing")
    folders = [tmp_path, *catalogue._shipped_folders()]
    monkeypatch.setattr(catalogue, "_shipped_folders", lambda: folders)
    info.models_table()
    out, err = capsys.readouterr()
    assert "bad-qm9" in out
    assert "schnet-qm9" in out
    names = ", ".join(models.names())
    assert f"backbones to train: {names}" in " ".join(out.split())
    assert err.count("\n") == 1
    assert "not a whole safetensors file" in err


def test_info_tells_whether_a_model_knows_what_it_knows():
    assert info.environments(None).startswith("not recorded")
    assert info.bond_kinds(None) == "not recorded: no bond is called rare"
    assert info.bond_kinds(BondKinds(5000, needed=10, counts={"C(H)-N": 12})) == (
        "1 in 5,000 training molecules; rare if in fewer than 10 of them"
    )
    assert info.bond_kinds(BondKinds(40, needed=0)).endswith("; none called rare")
    known = Environments(5000, counts={"H(C)": 5, "C(H)": 5}, formulas=("CH4",))
    found = info.environments(known)
    assert found == "2 kinds of bonded atoms in 5,000 configurations, 0 of them periodic; CH4 alone"


def test_info_tells_whether_an_energy_is_smooth():
    def surface(model, **backbone):
        return info.energy_surface(model, backbone)

    jumps = "jumps if another atom becomes the reference: for properties, not for forces"
    assert surface("schnet") == "smooth; mirror images are the same"
    assert surface("spherenet") == f"{jumps}; mirror images differ"
    assert surface("spherenet", smooth=True) == "smooth; mirror images are the same"
    assert surface("nowhere.Net") == "–"


def test_info_tells_what_a_model_lacks_to_know_its_errors():
    assert info.trust(Facts(data="QM9")) == {
        "features": ("not recorded: how far a molecule is from those of training is not known"),
        "error bars": "none: molgeo calibrate --model FILE makes them",
        "outside QM9": "not measured",
    }
    known = Facts(trained_on_forces=True, expected_errors=16)
    assert info.trust(known) == {}
    assert "forces_std" in facts_of(read_header("spectrum_net-aimnet2"))["expected errors"]
    missing = info.trust(Facts(trained_on_forces=True))
    assert missing["expected errors"].startswith("none: molgeo calibrate")


def test_info_tells_how_far_a_model_knows_its_errors():
    scales = {"gap": {"error": 0.5, "sigma": 1.0, "interval": 2.0}}
    bars = [
        {"conformers": n, "n": 1000 + n, "scales": scales, "n_outside": outside}
        for n, outside in ((0, 124), (1, 0), (8, 0))
    ]
    held = {"gap_eV": {"std": 0.7, "low90_high90": 0.88}, "mu_D": {"low90_high90": 0.93}}
    header = Facts.model_validate(
        {
            "data": "QM9",
            "familiarity": 5,
            "calibration": bars,
            "metrics": {"coverage": held},
            "outside": {"n": 226, "flagged": 0.62, "coverage": {"gap_eV": held["gap_eV"]}},
        },
        strict=False,
    )
    told = info.trust(header)
    assert told["features"].startswith("recorded: molecules far from those of training are flagged")
    assert told["error bars"] == (
        "from SMILES, measured on 1,008 molecules; of given coordinates, measured on 1,000 "
        "molecules and 124 others"
    )
    assert told["90% intervals hold"] == "88% to 93% at given coordinates; 88% outside QM9"
    assert told["outside QM9"] == "errors below, on 226 molecules, 62% of them flagged"


@pytest.mark.parametrize("is_known", [True, False])
def test_info_has_a_column_of_errors_outside_if_they_are_known(tmp_path, capsys, is_known):
    path = tmp_path / "full.safetensors"
    facts = FACTS if is_known else {k: v for k, v in FACTS.items() if k != "outside"}
    save_checkpoint(small_predictor(), path, facts)
    info.info(str(path))
    (head,) = [line for line in capsys.readouterr().out.splitlines() if "test MAE" in line]
    assert head.endswith("outside QM9") is is_known
