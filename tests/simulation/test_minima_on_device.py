"""Many structures are relaxed to the same minima on any device, and without ASE."""

from pathlib import Path

import numpy as np
import pytest
import torch
from compounds import compound

from molgeo.predictor.ensemble import members
from molgeo.simulation.minimisation import Start, descend
from molgeo.simulation.together import Structure, Together

MODEL = Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors"
NAMES = ("H2O", "CH3CH2OH", "CH4", "CO2", "C2H6")


def structures():
    rng = np.random.default_rng(0)
    for name in NAMES:
        z, pos = (x.numpy() for x in compound(name))
        yield Structure(z, pos + 0.1 * rng.standard_normal(pos.shape))


def minima(device):
    together = Together(members(str(MODEL), torch.device(device), torch.float64))
    starts = (Start(k, one) for k, one in enumerate(structures()))
    found = descend(starts, together, 1e-3, 300, batch_size=3)
    return sorted(found, key=lambda minimum: minimum.start.key)


def test_forces_of_many_are_those_of_each(device):
    models = members(str(MODEL), device, torch.float64)
    many, alone, given = Together(models), Together(models), list(structures())
    many.take(given)
    found = many(torch.tensor(np.concatenate([one.pos for one in given]), device=device))
    expected = []
    for one in given:
        alone.take([one])
        expected.append(alone(torch.tensor(one.pos, device=device)))
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-9, atol=1e-9)


def test_minima_are_those_of_the_cpu(device):
    for own, other in zip(minima(device), minima("cpu"), strict=True):
        assert own.converged
        assert other.converged
        assert own.results["energy"] == pytest.approx(other.results["energy"], abs=1e-4)
