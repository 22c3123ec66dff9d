"""What a checkpoint says of itself, whatever it leaves out."""

import copy
from itertools import combinations
from pathlib import Path

import pytest
from checkpoint_files import small_predictor
from hostile_headers import FACTS, changed, leaves

from molgeo.evaluation import cards
from molgeo.evaluation.cards import markdown
from molgeo.predictor.checkpoint import read_header, save_checkpoint, shipped
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


def test_values_from_smiles_say_how_they_were_made(full):
    told = full.told()
    made = {**told["from_smiles"], "engine": "springs", "partner": "cheap"}
    card = card_of(told, from_smiles=made, outside_smiles={**told["outside"], "geometry": "smiles"})
    assert "Averages over conformers at MMFF94, with QM9's stereo" in markdown(full)
    assert "relaxed with springs, with a share of those of cheap at MMFF94, with QM9's" in card
    assert "`molgeo evaluate --data qm9" in card
    assert "weighed" not in card
    weighed = card_of(told, from_smiles={**made, "weigher": "likely"})
    assert "relaxed with springs, weighed by likely, with a share" in weighed
    assert "## Outside QM9, from SMILES: errors on 3 molecules" in card


def test_only_qm9_is_compared_with_what_was_published_for_it(full):
    assert "SchNet (published)" in markdown(full)
    own = card_of(full.told(), data="mine", from_smiles={})
    assert "published" not in own
    assert "qm9" not in own.split("## Limits")[0]


def test_only_what_a_config_trained_is_evaluated_by_one(full):
    told = {"data": "mine", "from_smiles": {}, "outside": {}}
    assert "--data RUN/config.yaml" in card_of(full.told(), **told, training={"seed": 1})
    assert "RUN/config.yaml" not in card_of(full.told(), **told, training={})


def test_a_card_tells_errors_by_element(full):
    each = {
        "S": {"n": 7, "mae": {"gap_eV": 0.25}, "rmse": {}},
        "P": {"n": 2, "mae": {}, "rmse": {}},
    }
    measured = {**full.metrics.model_dump(exclude_unset=True), "by_element": each}
    for data in ("QM9", "mine"):
        card = card_of(full.told(), metrics=measured, data=data, from_smiles={}, outside={})
        table = card.split("molecules that have an element")[1].split("##")[0]
        assert "| property | unit | S (7) | P (2) |" in table
        assert "| Δε, gap | eV | 0.25 | – |" in table


def test_a_card_tells_what_intervals_hold_of_each_class(full):
    classes = {
        "inside the domain": {"n": 1970, "within_90": {"gap_eV": 0.91}},
        "outside it": {"n": 30, "within_90": {"gap_eV": 0.8}},
        "9 heavy atoms": {"n": 1700, "within_90": {"gap_eV": 0.9, "u0_eV": 0.88}},
    }
    told = {"coverage": {"gap_eV": {"std": 0.68, "low90_high90": 0.9}}, "flagged": 0.015}
    measured = {**full.metrics.model_dump(exclude_unset=True), **told, "classes": classes}
    card = card_of(full.told(), metrics=measured, from_smiles={}, outside={})
    table = card.split("Shares of labels within the error bars, by class the")[1].split("##")[0]
    assert "Flagged as outside the model's domain: 1.5%." in table
    assert "| inside the domain (1,970) | outside it (30) | 9 heavy atoms (1,700) |" in table
    assert "| Δε, gap | eV | 68% | 90% | 91% | 80% | 90% |" in table
    assert "| U0, u0 | eV | – | – | – | – | 88% |" in table
    assert "| μ, mu | D |" not in table


def test_classes_stand_below_the_table_of_their_errors(full):
    smiles, outside = (card_of(full.told()).split(f"\n## {name}")[1] for name in ("From", "Out"))
    assert "| 9 heavy atoms (2) |\n|---|---|---|\n| Δε, gap | eV | 50% |" in smiles.split("##")[0]
    assert "by class" not in outside.split("##")[0]


def test_the_card_of_a_fit_names_what_is_in_its_folder(full):
    """There are rows beside the model, and no config of one run that could be evaluated."""
    facts = {"data": "mine", "from_smiles": {}, "is_fit": True}
    shares = {"gap_eV": {"std": 0.7, "low90_high90": 0.9}}
    metrics = {**full.metrics.model_dump(exclude_unset=True), "coverage": shares}
    card = card_of(full.told(), **facts, metrics=metrics)
    assert "rows.csv has them one by one" in card
    assert "config.yaml" not in card
    assert "calibrated on other molecules" in card
