"""Which conformers count, as a model of them says it."""

import copy

import numpy as np
import pytest
import torch
from ase.build import molecule

from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import SmilesRow
from molgeo.data.qm9.properties import LOG_WEIGHT
from molgeo.prediction import batches, predict
from molgeo.prediction.conformer_average import SHARPNESS
from molgeo.prediction.run import PropertyRun
from molgeo.prediction.settings import EmbedSettings, PredictSettings
from molgeo.predictor import Predictor
from molgeo.predictor.checkpoint import catalogue
from molgeo.predictor.domain import Domain
from molgeo.predictor.header import Facts
from molgeo.simulation.engine import GeometryEngine

ENGINE = "spectrum_net-b3lyp"
FLEXIBLE = "OCCCN"


@pytest.fixture(scope="module")
def weigher():
    """Knows that a conformer is the likelier the more extended it is."""
    torch.manual_seed(1)
    fields = {"n_features": 8, "n_filters": 8, "n_blocks": 1, "n_gaussians": 8, "cutoff": 3.0}
    made = Predictor("schnet", fields, [LOG_WEIGHT], head_features=8)
    with torch.no_grad():
        made.heads.out_weight.zero_()
        made.heads.out_bias[1] = 3.0  # of every atom's r²
    made.domain = Domain((1, 6, 7, 8), max_atoms=29, min_distance=0.9)
    made.name = "weigher"
    return made.eval()


@pytest.fixture
def of_qm9(model, weigher, monkeypatch):
    """The toy as a model of QM9's labels, beside a model that weighs conformers."""
    real = batches.BatchPredictor
    named = {"weigher": weigher}
    monkeypatch.setattr(
        batches, "BatchPredictor", lambda name, *more: real(named.get(name, name), *more)
    )
    monkeypatch.setattr(catalogue, "CONFORMER_WEIGHTS", "weigher")
    own = copy.copy(model)
    own.header = Facts(data="QM9", geometry_source="MMFF94")
    return own


def _conformers(predictor, smiles, **settings):
    run = PropertyRun(PredictSettings(predictor, properties="homo", **settings))
    ((result,),) = run.windows([smiles])
    return result


def _log_weight(weigher, one):
    with torch.no_grad():
        return weigher(torch.tensor(one.z), torch.tensor(one.pos).float())[LOG_WEIGHT.name].item()


def _homo(predictor, conformers):
    inputs = [(torch.tensor(one.z), torch.tensor(one.pos).float()) for one in conformers]
    with torch.no_grad():
        return np.array([predictor(z, pos)["homo"].item() for z, pos in inputs])


def test_a_value_is_the_average_with_the_learned_weights(of_qm9, weigher):
    result = _conformers(of_qm9, FLEXIBLE, conformers=4)
    logs = np.array([one.log_weight for one in result.conformers])
    assert np.ptp(logs) > 0.1
    powers = np.exp((logs - logs.max()) / SHARPNESS)
    shares = powers / powers.sum()
    homo = _homo(of_qm9, result.conformers)
    assert np.ptp(homo) > 1e-4
    assert result.row["homo_eV"] == pytest.approx(shares @ homo, abs=1e-6)
    spread = np.sqrt(shares @ (homo - shares @ homo) ** 2)
    assert result.row["homo_eV_conformer_std"] == pytest.approx(spread, abs=1e-6)
    first = result.conformers[0]
    assert first.log_weight == pytest.approx(_log_weight(weigher, first), abs=1e-4)


def test_conformers_that_hardly_count_are_neither_relaxed_nor_averaged(
    of_qm9, weigher, monkeypatch
):
    made = embed(SmilesRow(FLEXIBLE), 8)
    logs = np.array([_log_weight(weigher, one) for one in made])
    expected = [one.pos for one, log in zip(made, logs, strict=True) if log > logs.max() - 2.3]
    assert 1 < len(expected) < 8
    cheap = _conformers(of_qm9, FLEXIBLE, conformers=8).conformers
    for one, pos in zip(cheap, expected, strict=True):
        assert np.array_equal(one.pos, pos)
    seen = []
    relax = GeometryEngine.relax
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", ENGINE)
    monkeypatch.setattr(
        GeometryEngine,
        "relax",
        lambda self, found: seen.extend(len(one.pos) for one in found) or relax(self, found),
    )
    of_qm9.header = of_qm9.header.model_copy(
        update={"geometry_source": "relaxed at B3LYP/6-31G(2df,p)"}
    )
    relaxed = _conformers(of_qm9, FLEXIBLE, conformers=8)
    assert seen == [len(expected)]
    assert relaxed.conformers[0].geometry.endswith(ENGINE)
    homo = _homo(of_qm9, relaxed.conformers)
    lowest = min(range(len(homo)), key=lambda k: relaxed.conformers[k].energy)
    assert relaxed.row["homo_eV_lowest"] == pytest.approx(homo[lowest], abs=1e-6)


def test_more_conformers_are_made_if_they_are_weighed(of_qm9):
    other = copy.copy(of_qm9)
    other.header = Facts(data="my table")
    numbers = {
        32: PredictSettings(of_qm9),
        8: PredictSettings(other),
        1: PredictSettings(of_qm9, fast=True),
        5: PredictSettings(of_qm9, conformers=5),
    }
    assert {n: PropertyRun(one).models.n_conformers for n, one in numbers.items()} == {
        n: n for n in numbers
    }


def test_features_are_not_weighed(of_qm9):
    """They are means over conformers with equal weights, whatever a label is of."""
    models = PropertyRun(EmbedSettings(of_qm9)).models
    assert (models.n_conformers, models.weigher) == (8, None)


def test_equal_molecules_are_weighed_once(of_qm9):
    run = PropertyRun(PredictSettings(of_qm9, properties="homo", conformers=3))
    weighs, seen = run.models.weigher.model, []
    values = weighs.values
    weighs.values = lambda each: seen.append(len(each)) or values(each)
    rows = [*run.rows([FLEXIBLE, "NCCCO"]), *run.rows([FLEXIBLE])]
    assert len({row["homo_eV"] for row in rows}) == 1
    assert sum(seen) <= 3


def test_energies_still_say_which_conformer_is_the_lowest(of_qm9, monkeypatch):
    columns = ["homo_eV_lowest", "homo_eV_boltzmann"]
    weighed = predict(FLEXIBLE, of_qm9, conformers=4)
    monkeypatch.setattr(catalogue, "CONFORMER_WEIGHTS", None)
    before = predict(FLEXIBLE, of_qm9, conformers=4)
    assert weighed[columns].equals(before[columns])
    assert abs(weighed.homo_eV[0] - before.homo_eV[0]) > 1e-5


def test_weights_stay_with_conformers_that_are_relaxed(of_qm9, monkeypatch):
    """They are those of the conformers before, by which of these each relaxed one was made."""
    monkeypatch.setattr(catalogue, "GEOMETRY_ENGINE", ENGINE)
    cheap = _conformers(of_qm9, FLEXIBLE, conformers=4).conformers
    of_qm9.header = of_qm9.header.model_copy(
        update={"geometry_source": "relaxed at B3LYP/6-31G(2df,p)"}
    )
    relaxed = _conformers(of_qm9, FLEXIBLE, conformers=4).conformers
    assert relaxed[0].geometry.endswith(ENGINE)
    assert [one.energy for one in relaxed] == sorted(one.energy for one in relaxed)
    for one in relaxed:
        near = min(cheap, key=lambda other: np.abs(_distances(other) - _distances(one)).max())
        assert one.log_weight == near.log_weight


def _distances(one):
    return np.sort(np.linalg.norm(one.pos[:, None] - one.pos, axis=-1), axis=None)


def test_every_spelling_has_the_same_weights(of_qm9):
    table = predict(["OC[C@H](F)N", "N[C@@H](F)CO", "N[C@H](F)CO"], of_qm9, conformers=3)
    assert table.homo_eV.nunique() == 1


def test_what_the_model_does_not_know_is_averaged_as_before(of_qm9, weigher, monkeypatch):
    """Another element, given coordinates, one conformer, labels of no conformer of QM9."""
    fluorine = _conformers(of_qm9, "OCCCF", conformers=4)
    assert {one.log_weight for one in fluorine.conformers} == {None}
    assert PropertyRun(PredictSettings(of_qm9, conformers=1)).models.weigher is None
    assert PropertyRun(PredictSettings(of_qm9, fast=True)).models.weigher is None
    ((given,),) = PropertyRun(PredictSettings(of_qm9, conformers=4)).windows(molecule("CH3OH"))
    assert given.conformers[0].log_weight is None
    other = copy.copy(of_qm9)
    other.header = Facts(data="my table")
    assert PropertyRun(PredictSettings(other, conformers=4)).models.weigher is None


def test_a_window_has_weights_of_its_own(of_qm9):
    alone = predict(FLEXIBLE, of_qm9, properties="homo", conformers=4)
    table = predict(["CCO", FLEXIBLE, "not", "OCCCF"], of_qm9, properties="homo", conformers=4)
    assert table.homo_eV[1] == pytest.approx(alone.homo_eV[0], abs=1e-6)
    assert table.status.tolist() == ["ok", "ok", "error", "ok"]
