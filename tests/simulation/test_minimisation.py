from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule

from molgeo.predictor.ensemble import members
from molgeo.simulation.calculator import MolgeoCalculator
from molgeo.simulation.minimisation import Start, _newton, descend, minimise
from molgeo.simulation.relaxation import relax
from molgeo.simulation.together import Structure, Together

MODEL = Path(__file__).parents[1] / "fixtures" / "force_field" / "force_field.safetensors"
NAMES = ("H2O", "CH3CH2OH", "CH4", "CO2", "C2H6", "CH3OH")


@pytest.fixture(scope="module")
def together():
    return Together(members(str(MODEL), torch.device("cpu"), torch.float64))


def shaken(size=0.1):
    rng = np.random.default_rng(0)
    all_atoms = [molecule(name) for name in NAMES]
    for atoms in all_atoms:
        atoms.positions += size * rng.standard_normal((len(atoms), 3))
    return all_atoms


def starts(all_atoms, **more):
    for k, atoms in enumerate(all_atoms):
        z = atoms.numbers.astype(np.int64)
        yield Start(k, Structure(z, atoms.positions.copy(), **more))


def found(all_atoms, together, *options):
    minima = {each.start.key: each for each in descend(starts(all_atoms), together, *options)}
    return [minima[k] for k in range(len(all_atoms))]


def test_the_steps_are_those_of_bfgs_in_ase(together, monkeypatch):
    """From far off, where Hessian matrices have eigenvalues below zero, to the minimum."""
    bent = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda h: bent.append(h) or eigh(h))
    calculator = MolgeoCalculator(str(MODEL), "cpu", "float64", check_geometry=False)
    all_atoms = shaken()
    for atoms, minimum in zip(all_atoms, found(all_atoms, together, 0.01, 200), strict=True):
        atoms.calc = calculator
        relaxed = relax(atoms, 0.01, 200)
        assert minimum.converged
        assert not minimum.failed
        assert minimum.n_steps == relaxed.n_steps >= 5
        assert minimum.fmax == pytest.approx(relaxed.fmax, rel=1e-4)
        np.testing.assert_allclose(minimum.pos, relaxed.atoms.positions, atol=1e-6)
        energy = relaxed.atoms.get_potential_energy()
        assert minimum.results["energy"] == pytest.approx(energy, abs=1e-8)
    assert bent


@pytest.mark.parametrize("size", [1, 2, 4])
def test_batches_that_are_filled_up_change_nothing(together, size):
    whole = found(shaken(), together, 0.05, 200)
    for one, other in zip(found(shaken(), together, 0.05, 200, size), whole, strict=True):
        assert one.n_steps == other.n_steps
        np.testing.assert_allclose(one.pos, other.pos, atol=1e-7)


def test_float32_goes_first(together):
    """Its steps count, and the end is float64's."""
    minima = {m.start.key: m for m in minimise(starts(shaken()), together.models, 0.01, 200)}
    for k, exact in enumerate(found(shaken(), together, 0.01, 200)):
        assert minima[k].converged
        assert abs(minima[k].n_steps - exact.n_steps) <= 3
        again = Start(0, minima[k].start.structure._replace(pos=minima[k].pos))
        (there,) = descend([again], together, 0.01, 200)
        assert there.n_steps == 0
        assert there.results["energy"] == pytest.approx(minima[k].results["energy"], abs=1e-9)
        assert there.results["energy"] == pytest.approx(exact.results["energy"], abs=1e-3)


def test_structures_are_taken_as_there_is_room(together):
    taken = []

    def given():
        for start in starts(shaken()):
            taken.append(start.key)
            yield start

    next(descend(given(), together, 0.05, 200, 2))
    assert len(taken) <= 4


def test_a_batch_that_takes_too_much_memory_is_halved(together, monkeypatch):
    """Each comes to its minimum all the same, once."""
    sizes, evaluate = [], Together.__call__

    def short_of_memory(self, pos):
        sizes.append(len(pos))
        if len(pos) > 12:
            raise torch.OutOfMemoryError
        return evaluate(self, pos)

    whole = found(shaken(), together, 0.05, 200)
    monkeypatch.setattr(Together, "__call__", short_of_memory)
    minima = list(descend(starts(shaken()), together, 0.05, 200))
    assert sorted(each.start.key for each in minima) == list(range(len(NAMES)))
    assert sum(size > 12 for size in sizes) < 4
    for one in minima:
        assert one.converged
        other = whole[one.start.key]
        assert one.results["energy"] == pytest.approx(other.results["energy"], abs=1e-2)
    monkeypatch.setattr(Together, "__call__", lambda *_: short_of_memory(None, [0] * 13))
    with pytest.raises(torch.OutOfMemoryError):
        list(descend(starts(shaken()), together, 0.05, 200))


def test_given_up_after_so_many_steps(together):
    for minimum in found(shaken(), together, 1e-9, 3):
        assert (minimum.converged, minimum.n_steps) == (False, 3)
        assert minimum.fmax > 1e-9
    (one,) = islice(starts(shaken()), 1)
    (minimum,) = descend([one._replace(n_steps=2)], together, 1e-9, 3)
    assert minimum.n_steps == 3


def test_held_coordinates_stay(together):
    free = np.ones((3, 3), dtype=bool)
    free[0], free[1, 2] = False, False
    (atoms, *_) = shaken()
    (minimum,) = descend(starts([atoms], free=free), together, 0.01, 200)
    assert minimum.converged
    moved = minimum.pos != atoms.positions
    assert not moved[~free].any()
    assert moved[free].all()


def test_what_fails_ends_at_once_and_alone(together):
    """Two atoms that nearly coincide, and another molecule."""
    squeezed, other = molecule("CH4"), molecule("H2O")
    squeezed.positions[1] = squeezed.positions[0] + 1e-3
    bad, good = found([squeezed, other], together, 0.05, 200)
    assert bad.failed
    assert (bad.converged, bad.n_steps, bad.results) == (False, 0, {})
    assert good.converged


def test_what_was_given_up_stays_where_it_is_though_its_hessian_matrix_has_no_factor(
    together, monkeypatch
):
    """A card leaves NaN in such a factor, which once moved idle structures to nowhere."""
    factorise, lost = torch.linalg.cholesky_ex, []

    def on_a_card(h):
        factor, info = factorise(h)
        lost.append(info > 0)
        return factor.masked_fill((info > 0)[:, None, None], torch.nan), info

    monkeypatch.setattr(torch.linalg, "cholesky_ex", on_a_card)
    many = [one for _ in range(6) for one in shaken(0.3)]
    given_up = [one._replace(n_steps=18 if one.key == 2 else 0) for one in starts(many)]
    minima = {one.start.key: one for one in descend(iter(given_up), together, 0.01, 20, 40)}
    assert any(bool(one.any()) for one in lost)
    assert sorted(minima) == list(range(len(many)))
    assert all(np.isfinite(one.pos).all() for one in minima.values())
    assert minima[2].n_steps == 20


def test_steps_by_the_absolute_values_of_eigenvalues():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 6, 6, dtype=torch.float64, generator=generator)
    hessian = a + a.mT
    hessian[:2] = a[:2] @ a[:2].mT + torch.eye(6)  # positive definite
    f = torch.randn(5, 6, dtype=torch.float64, generator=generator)
    values, vectors = torch.linalg.eigh(hessian)
    assert (values[2:, 0] < 0).all()
    inverse = vectors @ torch.diag_embed(1 / values.abs()) @ vectors.mT
    factor, info = torch.linalg.cholesky_ex(hessian)
    step = _newton(hessian, f, factor, info.nonzero().flatten())
    torch.testing.assert_close(step, (inverse @ f.unsqueeze(-1)).squeeze(-1))


def test_forces_that_stay_the_same_harm_no_other(together, monkeypatch):
    """The change y of the gradient along such steps is zero, by which nothing can be divided."""
    evaluate, constant = Together.__call__, torch.tensor([[0.1, 0.0, 0.0], [0, 0, 0], [0, 0, 0.2]])

    def without_curvature(self, pos):
        forces = evaluate(self, pos)
        if len(forces) % 9:  # water is there, the last one
            forces[-3:] = constant
        return forces

    ethanol, small = shaken()[1], shaken()[0]
    (alone,) = found([ethanol], together, 0.05, 30)
    monkeypatch.setattr(Together, "__call__", without_curvature)
    one, other = found([ethanol, small], together, 0.05, 30)
    assert (one.converged, one.n_steps) == (True, alone.n_steps)
    np.testing.assert_allclose(one.pos, alone.pos, atol=1e-7)
    assert (other.failed, other.converged, other.n_steps) == (False, False, 30)
    assert np.isfinite(other.pos).all()


@pytest.mark.parametrize("eigenvalue", [0.0, -1e-300])
def test_no_step_is_divided_by_zero(eigenvalue):
    hessian = torch.diag(torch.tensor([70.0, eigenvalue, 70.0], dtype=torch.float64))[None]
    f = torch.ones(1, 3, dtype=torch.float64)
    factor, info = torch.linalg.cholesky_ex(hessian)
    assert info.item() > 0
    assert _newton(hessian, f, factor, torch.tensor([0])).isfinite().all()
