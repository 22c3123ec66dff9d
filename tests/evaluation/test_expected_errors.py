"""A force field learns what errors its forces have, and they are measured against plain sums."""

import numpy as np
import pytest
import torch
from force_fields import force_field
from scipy.stats import spearmanr

from molgeo.data.molecules import MoleculeSet
from molgeo.evaluation.expected_errors import add_expected_errors, some, told_errors
from molgeo.graph import radius_graph

N, SIZE = 60, 6


@pytest.fixture(scope="module")
def data():
    """Molecules whose labels are wrong by more, the more oxygen is near."""
    rng = np.random.default_rng(0)
    own = force_field("spectrum_net", charges=True)
    z = torch.from_numpy(rng.choice([1, 6, 8], (N, SIZE)))
    grid = np.array([[x, y, 0.0] for x in range(3) for y in range(2)]) * 1.4
    pos = torch.from_numpy(grid + 0.15 * rng.standard_normal((N, SIZE, 3))).float()
    charge = torch.from_numpy(rng.integers(-1, 2, N))
    force = []
    for k in range(N):
        graph = radius_graph(pos[k], own.cutoff).with_known(charge[k : k + 1])
        near = int((z[k] == 8).sum())
        noise = torch.from_numpy(0.05 * (1 + near) * rng.standard_normal((SIZE, 3)))
        force.append(own.potential(z[k], pos[k], graph).forces.double() + noise)
    force = torch.cat(force)
    force[:3] = torch.nan  # not known
    molecules = MoleculeSet(
        z.flatten().to(torch.uint8),
        pos.reshape(-1, 3),
        torch.arange(N + 1) * SIZE,
        torch.zeros(N, 1, dtype=torch.float64),
        torch.arange(N),
        ("energy",),
        force=force,
        charge=charge,
    )
    return own, molecules


def test_errors_are_told_and_are_those_of_the_labels(data):
    own, molecules = data
    rows = torch.arange(N)
    add_expected_errors(own, molecules, rows[20:], rows[:40])
    told = told_errors(own, molecules, rows[:20])
    expected, error, z, charge = [], [], [], []
    for k in range(20):
        batch = molecules.batch(rows[k : k + 1])
        found = own.potential(batch.z, batch.pos, batch.graph(own.cutoff))
        expected += found.forces_std.tolist()
        error += torch.linalg.vector_norm(found.forces - batch.force, dim=-1).tolist()
        z += batch.z.tolist()
        charge += [int(batch.charge)] * SIZE
    expected, error, z, charge = (np.array(x)[3:] for x in (expected, error, z, charge))
    assert told["n_atoms"] == len(z) == 117
    assert told["spearman"] == pytest.approx(spearmanr(expected, error).statistic, abs=1e-6)
    assert told["expected_eV_A"] == pytest.approx(expected.mean(), rel=1e-4)
    assert told["real_eV_A"] == pytest.approx(error.mean(), rel=1e-4)
    assert told["expected_eV_A"] == pytest.approx(error.mean(), rel=0.3)
    for number, symbol in ((1, "H"), (6, "C"), (8, "O")):
        row = told["by_element"][symbol]
        assert row["real_eV_A"] == pytest.approx(error[z == number].mean(), rel=1e-4)
    for q in (-1, 0, 1):
        row = told["by_charge"][str(q)]
        assert row["expected_eV_A"] == pytest.approx(expected[charge == q].mean(), rel=1e-4)
    limit = float(own.expected_errors.limit)
    assert told["above_limit"] == pytest.approx((expected > limit).mean())


def test_without_forces_there_is_no_record(data):
    from dataclasses import replace

    own = force_field("spectrum_net", charges=True)
    rows = torch.arange(N)
    add_expected_errors(own, replace(data[1], force=None), rows[:40], rows[40:])
    assert own.expected_errors is None


def test_some_rows_are_evenly_spaced():
    rows = torch.arange(100, 200)
    assert torch.equal(some(rows, 0), rows)
    assert torch.equal(some(rows, 100), rows)
    assert some(rows, 4).tolist() == [100, 133, 166, 199]
