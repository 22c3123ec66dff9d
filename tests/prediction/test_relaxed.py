"""Conformers that the geometry engine relaxes before a model of relaxed molecules sees them."""

import copy

import numpy as np
import pandas as pd
import pytest
from ase.build import molecule

from molgeo.chem.conformers import conformers
from molgeo.prediction import batches, predict
from molgeo.prediction import rows as known_rows
from molgeo.prediction.command import run_predict
from molgeo.prediction.run import PropertyRun
from molgeo.prediction.settings import OutputSettings, PredictSettings
from molgeo.predictor import checkpoint
from molgeo.predictor.calibration import Calibration, Scale
from molgeo.predictor.checkpoint import DEFAULT_MODEL, DEFAULT_SMILES_MODEL, catalogue
from molgeo.predictor.header import Facts
from molgeo.simulation.engine import GeometryEngine

ENGINE = "spectrum_net-aimnet2"
LIKE_GFN2 = "given (like gfn2)"
RELAXED = f"etkdg+mmff+{ENGINE}"


@pytest.fixture(autouse=True)
def _engine(monkeypatch):
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", ENGINE)


@pytest.fixture(scope="module")
def of_relaxed(model):
    """The toy as one that was trained at relaxed geometries, calibrated for several."""
    own = copy.deepcopy(model)
    scales = {
        engine: {one.name: Scale(error, 1.0, 2.0) for one in own.properties}
        for engine, error in (("", 1.0), (ENGINE, 0.125))
    }
    known = [
        Calibration(0, 100, {name: Scale(4.0, 1.0, 2.0) for name in scales[""]}),
        *(Calibration(1, 100, each, engine=engine) for engine, each in scales.items()),
    ]
    own.header = Facts(geometry_source="relaxed at B3LYP/6-31G(2df,p)", calibration=known)
    return own


def test_a_model_of_relaxed_molecules_sees_relaxed_conformers(of_relaxed, model):
    settings = {"properties": "gap", "conformers": 1}
    (row,) = predict("OCC", of_relaxed, **settings).to_dict("records")
    assert row["geometry"] == RELAXED
    assert row["gap_eV_std"] == 0.125
    (fast,) = predict("OCC", of_relaxed, fast=True, **settings).to_dict("records")
    assert fast["geometry"] == "etkdg+mmff"
    assert fast["gap_eV_std"] == 1.0
    assert fast["gap_eV"] != row["gap_eV"]
    (cheap,) = predict("OCC", model, **settings).to_dict("records")  # says nothing of geometries
    assert cheap["geometry"] == "etkdg+mmff"
    assert cheap["gap_eV"] == fast["gap_eV"]


def test_every_spelling_and_mirror_image_gives_the_same(of_relaxed):
    spellings = ["C[C@H](O)F", "O[C@@H](C)F", "F[C@H](O)C", "C[C@@H](O)F"]
    table = predict(spellings, of_relaxed, conformers=2)
    assert set(table.geometry) == {RELAXED}
    numbers = table.filter(regex="_eV$|_debye$|_bohr")
    assert (numbers == numbers.iloc[0]).all(axis=None)
    run = PropertyRun(PredictSettings(of_relaxed, conformers=2))
    first, *others = [
        result.conformers[0] for window in run.windows(spellings) for result in window
    ]
    assert first.z.tolist() == [6, 6, 8, 9, 1, 1, 1, 1, 1]
    distances = [
        np.sort(np.linalg.norm(one.pos - one.pos[0], axis=1)) for one in (first, others[2])
    ]
    np.testing.assert_allclose(*distances, atol=1e-9)
    assert _handedness(first) == -_handedness(others[2])


def _handedness(one):
    """Sign of the volume of the neighbours of the second atom: C, O, F and a hydrogen."""
    near = np.argsort(np.linalg.norm(one.pos - one.pos[1], axis=1))[1:5]
    a, b, c, d = one.pos[sorted(near, key=lambda k: one.z[k])]
    return np.sign(np.linalg.det([b - a, c - a, d - a]))


def test_what_the_engine_does_not_know_is_predicted_as_before(monkeypatch):
    """By the model for cheap geometries, and no neighbour notices."""
    alone = predict("CCO", properties="gap", conformers=1)
    knows = GeometryEngine._knows
    monkeypatch.setattr(
        GeometryEngine, "_knows", lambda self, one: len(one.z) != 6 and knows(self, one)
    )
    table = predict(["CCO", "CO", "not", "[NH4+]"], properties="gap", conformers=1)
    assert table.geometry.tolist() == [RELAXED, "etkdg+mmff", "", ""]
    assert table.model[1] == DEFAULT_SMILES_MODEL
    assert set(table.model[2:]) == {DEFAULT_MODEL}
    assert table.status.tolist() == ["ok", "ok", "error", "error"]
    assert table.gap_eV[0] == pytest.approx(alone.gap_eV[0], abs=1e-4)
    fast = predict("CO", properties="gap", fast=True)
    assert table.gap_eV[1] == pytest.approx(fast.gap_eV[0], abs=1e-5)
    assert fast.model[0] == DEFAULT_SMILES_MODEL


def test_one_conformer_is_made_for_the_fast_way_unless_more_are_asked_for(of_relaxed):
    for asked, n in ((None, 1), (3, 3)):
        run = PropertyRun(PredictSettings(of_relaxed, conformers=asked, fast=True))
        ((result,),) = run.windows(["CCCO"])
        assert len(result.conformers) == n


def test_the_fast_way_takes_the_first_isomer_that_comes(of_relaxed, monkeypatch):
    """Which of the two that a strained molecule leaves open is looked at with several otherwise."""
    made = []
    real = conformers._conformers_or_reason
    monkeypatch.setattr(
        conformers,
        "_conformers_or_reason",
        lambda mol, n, clock: made.append(n) or real(mol, n, clock),
    )
    for fast in (True, False):
        list(
            PropertyRun(PredictSettings(of_relaxed, conformers=2, fast=fast)).rows(["CC1C2CC1C2C"])
        )
    assert made == [1, 2, conformers.TRIALS, 2]


def test_an_isomer_that_cannot_be_embedded_is_not_the_last_word(of_relaxed):
    """The first one that comes of this cage is none that comes again."""
    table = predict(["CCC12C3OC4C(C14)C23"], of_relaxed, properties="gap", fast=True)
    assert table.status[0] == "ok"


def test_equal_molecules_are_relaxed_once(of_relaxed, monkeypatch):
    seen = []
    relax = GeometryEngine.relax
    monkeypatch.setattr(
        GeometryEngine, "relax", lambda self, found: seen.append(len(found)) or relax(self, found)
    )
    run = PropertyRun(PredictSettings(of_relaxed, properties="gap", conformers=1))
    rows = [*run.rows(["CCO", "OCC", "O"]), *run.rows(["C(O)C", "CO"])]
    assert seen == [2, 1]
    assert len({row["gap_eV"] for row in rows}) == 3
    assert {row["geometry"] for row in rows} == {RELAXED}
    monkeypatch.setattr(known_rows, "REMEMBERED", 1)
    list(run.rows(["N"]))
    assert len(run.models._relaxed._known) == 1


def test_given_coordinates_stay_and_minimised_ones_are_relaxed(of_relaxed):
    water = molecule("H2O")
    tables = [
        predict(water, of_relaxed, properties="gap", geometry=one) for one in ("auto", "mmff")
    ]
    assert [table.geometry[0] for table in tables] == [LIKE_GFN2, f"given+mmff+{ENGINE}"]
    assert [table.gap_eV_std[0] for table in tables] == [4.0, 0.125]


def test_conformers_that_are_written_are_the_relaxed_ones(of_relaxed, tmp_path):
    (tmp_path / "in.smi").write_text("CCO\nOCC\nCO\n")
    output = OutputSettings(str(tmp_path / "out.csv"), write_geometries=str(tmp_path / "g.sdf"))
    settings = PredictSettings(of_relaxed, properties="gap", conformers=2)
    assert run_predict([str(tmp_path / "in.smi")], settings, output) == 0
    assert set(pd.read_csv(tmp_path / "out.csv").geometry) == {RELAXED}
    assert (tmp_path / "g.sdf").read_text().count(RELAXED) == 6


def test_values_are_a_mean_with_the_model_for_cheap_geometries_by_its_measured_share(
    of_relaxed, model, monkeypatch
):
    """If no model is named: each sees conformers of its own."""
    names = {"given": of_relaxed, "cheap": copy.copy(model)}
    names["cheap"].name = "cheap"
    scales = {one.name: Scale(0.25, 1.0, 2.0, share=0.75) for one in model.properties}
    mixed = Calibration(1, 100, scales, engine=ENGINE, partner="cheap")
    known = [*of_relaxed.header.calibration, mixed]
    own = of_relaxed.header.model_copy(update={"calibration": known})
    monkeypatch.setattr(of_relaxed, "header", own)
    real = batches.BatchPredictor
    monkeypatch.setattr(
        batches, "BatchPredictor", lambda name, *options: real(names.get(name, name), *options)
    )
    monkeypatch.setattr(checkpoint, "DEFAULT_MODEL", "given")
    monkeypatch.setattr(checkpoint, "DEFAULT_SMILES_MODEL", "cheap")
    smiles, settings = ["OCC", "CO", molecule("H2O")], {"properties": "gap", "conformers": 1}
    both = predict(smiles, **settings)
    relaxed, cheap = (predict(smiles, names[name], **settings) for name in names)
    for k in (0, 1):
        expected = 0.75 * relaxed.gap_eV[k] + 0.25 * cheap.gap_eV[k]
        assert both.gap_eV[k] == pytest.approx(expected, abs=1e-5)
        assert both.gap_eV_std[k] == 0.25
        assert both.geometry[k] == RELAXED
        assert both.model[k] == of_relaxed.name
    assert both.gap_eV[2] == pytest.approx(relaxed.gap_eV[2], abs=1e-5)
    minimised = predict(molecule("H2O"), geometry="mmff", **settings)
    assert minimised.gap_eV_std[0] == 0.125
