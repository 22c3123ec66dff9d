from pathlib import Path

import ase.io
import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength, FixCartesian

from molgeo.runtime.errors import InputError
from molgeo.simulation.records import ENDINGS, Table, lost_constraints, open_frames


def frame(step):
    atoms = molecule("H2O")
    atoms.positions += 0.1 * step
    atoms.set_momenta(np.full((3, 3), 0.25 * step))
    atoms.info = {"step": step}
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0 * step, forces=np.ones((3, 3)))
    return atoms


def steps_in(path):
    frames = ase.io.read(path, ":")
    assert all(atoms.get_potential_energy() == -atoms.info["step"] for atoms in frames)
    return [atoms.info["step"] for atoms in frames]


@pytest.mark.parametrize("ending", ENDINGS)
def test_frames_come_back(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    frames = open_frames(path)
    for step in range(3):
        frames.write(frame(step))
        assert steps_in(path) == list(range(step + 1))  # what is written is there, come what may
    frames.close()
    last = ase.io.read(path)
    np.testing.assert_allclose(last.positions, frame(2).positions, atol=1e-8)
    np.testing.assert_allclose(last.get_momenta(), 0.5)
    np.testing.assert_allclose(last.get_forces(), 1.0)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("kept", [0, 1, 3])
def test_cut_back_to_a_mark_and_gone_on_with(tmp_path, ending, kept):
    path = tmp_path / f"a{ending}"
    frames = open_frames(path)
    marks = [frames.mark()]
    for step in range(3):
        frames.write(frame(step))
        marks.append(frames.mark())
    frames.close()
    again = open_frames(path, marks[kept])
    assert again.mark() == marks[kept]
    again.write(frame(7))
    again.close()
    assert steps_in(path) == [*range(kept), 7]


def test_half_a_frame_is_cut_off(tmp_path):
    path = tmp_path / "a.extxyz"
    frames = open_frames(path)
    frames.write(frame(0))
    mark = frames.mark()
    frames.close()
    with path.open("a") as file:
        file.write("3\nLattice")
    open_frames(path, mark).close()
    assert steps_in(path) == [0]


@pytest.mark.parametrize(
    ("ending", "match"), [(".extxyz", "expected 900 bytes"), (".traj", "expected 900 frames")]
)
def test_a_file_that_is_shorter_than_its_mark(tmp_path, ending, match):
    path = tmp_path / f"a{ending}"
    frames = open_frames(path)
    frames.write(frame(0))
    frames.close()
    with pytest.raises(InputError, match=match):
        open_frames(path, 900)
    assert steps_in(path) == [0]
    path.unlink()
    with pytest.raises(InputError, match=r"a\."):
        open_frames(path, 900)


def test_an_empty_trajectory_of_ases(tmp_path):
    path = tmp_path / "a.traj"
    path.touch()
    with pytest.raises(InputError, match="cannot be read as a trajectory"):
        open_frames(path, 3)


def test_tables(tmp_path):
    path = tmp_path / "a.csv"
    table = Table(path, ["step", "energy"])
    marks = []
    for step in range(3):
        table.write({"step": step, "energy": 0.1 + step if step else None})
        marks.append(table.mark())
    table.close()
    assert path.read_text().splitlines()[:2] == ["step,energy", "0,"]
    table = Table(path, ["step", "energy"], marks[1])
    table.write({"step": 9, "energy": 1 / 3})
    table.close()
    found = pd.read_csv(path)
    assert found.step.tolist() == [0, 1, 9]
    assert found.energy.tolist()[1:] == [1.1, 1 / 3]


def test_marks_of_a_trajectory_and_of_a_table(tmp_path):
    frames, table = open_frames(tmp_path / "a.traj"), Table(tmp_path / "a.csv", ["step"])
    frames.write(frame(0))
    table.write({"step": 0})
    assert (frames.mark(), table.mark()) == (1, len("step\n0\n"))
    for each in (frames, table):
        each.close()
    with pytest.raises(ValueError, match="closed"):
        table.write({"step": 1})


@pytest.mark.parametrize(("name", "lost"), [("a.traj", False), ("a.extxyz", True), ("a.xyz", True)])
def test_constraints_that_a_file_cannot_hold(name, lost):
    """As what ASE reads of what it has written says."""
    atoms = molecule("H2O")
    atoms.set_constraint([FixAtoms([0]), FixCartesian(1, [True, False, False])])
    assert lost_constraints(Path(name), atoms) is None
    atoms.set_constraint([FixAtoms([0]), FixBondLength(0, 1)])
    found = lost_constraints(Path(name), atoms)
    assert (found is not None) == lost
    if lost:
        assert found == f"{name} cannot hold FixBondLengths, which are kept: .traj holds them too"
