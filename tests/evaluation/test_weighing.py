"""Weights of conformers in an evaluation are those that predictions have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from molgeo.chem.bonds import stereo_smiles
from molgeo.data.qm9.dataset import QM9
from molgeo.data.qm9.properties import LOG_WEIGHT
from molgeo.data.qm9.sources import write
from molgeo.evaluation.calibrating import calibrated_numbers
from molgeo.evaluation.properties import collect
from molgeo.evaluation.qm9 import evaluate, sample_of, weigher_of
from molgeo.evaluation.weighing import Weigher, of_molecule
from molgeo.prediction import conformer_average, predict
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import (
    DEFAULT_MODEL,
    catalogue,
    geometry_engine,
    load,
    save_checkpoint,
)
from molgeo.predictor.domain import Domain

from .test_properties import MODEL

ENGINE = "spectrum_net-aimnet2-small"


@pytest.fixture
def root(some_qm9, tmp_path):
    write(some_qm9, tmp_path / "qm9.safetensors", "fixture")
    return tmp_path


@pytest.fixture
def predictor():
    made = load(MODEL)
    made.header = made.header.model_copy(update={"data": "QM9"})
    return made


@pytest.fixture
def weigher(tmp_path, monkeypatch):
    """A net without training, which knows no nitrogen."""
    torch.manual_seed(2)
    fields = {"n_features": 8, "n_filters": 8, "n_blocks": 1, "n_gaussians": 8, "cutoff": 4.0}
    made = Predictor("schnet", fields, [LOG_WEIGHT], head_features=8).eval()
    with torch.no_grad():
        made.heads.out_bias[1] = 2.0
    made.domain, made.name = Domain((1, 6, 8, 9), max_atoms=29, min_distance=0.9), "weigher"
    path = tmp_path / "weigher.safetensors"
    save_checkpoint(made, path, {"name": "weigher"})
    monkeypatch.setattr(catalogue, "CONFORMER_WEIGHTS", str(path))
    return made


@pytest.mark.parametrize("engine", [None, ENGINE])
def test_values_are_averages_with_the_weights_of_the_conformers_before(
    predictor, weigher, root, engine
):
    data, n = QM9(root), 3
    sample = sample_of(data, "train", "smiles", 30, n, engine, None, weigher)
    cheap = sample_of(data, "train", "smiles", 30, n)
    plain = sample_of(data, "train", "smiles", 30, n, engine)
    found, before = collect(predictor, sample), collect(predictor, plain)
    geometries, places = sample.source(sample.rows)
    cheaper, own = cheap.source(cheap.rows)
    differ = 0
    for k, row in enumerate(found.rows.tolist()):
        place = places[sample.rows.tolist().index(row)][None]
        conformers, made = geometries.all_of(place, n), cheaper.all_of(own[place], n)
        batch = geometries.molecules.batch(conformers)
        with torch.no_grad():
            values = predictor(batch.z, batch.pos, batch.batch)["homo"].numpy()
            first = cheaper.molecules.batch(made)
            logs = weigher(first.z, first.pos, first.batch)[LOG_WEIGHT.name].numpy()
        value = found.values[k, [one.name for one in found.properties].index("homo")].item()
        if 7 in batch.z or len(conformers) == 1:
            assert torch.equal(found.values[k], before.values[k])
            continue
        of_number = dict(zip(cheaper.number[made].tolist(), logs.tolist(), strict=True))
        own_logs = [of_number[number] for number in geometries.number[conformers].tolist()]
        w = np.exp(np.array(own_logs) / conformer_average.SHARPNESS)
        assert value == pytest.approx(w @ values / w.sum(), abs=1e-5)
        differ += not torch.allclose(found.values[k], before.values[k])
    assert differ > 3


def test_predictions_are_weighed_as_evaluations_are(root):
    """By the shipped models, which refuse none of these molecules."""
    data, model = QM9(root), load(DEFAULT_MODEL)
    weigher = weigher_of(model, "smiles", 3)
    fields = "train", "smiles", 12, 3, geometry_engine()
    sample = sample_of(data, *fields, weigher=weigher)
    found, plain = (collect(model, one) for one in (sample, sample_of(data, *fields)))
    table = predict([_smiles(data, row) for row in found.rows.tolist()], model, conformers=3)
    for k, one in enumerate(found.properties):
        expected = found.values[:, k].numpy()
        # Conformers are relaxed in other batches, in float32.
        assert table[one.column].to_numpy() == pytest.approx(expected, rel=1e-3, abs=3e-3)
    gap = [one.name for one in found.properties].index("gap")
    weighed, before = (one.values[:, gap].numpy() for one in (found, plain))
    moved = np.abs(weighed - before) > 5e-3
    assert moved.any()
    assert (np.abs(table.gap_eV - weighed) < 0.2 * np.abs(table.gap_eV - before))[moved].all()


def _smiles(data, row):
    a, b = data.molecules.ptr[row : row + 2].tolist()
    z, pos = data.molecules.z[a:b].numpy().astype(int), data.molecules.pos[a:b].double().numpy()
    return stereo_smiles(data.smiles(row), z, pos)


def test_conformers_that_count_are_relaxed_for_each_number_of_them(
    predictor, weigher, root, monkeypatch
):
    """As if all were relaxed, and those that do not count were left out of the averages."""
    monkeypatch.setattr(conformer_average, "LEAST_SHARE", 0.995)
    data = QM9(root)
    fields = data, "train", "smiles", 20, 3, ENGINE, None
    sample, whole = sample_of(*fields, weigher, (1, 2)), sample_of(*fields)
    chosen, every = (
        geometries.all_of(places) for geometries, places in map(_source, (sample, whole))
    )
    assert len(sample.rows) < len(chosen) < len(every)
    whole = whole.weighed_by(sample.weigher)
    moved = 0
    for n in (1, 2, 3):
        found, expected, alone = (
            collect(predictor, one)
            for one in (
                sample.with_conformers(n),
                whole.with_conformers(n),
                sample_of(data, "train", "smiles", 20, n, ENGINE, None, weigher),
            )
        )
        # Conformers are relaxed in other batches, in float32.
        for other in (expected, alone):
            assert found.values.numpy() == pytest.approx(other.values.numpy(), rel=2e-3, abs=0.02)
            assert torch.equal(found.rows, other.rows)
        plain = collect(predictor, sample_of(*fields)._replace(conformers=n))
        moved += not torch.allclose(found.values, plain.values, rtol=4e-3, atol=0.04)
    assert moved


def test_a_molecule_may_have_none_of_the_conformers_that_count(root):
    geometries, places = _source(sample_of(QM9(root), "train", "smiles", 5, 2))
    first = geometries.all_of(places[:1])
    logs = {0: 0.0, 1: -9.0}
    expected = first[geometries.number[first] == 0]
    assert torch.equal(of_molecule(geometries, places[0], 2, logs), expected)
    missing = replace(geometries, number=torch.full_like(geometries.number, 1))
    assert len(of_molecule(missing, places[0], 2, logs)) == 0
    assert len(of_molecule(missing, places[0], 1, logs)) == 0, "an engine failed with it"


def _source(sample):
    return sample.source(sample.rows)


def test_models_of_qm9_are_calibrated_for_the_conformers_that_are_made(predictor, weigher):
    assert calibrated_numbers(predictor.header) == (1, 2, 4, 8, 32)
    other = predictor.header.model_copy(update={"data": "my own"})
    assert calibrated_numbers(other) == (1, 2, 4, 8)


def test_each_molecule_is_weighed_once(weigher, root):
    sample = sample_of(QM9(root), "train", "smiles", 10, 2)
    seen = []
    own = Weigher(
        weigher, sample._replace(source=lambda rows: seen.append(len(rows)) or sample.source(rows))
    )
    first = dict(own(sample.rows[:6]))
    again = own(sample.rows)
    assert seen == [6, 4]
    assert all(again[row] == one for row, one in first.items())


def test_models_of_other_labels_are_not_weighed(predictor, weigher, root, monkeypatch):
    assert weigher_of(predictor, "smiles", 8) is not None
    for geometry, n in (("mmff", 1), ("dft", 1), ("smiles", 1)):
        assert weigher_of(predictor, geometry, n) is None
    weighed = evaluate(predictor, root, "train", "smiles", limit=20, conformers=3)
    predictor.header = predictor.header.model_copy(update={"data": "my own"})
    assert weigher_of(predictor, "smiles", 8) is None
    plain = evaluate(predictor, root, "train", "smiles", limit=20, conformers=3)
    assert weighed["mae"] != plain["mae"]
    assert (weighed["weigher"], "weigher" in plain) == ("weigher", False)
    monkeypatch.setattr(catalogue, "CONFORMER_WEIGHTS", None)
    predictor.header = predictor.header.model_copy(update={"data": "QM9"})
    assert evaluate(predictor, root, "train", "smiles", limit=20, conformers=3) == plain
