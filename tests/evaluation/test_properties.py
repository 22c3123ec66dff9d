"""Errors over a part of a data set, at every geometry."""

import math
from pathlib import Path

import pytest
import torch

from molgeo.data.qm9.dataset import QM9, Split
from molgeo.data.qm9.sources import write
from molgeo.evaluation import properties
from molgeo.evaluation.properties import errors
from molgeo.evaluation.qm9 import calibrate, evaluate, sample_of
from molgeo.generate import qm9
from molgeo.predictor.checkpoint import catalogue, load

MODEL = Path(__file__).parents[1] / "fixtures" / "format_1.safetensors"


@pytest.fixture(autouse=True)
def _no_engine(monkeypatch):
    """So that cheap geometries stay so, unless a test asks for an engine."""
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", None)


@pytest.fixture(scope="module")
def predictor():
    return load(MODEL)


@pytest.fixture
def root(some_qm9, tmp_path):
    write(some_qm9, tmp_path / "qm9.safetensors", "fixture")
    return tmp_path


@pytest.mark.parametrize("geometry", ["mmff", "smiles", "flat"])
def test_prepared_and_fresh_geometries_give_the_same(predictor, root, geometry, monkeypatch):
    fresh = evaluate(predictor, root, "train", geometry, limit=20, batch_size=8)
    again = evaluate(predictor, root, "train", geometry, limit=20, batch_size=8)
    assert fresh == again
    qm9.prepare(root, geometry, 8)
    monkeypatch.setattr(qm9, "make", None)
    assert evaluate(predictor, root, "train", geometry, limit=20, batch_size=8) == fresh
    assert fresh["n"] == 20
    assert fresh["failed"] == 0
    assert fresh["reasons"] == {}


def test_the_same_molecules_at_other_geometries(predictor, root):
    results = {
        g: evaluate(predictor, root, "train", g, limit=15) for g in ("dft", "mmff", "smiles")
    }
    assert {r["n"] for r in results.values()} == {15}
    assert len({str(r["mae"]) for r in results.values()}) == 3


def test_batches_bounded_by_pairs_give_the_same(predictor, root, monkeypatch):
    """As on a card; molecules are cut between, never their conformers."""
    known = evaluate(predictor, root, "train", "smiles", limit=20, conformers=3)
    sizes = []
    predicted = properties._predicted

    def counted(predictor, batch, known):
        sizes.append(batch.ptr.diff())
        return predicted(predictor, batch, known)

    monkeypatch.setattr(properties, "_predicted", counted)
    monkeypatch.setattr(properties, "_limits", lambda *_: (9, 2500))
    seen = []

    def progress(*done):
        seen.append(done)

    found = evaluate(predictor, root, "train", "smiles", 20, conformers=3, progress=progress)
    assert found["n"] == known["n"] == 20
    for name in ("mae", "rmse"):
        assert found[name] == pytest.approx(known[name], rel=1e-5)
    assert seen == [(9, 20), (18, 20), (20, 20)]
    assert len(sizes) > 3
    assert all(int(n.square().sum()) <= 2500 or len(n) <= 3 for n in sizes)


def test_a_card_has_more_at_once():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert properties._limits(cpu, None) == (256, math.inf)
    assert properties._limits(cuda, None) == (2048, 2_000_000)
    assert properties._limits(cuda, 5) == properties._limits(cpu, 5) == (5, math.inf)


def test_more_conformers_than_prepared_are_made(predictor, root):
    qm9.prepare(root, "smiles", 1)
    one, four = (
        evaluate(predictor, root, "train", "smiles", limit=20, conformers=n) for n in (1, 4)
    )
    assert one["mae"] != four["mae"]
    qm9.prepare(root, "smiles", 4)
    assert evaluate(predictor, root, "train", "smiles", limit=20, conformers=4) == four
    assert evaluate(predictor, root, "train", "smiles", limit=20, conformers=1) == one


@pytest.mark.parametrize("is_prepared", [False, True])
def test_failures_are_counted_with_their_reasons(predictor, root, monkeypatch, is_prepared):
    generate, data = qm9.generate, QM9(root)
    rows = data.split().train[:20].tolist()
    reason = {data.smiles(rows[0]): "first", data.smiles(rows[9]): "x", data.smiles(rows[11]): "x"}

    def fail(row, n):
        if row.smiles in reason:
            return qm9.BadRow("", message=reason[row.smiles])
        return generate(row, n)

    monkeypatch.setattr(qm9, "generate", fail)
    if is_prepared:
        qm9.prepare(root, "flat")
    seen = []
    result = evaluate(
        predictor,
        root,
        "train",
        "flat",
        limit=20,
        batch_size=1,
        progress=lambda *done: seen.append(done),
    )
    assert result["n"] == 17
    assert result["failed"] == 3
    assert result["reasons"] == {"x": 2, "first": 1}
    assert seen[-1] == (20, 20)


def test_no_molecule_has_a_geometry(predictor, root, monkeypatch):
    bad = qm9.BadRow("", message="why")
    monkeypatch.setattr(qm9, "generate", lambda *_: bad)
    with pytest.raises(ValueError, match="expected molecules with a geometry, got none"):
        evaluate(predictor, root, "train", "flat", limit=3)


def test_calibrated_on_validation_and_covered_there(predictor, root, monkeypatch):
    """The shares of the very molecules that it was calibrated on are about those promised.

    They are not exact, as scores are taken with widths that come from other molecules.
    """
    train, few, test = QM9(root).split()
    monkeypatch.setattr(QM9, "split", lambda self: Split(few, train, test))
    seen = []
    made = calibrate(predictor, root, 0, lambda *done: seen.append(done), conformers=(1, 3))
    assert [one.conformers for one in made] == [1, 3]
    assert seen[-1][0] == seen[-1][1]
    n = made[0].n
    assert n == len(train)
    monkeypatch.setattr(
        predictor, "header", predictor.header.model_copy(update={"calibration": made})
    )
    result = evaluate(predictor, root, "validation", "smiles", conformers=3)
    assert set(result["coverage"]) == set(result["mae"])
    for shares in result["coverage"].values():
        assert shares["std"] == pytest.approx(0.6827, abs=0.12)
        assert shares["low90_high90"] == pytest.approx(0.9, abs=0.08)
    assert "coverage" not in evaluate(predictor, root, "validation", "mmff")


@pytest.mark.parametrize(("option", "value"), [("limit", -1), ("conformers", 0)])
def test_options_out_of_range(predictor, root, option, value):
    with pytest.raises(ValueError, match=rf"evaluate: {option} must be .*, got {value}"):
        evaluate(predictor, root, **{option: value})


def test_a_model_of_other_properties(root):
    from molgeo.data.forces.properties import ENERGY
    from molgeo.predictor import Predictor

    with pytest.raises(ValueError, match="expected a model of some of mu, alpha"):
        evaluate(Predictor("schnet", {"n_blocks": 1}, [ENERGY]), root)


def test_a_page_changes_no_number_and_knows_its_molecules(predictor, root, monkeypatch, tmp_path):
    from molgeo.evaluation.report import page

    pages = []
    monkeypatch.setattr(page, "write_page", lambda *of_page: pages.append(of_page))
    data = QM9(root)
    rows = data.split().train[:20].tolist()
    bad, generate = data.smiles(rows[4]), qm9.generate
    failing = qm9.BadRow("", message="why")
    monkeypatch.setattr(
        qm9, "generate", lambda r, n: failing if r.smiles == bad else generate(r, n)
    )
    options = {"split": "train", "geometry": "flat", "limit": 20, "conformers": 1}
    plain = evaluate(predictor, root, **options)
    assert evaluate(predictor, root, **options, report=tmp_path / "a.html") == plain
    ((path, result, measured, molecules, _),) = pages
    assert path == tmp_path / "a.html"
    about = {"model_sha256": predictor.sha256, "level_of_theory": predictor.header.level_of_theory}
    assert result == {**plain, **about}
    assert molecules.smiles == [data.smiles(k) for k in rows if data.smiles(k) != bad]
    for one in measured:
        column = data.molecules.properties.index(one.of.name)
        labels = [float(data.molecules.y[k, column]) for k in rows if data.smiles(k) != bad]
        assert one.labels.tolist() == pytest.approx(labels)
        assert abs(one.errors).mean() == pytest.approx(plain["mae"][one.of.column])
    assert [len(z) for z in molecules.numbers] == [
        len(data[k].z) for k in rows if data.smiles(k) != bad
    ]


def test_a_model_of_relaxed_molecules_is_measured_at_relaxed_geometries(root, monkeypatch):
    """And has error bars of its own there, beside those at cheap ones."""
    predictor = load(MODEL)
    own = {"geometry_source": "relaxed at B3LYP/6-31G(2df,p)"}
    predictor.header = predictor.header.model_copy(update=own)
    cheap = evaluate(predictor, root, "train", "mmff", limit=4)
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", "spectrum_net-aimnet2")
    relaxed = evaluate(predictor, root, "train", "mmff", limit=4)
    assert relaxed["engine"] == "spectrum_net-aimnet2"
    assert "engine" not in cheap
    assert relaxed["mae"] != cheap["mae"]
    assert "engine" not in evaluate(predictor, root, "train", "dft", limit=4)
    monkeypatch.setattr(QM9, "split", lambda self: Split(*[torch.arange(9)] * 3))
    partner = load(MODEL)
    known = calibrate(predictor, root, conformers=(0, 1), partner=partner)
    engine = relaxed["engine"]
    kinds = [(one.conformers, one.engine, one.partner) for one in known]
    assert kinds == [(0, "", ""), (1, engine, ""), (1, engine, partner.name)]
    predictor.header = predictor.header.model_copy(update={"calibration": known})
    settings = {"split": "train", "geometry": "smiles", "conformers": 1}
    lacking = sample_of(QM9(root), "train", "smiles", 4, 2, engine)
    geometries, places = lacking.source(lacking.rows)
    geometries.number[geometries.first[1] : geometries.first[2]] = 1
    few = lacking._replace(source=lambda rows: (geometries, places), conformers=1)
    found = errors(predictor, few)
    assert (found["n"], found["reasons"]) == (3, {properties.NONE_LEFT: 1})
    alone = evaluate(predictor, root, **settings)
    both = evaluate(predictor, root, **settings, partner=partner)
    assert "partner" not in alone
    assert both["partner"] == partner.name
    assert alone["coverage"]
    assert both["coverage"]
    for one in predictor.properties:
        share, column = known[2].scales[one.name].share, one.column
        assert 0 <= share <= 1
        assert known[2].scales[one.name].falls == 0, "one conformer has no spread"
        if share < 1:
            assert both["mae"][column] < alone["mae"][column]
        else:
            assert both["mae"][column] == pytest.approx(alone["mae"][column])
    assert any(scale.share < 1 for scale in known[2].scales.values())
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", None)
    assert "coverage" not in evaluate(predictor, root, **settings)
