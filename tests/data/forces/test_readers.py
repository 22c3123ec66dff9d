"""The layouts in which energies and forces are passed around."""

from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from molgeo.data.ase_frames import frames_of_atoms
from molgeo.data.forces.readers import read_frames
from molgeo.data.split import TEST, TRAIN, UNDECIDED

FIXTURES = Path(__file__).parents[2] / "fixtures" / "forces"


def water(n, energy=-1.0, **info):
    """N frames of a triangle with labels in a calculator."""
    images = []
    for k in range(n):
        atoms = Atoms("OHH", [[0, 0, 0], [0.96, 0.1 * k, 0], [-0.24, 0.93, 0]], info=dict(info))
        atoms.calc = SinglePointCalculator(
            atoms, energy=energy - k, forces=np.full((3, 3), 1.0 + k)
        )
        images.append(atoms)
    return images


def test_rmd17_as_split():
    got = read_frames(FIXTURES / "ethanol.npz")
    with np.load(FIXTURES / "ethanol.npz") as file:
        arrays = dict(file)
    assert len(got) == 80
    assert (got.part == [TRAIN] * 60 + [TEST] * 20).all()
    assert got.z[:9].tolist() == arrays["nuclear_charges"].tolist()
    assert np.array_equal(got.energy[60:], arrays["test_energies"])
    assert np.array_equal(got.force[9:18], arrays["train_forces"][1])
    assert np.array_equal(got.pos[-9:], arrays["test_coords"][-1])


@pytest.mark.parametrize(
    "names",
    [("nuclear_charges", "coords", "energies", "forces"), ("z", "R", "E", "F")],
    ids=["rmd17", "sgdml"],
)
def test_one_molecule(tmp_path, names):
    rng = np.random.default_rng(0)
    values = (np.array([8, 1, 1]), rng.random((5, 3, 3)), rng.random((5, 1)), rng.random((5, 3, 3)))
    extra = {"name": np.array("water")}
    np.savez(tmp_path / "one.npz", **dict(zip(names, values, strict=True)), **extra)
    got = read_frames(tmp_path / "one.npz")
    assert (got.part == UNDECIDED).all()
    assert got.n_atoms.tolist() == [3] * 5
    assert np.array_equal(got.energy, values[2][:, 0])
    assert np.array_equal(got.force.reshape(5, 3, 3), values[3])


def test_concatenated_atoms_with_groups():
    got = read_frames(FIXTURES / "gfn2.npz")
    with np.load(FIXTURES / "gfn2.npz") as file:
        assert got.group.tolist() == file["qm9"].tolist()
        assert got.n_atoms.tolist() == file["n"].tolist()
        assert np.array_equal(got.force, file["f"])
    assert got.energy.dtype == np.float64


def test_extxyz_whose_labels_ase_hides_in_a_calculator():
    got = read_frames(FIXTURES / "acac.xyz")
    text = (FIXTURES / "acac.xyz").read_text().splitlines()
    first = [float(x) for x in text[2].split()[4:]]
    assert len(got) == 8
    assert got.energy[0] == float(text[1].split("energy=")[1].split()[0])
    assert got.force[0].tolist() == first
    assert not got.pbc.any()
    assert not got.cell.any()  # a box around a molecule is no lattice


def test_free_atoms_need_no_forces():
    got = read_frames(FIXTURES / "acac_atoms.xyz")
    assert got.z.tolist() == [1, 6, 8]
    assert not got.force.any()


def test_other_names_of_labels(tmp_path):
    images = [Atoms("OHH", np.eye(3) * (1 + k)) for k in range(2)]
    for k, atoms in enumerate(images):
        atoms.info |= {"REF_energy": -5.0 - k, "my_energy": 3.0}
        atoms.arrays |= {"REF_forces": np.full((3, 3), 1.0), "my_forces": np.full((3, 3), 2.0)}
    ase.io.write(tmp_path / "named.extxyz", images)
    got = read_frames(tmp_path / "named.extxyz")
    assert got.energy.tolist() == [-5.0, -6.0]
    assert (got.force == 1.0).all()
    got = read_frames(tmp_path / "named.extxyz", "my_energy", "my_forces")
    assert got.energy.tolist() == [3.0, 3.0]
    assert (got.force == 2.0).all()


@pytest.mark.parametrize("name", ["set.db", "set.traj"])
def test_files_of_ase(tmp_path, name):
    images = water(3)
    if name.endswith(".db"):
        with ase.db.connect(tmp_path / name) as db:
            for atoms in images:
                db.write(atoms)
    else:
        ase.io.write(tmp_path / name, images)
    got = read_frames(tmp_path / name)
    assert got.energy.tolist() == [-1.0, -2.0, -3.0]
    assert got.force[-1].tolist() == [3.0] * 3


def test_lattices():
    images = water(2)
    images[1].set_cell([4.0, 5.0, 6.0])
    images[1].pbc = [True, True, False]
    got = frames_of_atoms(images)
    assert got.pbc.tolist() == [[False] * 3, [True, True, False]]
    assert np.diag(got.cell[1]).tolist() == [4.0, 5.0, 6.0]


def test_what_is_missing_is_named(tmp_path):
    atoms = Atoms("OHH", np.eye(3), info={"charge": 0})
    ase.io.write(tmp_path / "bare.extxyz", [*water(1), atoms])
    with pytest.raises(ValueError, match=r"bare\.extxyz: row 1: expected energy .*, got charge"):
        read_frames(tmp_path / "bare.extxyz")
    with pytest.raises(ValueError, match=r"row 0: expected 'F', got"):
        read_frames(tmp_path / "bare.extxyz", "", "F")


def test_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz does not exist"):
        read_frames(tmp_path / "nothing.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(ValueError, match=r"other\.npz: expected the arrays of one of .* got a$"):
        read_frames(tmp_path / "other.npz")
    np.savez(tmp_path / "bad.npz", z=np.ones(3), R=np.ones((2, 4, 3)), E=np.ones(2), F=np.ones(3))
    with pytest.raises(ValueError, match=r"bad\.npz: expected coordinates and forces"):
        read_frames(tmp_path / "bad.npz")
    pickled = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pickle.npz", z=pickled, R=pickled, E=pickled, F=pickled)
    with pytest.raises(ValueError, match="pickled"):
        read_frames(tmp_path / "pickle.npz")
    (tmp_path / "text.extxyz").write_text("no atoms here\n")
    with pytest.raises(ValueError, match="ASE cannot read it"):
        read_frames(tmp_path / "text.extxyz")
    with pytest.raises(ValueError, match="expected frames, got none"):
        frames_of_atoms([])


def concatenated(tmp_path, **more):
    """Three frames of a triangle in the concatenated layout."""
    path = tmp_path / "any.npz"
    arrays = {"z": np.tile([8, 1, 1], 3), "n": np.full(3, 3), "e": np.arange(3.0) - 9}
    rng = np.random.default_rng(0)
    np.savez(path, r=rng.random((9, 3)), f=rng.random((9, 3)), **arrays, **more)
    return path


def test_charges_and_parts_of_frames(tmp_path):
    got = read_frames(concatenated(tmp_path))
    assert got.charge.tolist() == [0, 0, 0]
    assert got.part.tolist() == [UNDECIDED] * 3
    more = {"charge": np.array([1, 0, -1], np.int8), "part": np.array([0.0, 2.0, -1.0])}
    got = read_frames(concatenated(tmp_path, **more))
    assert got.charge.tolist() == [1, 0, -1]
    assert got.part.tolist() == [TRAIN, TEST, UNDECIDED]
    assert got.select(got.charge < 1).charge.tolist() == [0, -1]
    with pytest.raises(ValueError, match=r"charge: expected whole numbers, got 0\.5 \(row 1\)"):
        read_frames(concatenated(tmp_path, charge=np.array([1, 0.5, 0])))
    with pytest.raises(ValueError, match=r"part: expected 0 to train on, .* got 3"):
        read_frames(concatenated(tmp_path, part=np.array([0, 3, 1])))
    with pytest.raises(ValueError, match=r"charge: expected shape \(3,\)"):
        read_frames(concatenated(tmp_path, charge=np.ones(2)))


def test_charges_of_extxyz(tmp_path):
    ase.io.write(tmp_path / "ions.extxyz", [*water(1, charge=-1), *water(1)])
    assert read_frames(tmp_path / "ions.extxyz").charge.tolist() == [-1, 0]
    for bad in (0.5, "none", np.nan):
        with pytest.raises(ValueError, match="row 1: charge: expected a whole number, got"):
            frames_of_atoms([*water(1), *water(1, charge=bad)])
