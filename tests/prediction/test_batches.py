import copy

import numpy as np
import pytest
import torch
from compounds import compound

from molgeo.chem.molecule import Molecule
from molgeo.data.qm9.properties import PROPERTIES, named
from molgeo.prediction import batches
from molgeo.prediction.batches import BatchPredictor
from molgeo.predictor import Predictor
from molgeo.predictor.domain import Domain
from molgeo.predictor.familiarity import Judged
from molgeo.runtime.errors import InputError


class StandIn(torch.nn.Module):
    """A gap that is the number of atoms; fails on fluorine, NaN with neon, absurd with argon."""

    name, cutoff, domain = "stand-in", 5.0, None
    properties, property_names, outputs = named(["gap"]), ("gap",), {"gap": PROPERTIES["gap"]}

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, z, pos, batch):
        sizes = batch.bincount()
        self.batches.append(sizes.tolist())
        if (z == 9).any():
            raise RuntimeError("cannot do\nthis one")
        gap = torch.where((z == 10).any(), torch.nan, sizes.double())
        return {"gap": torch.where((z == 18).any(), -2e4, gap)}

    def judged(self, z, pos, batch, graph=None):
        values = self(z, pos, batch)
        return Judged(values, values["gap"].abs()[:, None] / 1000, None)


def chain(n, z=2):
    return Molecule(np.full(n, z), np.arange(3.0 * n).reshape(n, 3))


def test_batches_are_bounded_by_their_pairs():
    model = BatchPredictor(StandIn())
    sizes = [2, 300, 4, 90, 90, 6, 1]
    assert [values["gap"] for values in model.values(list(map(chain, sizes)))] == sizes
    seen = model.predictor.batches
    assert seen == [[1, 2, 4, 6, 90, 90], [300]]
    assert sum(n * n for n in seen[0]) <= model.max_pairs


def test_batches_are_bounded_by_their_molecules():
    model = BatchPredictor(StandIn(), batch_size=2)
    model.values([chain(n) for n in (3, 1, 2, 5, 4)])
    assert model.predictor.batches == [[1, 2], [3, 4], [5]]


def test_a_batch_that_fails_is_done_one_by_one():
    model = BatchPredictor(StandIn())
    values = model.values([chain(1), chain(2, z=9), chain(3)])
    assert values == [
        {"gap": 1.0},
        "the model failed on this molecule: cannot do this one",
        {"gap": 3.0},
    ]


def test_a_value_that_spreads_through_its_batch_is_caught():
    model = BatchPredictor(StandIn())
    first, second, third = model.values([chain(1), chain(2, z=10), chain(3)])
    assert (first, third) == ({"gap": 1.0}, {"gap": 3.0})
    assert second == "the model gave no finite value of gap: check the geometry"


def test_a_value_that_no_molecule_has_is_no_prediction():
    model = BatchPredictor(StandIn())
    first, second = model.values([chain(1), chain(2, z=18)])
    assert first == {"gap": 1.0}
    assert second == (
        "the model knows no such molecule: its gap came out as -2e+04 eV; check the geometry, or "
        "take another model"
    )


def test_one_batch_is_in_flight_while_the_one_before_is_read(monkeypatch):
    """As on a card, which gives the values of a batch, or its error, when they are asked for."""
    events = []

    def late(table):
        n = len(events)
        events.append(f"begin {n}")

        def wait():
            events.append(f"read {n}")
            if n == 0:
                raise RuntimeError("of the card")
            return table

        return wait

    monkeypatch.setattr(batches, "received", late)
    model = BatchPredictor(StandIn(), batch_size=2)
    values = model.values([chain(n) for n in (1, 2, 3, 4, 5)])
    assert [value["gap"] for value in values] == [1, 2, 3, 4, 5]
    # The first batch failed when it was read: its molecules are done one by one.
    alone = ["begin 3", "read 3", "begin 5", "read 5"]
    assert events == ["begin 0", "begin 1", "read 0", *alone, "begin 7", "read 1", "read 7"]


def test_no_molecules_are_no_work():
    model = BatchPredictor(StandIn())
    assert model.values([]) == []
    assert model.predictor.batches == []


def test_keys_narrow_the_values():
    torch.manual_seed(0)
    fields = {"n_features": 8, "n_blocks": 1}
    model = BatchPredictor(Predictor("schnet", fields, named(["mu", "gap"]), 8))
    assert model.keys == ["mu", "gap"]
    model.keys = ["gap"]
    (values,) = model.values([chain(3)])
    assert list(values) == ["gap"]


@pytest.mark.parametrize("batch_size", ["auto", 2])
def test_values_are_those_of_the_cpu_on_any_device(device, batch_size):
    torch.manual_seed(0)
    properties = named(["mu", "gap", "u0", "r2"])
    model = Predictor("schnet", {"n_features": 8, "n_blocks": 1}, properties, 8)
    molecules = [Molecule(*(x.numpy() for x in compound(name))) for name in ("H2O", "CO2", "C6H6")]
    expected = BatchPredictor(copy.deepcopy(model), "cpu").values(molecules)
    found = BatchPredictor(model, device.type, batch_size).values(molecules)
    for own, other in zip(found, expected, strict=True):
        assert own == pytest.approx(other, rel=1e-4, abs=1e-5)


def test_a_given_model_keeps_its_device_and_precision():
    model = BatchPredictor(
        Predictor("schnet", {"n_features": 8, "n_blocks": 1}, named(["gap"]), 8).double()
    )
    assert model.device == torch.device("cpu")
    (values,) = model.values([chain(3)])
    assert np.isfinite(values["gap"])
    assert next(model.predictor.parameters()).dtype == torch.float64


def test_refusal_looks_at_every_conformer():
    model = BatchPredictor(StandIn())
    assert model.refusal([chain(3)]) is None
    broken = Molecule(np.full(2, 2), np.zeros((2, 3)))
    assert "0.000 Å apart" in model.refusal([chain(2), broken])


def test_refusal_asks_the_domain():
    model = BatchPredictor(StandIn())
    model.predictor.domain = Domain((1, 6), max_atoms=9, min_distance=0.9)
    assert "element He" in model.refusal([chain(3)])


def test_bad_settings():
    with pytest.raises(InputError, match="batch_size must be 'auto' or at least 1, got -1"):
        BatchPredictor(StandIn(), batch_size=-1)
    with pytest.raises(ValueError, match="abacus"):
        BatchPredictor(StandIn(), device="abacus")
