import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molgeo.chem.molecule import BadRow
from molgeo.runtime.errors import InputError
from molgeo.simulation.structures import structures


def test_a_smiles_gets_a_conformer():
    (atoms,) = structures("CCO")
    assert atoms.get_chemical_formula() == "C2H6O"
    assert atoms.info == {"smiles": "CCO", "geometry": "etkdg+mmff"}
    assert atoms.get_distance(0, 1) == pytest.approx(1.52, abs=0.03)


@pytest.mark.parametrize("ending", ["xyz", "extxyz", "traj", "db"])
def test_files_with_coordinates(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    ase.io.write(path, molecule("H2O"))
    (atoms,) = structures(str(path))
    np.testing.assert_allclose(atoms.positions, molecule("H2O").positions, atol=1e-7)
    assert not atoms.pbc.any()
    assert atoms.calc is None


def test_a_lattice_is_kept(tmp_path):
    path = tmp_path / "a.extxyz"
    box = Atoms("OHH", molecule("H2O").positions, cell=[5, 6, 7], pbc=[True, True, False])
    ase.io.write(path, box)
    (atoms,) = structures(str(path))
    np.testing.assert_array_equal(atoms.cell.array, box.cell.array)
    assert atoms.pbc.tolist() == [True, True, False]


def test_rows_keep_their_places(tmp_path):
    path = tmp_path / "a.smi"
    path.write_text("O water\nC1CC broken\nC methane\n")
    found = list(structures(str(path)))
    assert [isinstance(row, BadRow) for row in found] == [False, True, False]
    assert found[0].info["name"] == "water"


def test_charge_and_spin_are_taken_along(tmp_path):
    path = tmp_path / "a.extxyz"
    atoms = molecule("H2O")
    atoms.info["charge"] = 1
    atoms.info["spin"] = 1
    ase.io.write(path, [atoms, molecule("O2")], format="extxyz")
    first, second = structures(str(path))
    assert first.message.startswith("open shell: odd number of electrons")
    assert isinstance(second, BadRow)
    (atoms,) = structures("C[NH3+]")
    assert atoms.info["charge"] == 1


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.xyz", "", "a.xyz is empty: it has no molecules"),
        ("a.extxyz", "\n\n", "a.extxyz is empty: it has no molecules"),
        ("a.traj", "", "a.traj is empty: it has no molecules"),
        ("a.traj", "not a trajectory", "cannot be read as an ASE trajectory"),
        ("a.docx", "x", "unknown ending"),
    ],
)
def test_bad_files(tmp_path, name, content, match):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match=match):
        next(structures(str(path)))


def test_a_truncated_frame_is_a_row(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("3\n\nO 0 0 0\n")
    (row,) = structures(str(path))
    assert "truncated frame" in row.message


def test_a_trajectory_without_frames(tmp_path):
    path = tmp_path / "a.traj"
    with ase.io.Trajectory(path, "w") as trajectory:
        trajectory.write(molecule("H2O"))
    import ase.io.ulm as ulm

    with ulm.open(path, "w", tag="ASE-Trajectory") as file:
        file._write_header()
    with pytest.raises(InputError, match="has no molecules"):
        next(structures(str(path)))


@pytest.mark.parametrize(("smiles", "match"), [("C1CC", "SMILES"), ("[CH3]", "radical")])
def test_bad_smiles(smiles, match):
    (row,) = structures(smiles)
    assert match in row.message


def test_a_missing_file():
    with pytest.raises(InputError, match=r"nowhere\.xyz"):
        next(structures("nowhere.xyz"))


@pytest.mark.parametrize("suffix", ["xyz", "extxyz", "traj"])
def test_every_structure_in_another_unit_is_refused(tmp_path, suffix):
    """Also after a sound one of the same elements."""
    path = tmp_path / f"a.{suffix}"
    sound, bohr = molecule("H2O"), molecule("H2O")
    bohr.positions /= 0.529177
    ase.io.write(path, [sound, bohr, sound])
    first, second, third = structures(str(path))
    assert len(first) == len(third) == 3
    assert "look like bohr: multiply them by 0.5292" in second.message


def test_the_isomer_of_open_stereo_is_said():
    said = []
    (atoms,) = structures("CC=CC", said.append)
    assert said == ["CC=CC: stereo: 1 open, predicted C/C=C/C"]
    assert atoms.info["stereo"] == "1 open, predicted C/C=C/C"
    (atoms,) = structures("C/C=C/C", said.append)
    assert len(said) == 1
    assert "stereo" not in atoms.info


def test_the_format_of_a_file_can_be_said(tmp_path):
    path = tmp_path / "geometry.out"
    ase.io.write(path, molecule("H2O"), format="xyz")
    with pytest.raises(InputError, match="--input-format"):
        next(structures(str(path)))
    (atoms,) = structures(str(path), input_format="xyz")
    assert atoms.get_chemical_formula() == "H2O"
    with pytest.raises(InputError, match="did you mean 'xyz'"):
        next(structures(str(path), input_format="xyzz"))


@pytest.mark.parametrize("more", ["", " 0.1", " 0.1 0.2 0.3"])
def test_columns_that_may_be_velocities_are_said_once(tmp_path, more):
    frame = f"3\nwater\nO 0 0 0.12{more}\nH 0 0.76 -0.48{more}\nH 0 -0.76 -0.48{more}\n"
    path = tmp_path / "a.xyz"
    path.write_text(2 * frame)
    said = []
    assert len(list(structures(str(path), said.append))) == 2
    assert [text.partition(",")[0] for text in said] == (
        [f"{path}:1: columns 5 to 7 are not read"] if more.count("0.") == 3 else []
    )
