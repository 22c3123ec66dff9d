"""What a checkpoint says of itself, whatever it leaves out."""

import copy
import hashlib
from itertools import combinations
from pathlib import Path

import pytest
from checkpoint_files import small_predictor
from hostile_headers import FACTS, changed, leaves

from molgeo.evaluation import cards
from molgeo.evaluation.cards import markdown
from molgeo.graph.bond_kinds import BondKinds
from molgeo.graph.environments import Environments
from molgeo.predictor.checkpoint import catalogue, load, read_header, save_checkpoint, shipped
from molgeo.predictor.header import header_of

CHECKPOINTS = Path(cards.__file__).parents[2] / "checkpoints"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    path = tmp_path_factory.mktemp("full") / "full.safetensors"
    save_checkpoint(small_predictor(), path, FACTS)
    return read_header(path)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_the_cards_of_shipped_models_are_those_of_their_headers(name):
    assert markdown(read_header(name)) == (CHECKPOINTS / f"{name}.md").read_text()


def test_a_force_field_has_configurations():
    card = markdown(read_header("spectrum_net-gfn2"))
    assert "gfn2, 256,532 configurations, split" in card
    assert "8,361 test configurations, given" in card
    assert card.index("by the command below") < card.index("    molgeo train --name")


def card_of(header, **facts):
    """The card of a header with other facts, as JSON has them."""
    return markdown(header_of({**header, **facts}))


def test_a_card_leaves_out_what_is_not_known(full):
    assert "# small\n" in markdown(full)
    assert "* **trained on**: QM9, 100 molecules, split random\n" in markdown(full)
    told = full.told()
    bare = {key: told[key] for key in ("format", "config", "domain", "self_test", "sha256")}
    assert "trained on" not in card_of(bare)
    assert card_of(bare).startswith("# model\n")
    for pair in combinations(sorted(FACTS), 2):
        assert "## Limits" in card_of({k: v for k, v in told.items() if k not in pair})
    for place, _ in leaves(FACTS):
        if len(place) > 1 and isinstance(place[-1], str) and place[0] != "calibration":
            header = copy.deepcopy(told)
            inner = header
            for key in place[:-1]:
                inner = inner[key]
            del inner[place[-1]]
            assert "## Limits" in card_of(header)


def test_a_card_shows_a_dash_for_null(full):
    card = card_of(changed(full.told(), ("metrics", "mae", "gap_eV"), None), curve=[[1, None]])
    assert "| Δε, gap | eV | – |" in card
    assert "| validation loss | – |" in card


def test_errors_outside_the_data_stand_beside_those_on_it(full):
    card = markdown(full).split("## Outside QM9: errors on 3 molecules")[1].split("##")[0]
    assert "others Of these molecules 50% are flagged as outside its domain." in card
    assert "| Δε, gap | eV | 0.5 | 0.5 | 50% | – | 75% |" in card
    assert "U0" not in card
    assert "## Outside" not in card_of(full.told(), outside={})


def test_only_qm9_is_compared_with_what_was_published_for_it(full):
    assert "SchNet (published)" in markdown(full)
    own = card_of(full.told(), data="mine", from_smiles={})
    assert "published" not in own
    assert "qm9" not in own.split("## Limits")[0]


def test_info_of_a_model_that_says_little(tmp_path, capsys):
    path = tmp_path / "bare.safetensors"
    save_checkpoint(small_predictor(), path, {"n_train": 5, "metrics": {"mae": {"gap_eV": None}}})
    load(path)
    cards.info(str(path))
    out = capsys.readouterr().out
    assert "5 molecules" in out
    assert "bare" in out
    assert f"SHA-256: {hashlib.sha256(path.read_bytes()).hexdigest()}\n" in out


def test_one_damaged_model_does_not_hide_the_others(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad-qm9.safetensors").write_bytes(b"nothing")
    folders = [tmp_path, *catalogue._shipped_folders()]
    monkeypatch.setattr(catalogue, "_shipped_folders", lambda: folders)
    cards.models_table()
    out, err = capsys.readouterr()
    assert "bad-qm9" in out
    assert "schnet-qm9" in out
    assert "backbones to train: dimenet, dimenet_pp, schnet, spectrum_net" in out
    assert err.count("\n") == 1
    assert "not a whole safetensors file" in err


def test_info_tells_whether_a_model_knows_what_it_knows():
    assert cards.environments(None).startswith("not recorded")
    assert cards.bond_kinds(None) == "not recorded: no bond is called rare"
    assert cards.bond_kinds(BondKinds(5000, needed=10, counts={"C(H)-N": 12})) == (
        "1 in 5,000 training molecules; rare if in fewer than 10 of them"
    )
    assert cards.bond_kinds(BondKinds(40, needed=0)).endswith("; none called rare")
    known = Environments(5000, counts={"H(C)": 5, "C(H)": 5}, formulas=("CH4",))
    found = cards.environments(known)
    assert found == "2 kinds of bonded atoms in 5,000 configurations, 0 of them periodic; CH4 alone"
