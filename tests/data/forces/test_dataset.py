"""Force sets: units once, labels checked, groups never divided."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.data.forces.dataset import Units, check_labels, force_set
from molgeo.data.forces.readers import read_frames
from molgeo.data.frames import Frames, concatenate
from molgeo.data.split import TEST, TRAIN, UNDECIDED, VALIDATION, split_groups
from molgeo.units import BOHR, HARTREE, KCAL_MOL

FIXTURES = Path(__file__).parents[2] / "fixtures" / "forces"


def parts_of(frames, *arguments):
    """A split of frames."""
    return split_groups(frames.group, frames.part, *arguments, frames.source)


def frames(n=10, n_atoms=3, **fields):
    rng = np.random.default_rng(3)
    defaults = {
        "z": np.tile([8, 1, 1], n)[: n * n_atoms],
        "pos": rng.random((n * n_atoms, 3)),
        "n_atoms": np.full(n, n_atoms),
        "energy": rng.random(n) - 50,
        "force": rng.random((n * n_atoms, 3)),
    }
    return Frames(**(defaults | fields))


def test_units_are_converted_once_and_labels_stay_float64():
    source = read_frames(FIXTURES / "ethanol.npz")
    got = force_set(source, Units("kcal/mol")).molecules
    assert got.y.dtype == got.force.dtype == torch.float64
    assert got.pos.dtype == torch.float32
    assert np.allclose(got.y[:, 0].numpy(), source.energy * KCAL_MOL, rtol=1e-15)
    assert np.allclose(got.force.numpy(), source.force * KCAL_MOL, rtol=1e-15)
    assert got.cell is None


def test_hartree_and_bohr():
    got = force_set(frames(), Units("hartree", "bohr"), units_are_checked=False).molecules
    given_ = frames()
    assert np.allclose(got.pos.numpy(), given_.pos * BOHR, atol=1e-7)
    assert np.allclose(got.force.numpy(), given_.force * HARTREE / BOHR, rtol=1e-15)
    mixed = force_set(
        frames(), Units("hartree", "angstrom", "hartree/bohr"), units_are_checked=False
    ).molecules
    assert torch.equal(mixed.force, got.force)
    assert np.allclose(mixed.pos.numpy(), given_.pos, atol=1e-7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"energy": "kcal"}, "energy_unit: expected one of eV, .* got 'kcal'"),
        ({"length": "pm"}, "length_unit: expected one of angstrom, .* got 'pm'"),
        ({"force": "eV"}, "force_unit: expected ENERGY/LENGTH .* got 'eV'"),
    ],
)
def test_unknown_units(fields, message):
    with pytest.raises(ValueError, match=message):
        Units(**fields)


def test_frames_of_one_atom_are_references():
    both = concatenate([read_frames(FIXTURES / f) for f in ("acac.xyz", "acac_atoms.xyz")])
    got = force_set(both, free_atoms={"H": -13.0})
    assert len(got.molecules) == 8
    assert got.free_atoms == {1: -13.0, 6: -1026.8538996116154, 8: -2037.796869412825}
    with pytest.raises(ValueError, match="atom_references: expected symbols of elements, got 'Q'"):
        force_set(both, free_atoms={"Q": 1.0})
    with pytest.raises(ValueError, match="expected frames of molecules, got none"):
        force_set(read_frames(FIXTURES / "acac_atoms.xyz"))


def damaged(name, place, value):
    given_ = frames()
    array = getattr(given_, name).copy()
    array[place] = value
    return frames(**{name: array}, source="set.npz")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (damaged("energy", 4, np.nan), r"set\.npz: the energy is NaN or infinite \(row 4 of 10"),
        (damaged("force", 7, np.inf), r"a force is NaN or infinite \(row 2 of 10"),
        (damaged("pos", 29, np.nan), r"a coordinate is NaN or infinite \(row 9 of 10"),
        (damaged("force", slice(3, 6), 0.0), r"all forces are exactly zero.* \(row 1 of 10"),
        (damaged("energy", [2, 5], 0.0), r"the energy is exactly zero.* \(row 2, 5 of 10"),
        (damaged("energy", slice(None), 0.0), r"\(row 0, 1, 2, 3, 4 and 5 more of 10, from 0\)"),
        (damaged("z", 0, 0), r"an atomic number is unknown \(row 0"),
    ],
)
def test_bad_labels_are_named_by_row(bad, message):
    with pytest.raises(ValueError, match=message):
        check_labels(bad)


def test_one_zero_may_be_a_reference():
    check_labels(damaged("energy", 3, 0.0))


@settings(deadline=None)
@given(
    groups=st.lists(st.integers(-1, 9), min_size=3, max_size=40),
    seed=st.integers(0, 5),
    fractions=st.tuples(st.floats(0.01, 0.4), st.floats(0.01, 0.4)),
)
def test_a_split_is_a_partition_that_divides_no_group(groups, seed, fractions):
    given_ = frames(len(groups), group=np.array(groups))
    n_groups = len({g for g in groups if g >= 0}) + groups.count(-1)
    if n_groups < 4:
        return
    parts = [p.tolist() for p in parts_of(given_, *fractions, seed)]
    assert sorted(row for part in parts for row in part) == list(range(len(groups)))
    assert all(parts)
    of_part = [{groups[row] for row in part} - {-1} for part in parts]
    assert not (of_part[0] & of_part[1] | of_part[0] & of_part[2] | of_part[1] & of_part[2])


def test_a_split_depends_on_the_seed_alone():
    given_ = frames(40)
    a, b, c = (parts_of(given_, 0.1, 0.1, seed) for seed in (1, 1, 2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a.train, c.train)


def test_parts_of_the_file_are_kept():
    part = np.array([TRAIN] * 20 + [TEST] * 15)
    got = parts_of(frames(35, part=part), 0.1, 0.1, 42)
    assert got.test.tolist() == list(range(20, 35))
    assert len(got.validation) == 2
    assert set(got.validation.tolist()) | set(got.train.tolist()) == set(range(20))
    part = np.array([UNDECIDED] * 20 + [VALIDATION] * 15)
    got = parts_of(frames(35, part=part), 0.1, 0.2, 42)
    assert got.validation.tolist() == list(range(20, 35))
    assert len(got.test) == 4


@pytest.mark.parametrize(
    ("part", "name"), [([TEST] * 3, "validation"), ([TRAIN] * 3, "test"), ([UNDECIDED], "val")]
)
def test_no_part_is_empty(part, name):
    with pytest.raises(ValueError, match=f"no row is left for the {name}"):
        parts_of(frames(len(part), part=np.array(part)), 0.1, 0.1, 42)


def test_lattices_are_converted():
    cell = np.tile(np.eye(3) * 10, (10, 1, 1))
    given_ = frames(cell=cell, pbc=np.ones((10, 3), bool))
    got = force_set(given_, Units("eV", "bohr"), units_are_checked=False).molecules
    assert torch.allclose(got.cell, torch.eye(3, dtype=torch.float64) * 10 * BOHR)
    assert got.pbc.all()
    batch = got.batch(torch.tensor([3, 1]))
    assert batch.cell.shape == (2, 3, 3)
    assert batch.pbc.shape == (2, 3)
    assert torch.equal(batch.force, got.force[[9, 10, 11, 3, 4, 5]])
    assert torch.equal(batch.energy, got.y[[3, 1], 0])


def test_charges_are_kept_and_neutral_sets_have_none():
    assert force_set(frames(), units_are_checked=False).molecules.charge is None
    charge = np.tile([1, 0], 5)
    got = force_set(frames(charge=charge), units_are_checked=False).molecules
    assert got.charge.tolist() == charge.tolist()
    assert got.batch(torch.tensor([3, 0])).graph(3.0).charge.tolist() == [0, 1]


def test_a_single_ion_is_a_datum_and_no_free_atom():
    alone = {"z": [17, 17], "pos": np.zeros((2, 3)), "n_atoms": np.ones(2, int)}
    alone |= {"energy": np.array([-460.0, -463.6]), "force": np.zeros((2, 3))}
    both = concatenate([frames(), Frames(**alone, charge=np.array([0, -1]))])
    got = force_set(both, units_are_checked=False)
    assert got.free_atoms == {17: -460.0}
    assert (len(got.molecules), got.molecules.charge.sum().item()) == (11, -1)
