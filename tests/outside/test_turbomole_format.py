import gzip
import io
import sys

import numpy as np
import pytest
from ase.build import molecule as g2
from ase.units import Bohr

import molgeo
from molgeo.chem import BadRow, InputError
from molgeo.chem.files import formats
from molgeo.chem.files.formats import Format, ReadOptions, register
from molgeo.chem.files.readers import check_sources, kept_columns, read
from molgeo.prediction.expected import expected_rows

WATER = g2("H2O")
COORD = (
    "$coord\n"
    + "".join(
        f"{x:.8f} {y:.8f} {z:.8f} {symbol.lower()}\n"
        for (x, y, z), symbol in zip(WATER.positions / Bohr, WATER.symbols, strict=True)
    )
    + "$end\n"
)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package of somebody else, as pip installs it: a folder with entry points."""
    info = tmp_path / "site" / "turbomole_format-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: turbomole-format\nVersion: 1.0\n")

    def install(**points):
        lines = [f"{name} = outside.turbomole_format:{value}" for name, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[molgeo.readers]", *lines, ""]))
        monkeypatch.syspath_prepend(info.parent)
        forget()

    yield install
    monkeypatch.undo()
    forget()


def forget():
    formats._registered.clear()
    formats.formats.cache_clear()
    formats.by_ending.cache_clear()


def test_a_new_format_is_read_as_molgeos_own(installed, tmp_path, monkeypatch):
    path = tmp_path / "water.coord"
    path.write_text(COORD)
    with pytest.raises(InputError, match="unknown ending"):
        check_sources([path])
    installed(turbomole="COORD")
    (water,) = read(path)
    np.testing.assert_allclose(water.pos, WATER.positions, atol=1e-7)
    assert (water.formula, water.input) == ("H2O", f"{path}:1")
    (tmp_path / "water.tmol.gz").write_bytes(gzip.compress(COORD.encode()))
    assert next(read(tmp_path / "water.tmol.gz")).formula == "H2O"
    monkeypatch.setattr(sys, "stdin", io.StringIO(COORD))
    assert next(read("-", ReadOptions(input_format="turbomole"))).formula == "H2O"
    with pytest.raises(InputError, match="did you mean 'turbomole'"):
        check_sources([], ReadOptions(input_format="turbomol"))


def test_a_new_format_is_predicted_and_its_faults_are_rows(installed, tmp_path):
    installed(turbomole="COORD")
    (tmp_path / "water.coord").write_text(COORD)
    (tmp_path / "lone.coord").write_text("$coord\n0 0 zero c\n$end\n")
    (tmp_path / "cut.coord").write_text(COORD + "$coord\n0 0 zero c\n$end\n")
    table = molgeo.predict([str(tmp_path / "water.coord"), str(tmp_path / "cut.coord")])
    assert table.status.tolist() == ["ok", "ok", "error"]
    assert table.geometry[:2].str.startswith("given").all()
    assert "reading stopped after 1 rows" in table.message[2]
    with pytest.raises(InputError, match="cannot be read: ValueError: could not convert"):
        list(read(tmp_path / "lone.coord"))


def test_a_binary_format_brings_values_along(installed, tmp_path):
    installed(numpy="NPZ")
    path = tmp_path / "water.npz"
    np.savez(path, z=WATER.numbers, pos=WATER.positions, solubility=-0.5)
    assert kept_columns([path], ReadOptions()) == ["solubility"]
    assert next(read(path)).extra == {"solubility": -0.5}
    with pytest.raises(InputError, match="numpy cannot be read from there: give a file"):
        list(read("-", ReadOptions(input_format="numpy")))


def test_a_reader_of_molgeo_is_replaced(installed, tmp_path):
    path = tmp_path / "a.pdb"
    path.write_text("HETATM    1  O   HOH     1       0.000   0.000   0.000\nEND\n")
    before = next(read(path))
    assert before.z.tolist() == [8]
    installed(pdb="PDB")
    assert list(read(path)) == [BadRow(str(path), message="my own reader of 2 lines")]


def test_a_format_may_count_its_rows(installed, tmp_path):
    path = tmp_path / "waters.coord"
    path.write_text(2 * COORD)
    (tmp_path / "waters.coord.gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "a.sdf").write_text("$$$$\n$$$$\n")
    assert expected_rows([str(path)]) is None
    assert expected_rows([str(tmp_path / "a.sdf")]) == 2
    installed(turbomole="COORD", sdf="UNCOUNTED")
    assert expected_rows([str(path)]) == len(list(read(path))) == 2
    assert expected_rows([f"{path}.gz"]) is None
    assert expected_rows([str(tmp_path / "a.sdf")]) is None, "the rows are no longer SDF's"


def test_a_format_is_registered_in_a_script(tmp_path):
    from outside.turbomole_format import read_coord

    path = tmp_path / "water.xyz"
    path.write_text(COORD)
    try:
        register("coord", Format((".xyz",), read_coord))
        assert next(read(path)).formula == "H2O"
    finally:
        forget()
    assert isinstance(next(read(path)), BadRow)


def test_a_package_that_does_not_load_is_a_warning(installed, tmp_path):
    installed(turbomole="COORD", broken="BROKEN", missing="MISSING")
    with pytest.warns(UserWarning, match="expected a molgeo Format, got a str"):  # noqa: SIM117
        with pytest.warns(UserWarning, match="'missing' of outside.turbomole_format:MISSING"):
            assert "turbomole" in formats.formats()


@pytest.mark.parametrize("ending", ["gro", ".GRO", ""])
def test_endings_are_checked(ending):
    with pytest.raises(ValueError, match=r"endings must be as \.sdf"):
        Format((ending,), "a:b")
