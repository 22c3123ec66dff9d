"""Wrong units are caught, and named with their factor; right ones never are."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from molgeo.data.forces.dataset import Units, force_set, to_ev
from molgeo.data.forces.plausibility import (
    _sample,
    as_option,
    bond_length_ratio,
    check_units,
    energy_over_work,
    stiffness,
)
from molgeo.data.forces.readers import read_frames
from molgeo.data.frames import Frames, concatenate
from molgeo.units import ENERGY_UNITS

FIXTURES = Path(__file__).parents[2] / "fixtures" / "forces"
RIGHT = {"ethanol.npz": "kcal/mol", "gfn2.npz": "eV", "acac.xyz": "eV"}


@pytest.fixture(scope="module")
def sets():
    return {name: read_frames(FIXTURES / name) for name in RIGHT}


@pytest.mark.parametrize("name", RIGHT)
def test_right_units_pass(sets, name):
    molecules = force_set(sets[name], Units(RIGHT[name])).molecules
    frames = _sample(molecules)
    assert 0.95 < bond_length_ratio(frames) < 1.1
    assert 0.8 < stiffness(frames) < 1.2
    assert 0.8 < energy_over_work(frames) < 1.1 or math.isnan(energy_over_work(frames))


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("seed", range(6))
def test_subsets_of_right_data_pass(sets, name, seed):
    """In any order and number: fewer frames may tell less, but nothing wrong."""
    rng = np.random.default_rng(seed)
    whole = sets[name].select(sets[name].n_atoms > 1)
    keep = rng.random(len(whole)) < rng.uniform(0.1, 1.0)
    check_units(to_ev(whole.select(keep), Units(RIGHT[name])), RIGHT[name])


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
    [
        (1e-7, "no usual unit explains it"),
        (-1.0, "gradients, .* multiply forces or energies by -1"),
    ],
)
def test_what_no_unit_explains(sets, factor, message):
    source = sets["gfn2.npz"]
    source = dataclasses.replace(source, force=source.force * factor)
    with pytest.raises(ValueError, match=message):
        check_units(to_ev(source, Units()))


def springs(rest, n, seed=0, noise=0.02, strength=5.0, offset=0.0):
    """Frames of atoms that springs connect, turned at random: the trapezoid rule nearly holds."""
    rng = np.random.default_rng(seed)
    z, rest = np.array([9, 7, 6, 8]), np.array(rest)
    d0 = np.linalg.norm(rest[:, None] - rest[None], axis=-1)
    pos, force, energy = [], [], []
    for _ in range(n):
        x = rest + noise * rng.standard_normal(rest.shape)
        d = np.linalg.norm(x[:, None] - x[None], axis=-1)
        u = (x[:, None] - x[None]) / (d + np.eye(4))[..., None]
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        pos.append(x @ turn)
        force.append(-strength * ((d - d0)[..., None] * u).sum(1) @ turn)
        energy.append(offset + 0.25 * strength * np.square(d - d0).sum())
    return Frames(
        z=np.tile(z, n),
        pos=np.concatenate(pos),
        n_atoms=np.full(n, 4),
        energy=np.array(energy),
        force=np.concatenate(force),
    )


CHAIN = [[0.0, 0, 0], [1.4, 0, 0], [2.0, 1.3, 0], [3.3, 1.4, 0.3]]
OTHER = [[0.0, 0, 0], [1.4, 0, 0], [-0.6, 1.3, 0], [-1.9, 1.4, 0.3]]
"""The same atoms in the same order, bonded in another one: 6 to 9 instead of 7."""


def test_work_is_the_energy_of_a_spring():
    frames = _sample(to_ev(springs(CHAIN, 60), Units()))
    assert energy_over_work(frames) == pytest.approx(1.0, abs=0.02)


def test_work_tells_signs_without_hydrogen():
    frames = springs(CHAIN, 60)
    check_units(to_ev(frames, Units()))
    for wrong in (
        dataclasses.replace(frames, force=-frames.force),
        dataclasses.replace(frames, energy=-frames.energy),
    ):
        with pytest.raises(ValueError, match=r"near frames are -.* by -1"):
            check_units(to_ev(wrong, Units()))


@pytest.mark.parametrize("offset", [-40.0, 0.7, 300.0])
def test_isomers_are_not_near_frames(offset):
    """One frame of each, as many as there are: what lies between isomers is no work of forces."""
    first = springs(CHAIN, 30, noise=1e-4)
    second = springs(OTHER, 30, noise=1e-4, seed=1, offset=offset)
    frames = _sample(to_ev(concatenate([first, second]), Units()))
    assert len({frame.family for frame in frames}) == 2
    check_units(to_ev(concatenate([first, second]), Units()))


@pytest.mark.parametrize("offset", [-40.0, 0.7, 300.0])
def test_conformers_are_not_near_frames(offset):
    """Bonds are the same and the steps between them large: no verdict, however many there are."""
    rng = np.random.default_rng(0)
    conformers = []
    for k in range(40):
        turned = np.array(CHAIN)
        angle = rng.uniform(0, 2 * np.pi)
        turned[3] = [3.3, 1.3 + 0.5 * np.cos(angle), 0.5 * np.sin(angle)]
        turned[0] = [-0.3 * np.cos(3 * angle), 0.3 * np.sin(angle) - 0.1, 0.02 * k]
        conformers.append(springs(turned, 1, seed=k, offset=offset * rng.standard_normal()))
    check_units(to_ev(concatenate(conformers), Units()))


def test_relaxed_molecules_tell_nothing_of_forces(sets):
    """Their forces are what an optimiser has left, whatever the bonds' lengths."""
    rng = np.random.default_rng(0)
    source = sets["gfn2.npz"]
    for size in (1e-12, 1e-4, 1e-2):
        relaxed = dataclasses.replace(source, force=size * rng.standard_normal(source.force.shape))
        frames = _sample(to_ev(relaxed, Units()))
        assert math.isnan(stiffness(frames))
        check_units(to_ev(relaxed, Units()))


def hydrides(number, length, constant, n=60):
    """Diatomic molecules that vibrate, turned at random."""
    rng = np.random.default_rng(0)
    stretch = 0.05 * rng.standard_normal(n)
    axis = rng.standard_normal((n, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    pos = np.stack([np.zeros((n, 3)), (length + stretch)[:, None] * axis], 1)
    pull = -constant * stretch[:, None] * axis
    return Frames(
        z=np.tile([number, 1], n),
        pos=pos.reshape(-1, 3),
        n_atoms=np.full(n, 2),
        energy=0.5 * constant * np.square(stretch),
        force=np.stack([-pull, pull], 1).reshape(-1, 3),
    )


@pytest.mark.parametrize(
    ("number", "length", "constant"),  # experiment, Å and eV/Å²
    [(3, 1.595, 6.4), (11, 1.887, 4.9), (13, 1.648, 10.1), (30, 1.595, 9.4)],
)
def test_hydrides_of_metals_are_soft(number, length, constant):
    check_units(to_ev(hydrides(number, length, constant), Units()))


@pytest.mark.parametrize(
    ("number", "length", "constant"),
    [(9, 0.917, 60.3), (8, 0.958, 48.0), (17, 1.275, 32.2), (53, 1.609, 19.6), (6, 1.12, 28.0)],
)
@pytest.mark.parametrize("unit", ["hartree", "rydberg", "kcal/mol", "kJ/mol"])
def test_advice_knows_the_bond(number, length, constant, unit):
    """HF's bond is twice as stiff as CH's: not to take hartree for rydberg."""
    frames = hydrides(number, length, constant)
    check_units(to_ev(frames, Units()))
    factor = ENERGY_UNITS[unit]
    wrong = dataclasses.replace(frames, energy=frames.energy / factor, force=frames.force / factor)
    with pytest.raises(ValueError, match=f"or set energy_unit: {unit} "):
        check_units(to_ev(wrong, Units()))


def test_the_message_names_what_to_set(sets):
    molecules = to_ev(sets["ethanol.npz"], Units())
    with pytest.raises(ValueError, match=r"set energy_unit: kcal/mol \(check_units: false"):
        check_units(molecules)
    with pytest.raises(ValueError, match=r"set --energy-unit kcal/mol \(--check-units false"):
        check_units(molecules, setting=as_option)


def test_nothing_is_concluded_from_little(sets):
    few = sets["gfn2.npz"].select(np.arange(len(sets["gfn2.npz"])) < 1)
    frames = _sample(to_ev(few, Units()))
    assert math.isnan(bond_length_ratio(frames))
    assert math.isnan(stiffness(frames))
    assert math.isnan(energy_over_work(frames))
    check_units(to_ev(few, Units("kcal/mol")), "kcal/mol")
