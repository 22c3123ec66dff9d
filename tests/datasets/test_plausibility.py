"""Wrong units are caught, and named with their factor; right ones never are."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from molgeo.datasets.force_readers import read_frames
from molgeo.datasets.force_set import Units, force_set, in_units
from molgeo.datasets.plausibility import (
    _sample,
    bonds_to_hydrogen,
    check_units,
    energy_over_work,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "forces"
RIGHT = {"ethanol.npz": "kcal/mol", "gfn2.npz": "eV", "acac.xyz": "eV"}


@pytest.fixture(scope="module")
def sets():
    return {name: read_frames(FIXTURES / name) for name in RIGHT}


@pytest.mark.parametrize("name", RIGHT)
def test_right_units_pass(sets, name):
    molecules = force_set(sets[name], Units(RIGHT[name])).molecules
    ratio, constant = bonds_to_hydrogen(_sample(molecules))
    assert 0.95 < ratio < 1.1
    assert 20 < constant < 50


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("ethanol.npz", {}, r"energy_unit: .* divide by 23\.06, or set energy_unit: kcal/mol"),
        ("ethanol.npz", {"energy": "kJ/mol"}, r"multiply by 4\.184, or set energy_unit: kcal/mol"),
        ("ethanol.npz", {"energy": "hartree"}, r"divide by 627\.5, or set energy_unit: kcal/mol"),
        (
            "ethanol.npz",
            {"energy": "kcal/mol", "force": "eV/angstrom"},
            r"force_unit: .* divide by 23\.06, or set force_unit: kcal/mol/angstrom",
        ),
        (
            "ethanol.npz",
            {"energy": "eV", "force": "kcal/mol/angstrom"},
            r"energy_unit: .*near frames.* divide by 23\.06, or set energy_unit: kcal/mol",
        ),
        ("gfn2.npz", {"energy": "kcal/mol"}, r"multiply by 23\.06, or set energy_unit: eV"),
        ("gfn2.npz", {"length": "bohr"}, r"multiply by 1\.89, or set length_unit: angstrom"),
        ("gfn2.npz", {"length": "nm"}, r"divide by 10, or set length_unit: angstrom"),
        ("acac.xyz", {"energy": "hartree"}, r"divide by 27\.21, or set energy_unit: eV"),
        ("acac.xyz", {"force": "hartree/bohr"}, r"divide by 51\.42, or set force_unit: eV/"),
    ],
)
def test_wrong_units_are_named(sets, name, fields, message):
    with pytest.raises(ValueError, match=message):
        force_set(sets[name], Units(**fields))


def test_the_check_can_be_left_out(sets):
    force_set(sets["ethanol.npz"], units_are_checked=False)


@pytest.mark.parametrize(
    ("factor", "message"),
    [(1e-7, "no usual unit explains it"), (-1.0, "they are gradients, .* multiply by -1")],
)
def test_what_no_unit_explains(sets, factor, message):
    source = sets["gfn2.npz"]
    source = dataclasses.replace(source, force=source.force * factor)
    with pytest.raises(ValueError, match=message):
        check_units(in_units(source, Units()))


def test_work_is_the_energy_of_a_spring():
    """A harmonic potential, whose trapezoid rule is exact, in frames turned at random."""
    from types import SimpleNamespace

    rng = np.random.default_rng(0)
    rest = np.array([[0, 0, 0], [1.1, 0, 0], [0, 1.3, 0], [0, 0, 0.9]])
    frames = []
    for _ in range(60):
        pos = rest + 0.02 * rng.standard_normal(rest.shape)
        d = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
        d0 = np.linalg.norm(rest[:, None] - rest[None], axis=-1)
        u = (pos[:, None] - pos[None]) / (d + np.eye(4))[..., None]
        force = -5.0 * ((d - d0)[..., None] * u).sum(1)
        energy = 0.25 * 5.0 * np.square(d - d0).sum()
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        np.fill_diagonal(d, np.inf)
        frames.append(
            SimpleNamespace(
                z=np.array([6, 6, 7, 8]),
                pos=pos @ turn,
                force=force @ turn,
                energy=energy,
                distances=lambda d=d: d,
            )
        )
    assert energy_over_work(frames) == pytest.approx(1.0, abs=0.02)


def test_nothing_is_concluded_from_little(sets):
    few = sets["gfn2.npz"].select(np.arange(len(sets["gfn2.npz"])) < 1)
    frames = _sample(in_units(few, Units()))
    assert math.isnan(bonds_to_hydrogen(frames)[0])
    assert math.isnan(energy_over_work(frames))
    check_units(in_units(few, Units("kcal/mol")), "kcal/mol")
