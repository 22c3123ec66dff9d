"""Labels of a force field whose minima are moved: they vanish there, and are of one energy."""

import numpy as np
import pytest
import torch
from ase.build import molecule
from scipy.spatial.transform import Rotation


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, pytestconfig):
    monkeypatch.syspath_prepend(pytestconfig.rootpath / "benchmarks")
    import geometry_engine

    return geometry_engine


@pytest.fixture
def ethanol():
    atoms = molecule("CH3CH2OH")
    return atoms.numbers.astype(np.int64), atoms.positions


def springs(pos: np.ndarray, rest: np.ndarray) -> tuple[float, np.ndarray]:
    """Of all pairs, at rest at other lengths than those of the minimum that is known."""
    vector = pos[:, None] - pos
    r = np.linalg.norm(vector, axis=-1) + np.eye(len(pos))
    off = (r - rest) * (1 - np.eye(len(pos)))
    return 0.25 * float((off**2).sum()), -((off / r)[..., None] * vector).sum(1)


def test_forces_vanish_at_the_known_minimum_and_are_derivatives_around_it(engine, ethanol):
    _, x0 = ethanol
    rest = np.linalg.norm(x0[:, None] - x0, axis=-1) * 0.97
    g = engine.pulls(x0, springs(x0, rest)[1])

    def at(pos):
        return engine.moved(pos, *springs(pos, rest), x0, g)

    energy, forces = at(x0)
    assert energy == springs(x0, rest)[0]
    assert np.abs(springs(x0, rest)[1]).max() > 0.05 > 1e6 * np.abs(forces).max()
    rng = np.random.default_rng(0)
    pos = x0 + 0.1 * rng.standard_normal(x0.shape)
    way = rng.standard_normal(x0.shape)
    ahead, behind = (at(pos + s * 1e-5 * way)[0] for s in (1, -1))
    assert (at(pos)[1] * way).sum() == pytest.approx((behind - ahead) / 2e-5, rel=1e-6)
    R = Rotation.from_rotvec([0.3, 1.0, -0.5]).as_matrix()
    assert at(pos @ R.T + 2.0)[0] == pytest.approx(at(pos)[0], rel=1e-10)


def test_near_pairs_take_what_cancels_the_forces(engine, ethanol):
    _, x0 = ethanol
    forces = springs(x0, np.linalg.norm(x0[:, None] - x0, axis=-1) * 0.97)[1]
    i, j = np.triu_indices(len(x0), 1)
    g, r = np.abs(engine.pulls(x0, forces)), np.linalg.norm(x0[i] - x0[j], axis=1)
    assert g[r < 1.6].mean() > 5 * g[r > 2.8].mean()


def test_turns_keep_bonds_and_change_the_rest(engine, ethanol):
    z, x0 = ethanol
    i, j = np.triu_indices(len(z), 1)
    d0 = np.linalg.norm(x0[i] - x0[j], axis=1)
    found = [engine.turned(z, x0, np.random.default_rng(seed)) for seed in range(5)]
    for pos in found:
        d = np.linalg.norm(pos[i] - pos[j], axis=1)
        assert d[d0 < 1.6] == pytest.approx(d0[d0 < 1.6])
        assert np.abs(d - d0).max() > 0.05
    ring = molecule("C6H6")
    same = engine.turned(ring.numbers, ring.positions, np.random.default_rng(0))
    assert (same == ring.positions).all()


def test_molecules_get_labels_of_their_part_and_impossible_minima_get_none(engine, ethanol):
    z, x0 = ethanol
    rest = np.linalg.norm(x0[:, None] - x0, axis=-1) * 0.97

    class Springs:
        """`springs` in place of a force field."""

        def take(self, structures):
            self.sizes = [len(one.z) for one in structures]

        def __call__(self, pos):
            each = [springs(x, rest) for x in np.split(pos.numpy(), np.cumsum(self.sizes)[:-1])]
            Energy = type("Energy", (), {"energy": torch.tensor([e for e, _ in each])})
            self.potentials = [Energy]
            return torch.tensor(np.concatenate([f for _, f in each]))

    known = [engine.Known(7, 0, z, x0, x0 + 0.01), engine.Known(8, 1, z, 20 * x0)]
    arrays = engine.label(known, Springs(), seed=0)
    assert set(arrays["group"]) == {7}
    assert set(arrays["part"]) == {0}
    assert len(arrays["z"]) == len(arrays["r"]) == len(arrays["f"]) == arrays["n"].sum()
    assert np.abs(arrays["f"][: len(z)]).max() <= 1e-6 < np.abs(arrays["f"][len(z) :]).max()
