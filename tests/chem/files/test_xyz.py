import io

import ase.io
import numpy as np
import pytest
from ase.build import molecule as g2
from hypothesis import given, settings
from hypothesis import strategies as st

from molgeo.chem.files.formats import DEFAULT, ReadOptions
from molgeo.chem.files.readers import read
from molgeo.chem.files.text import Lines
from molgeo.chem.files.xyz import read_xyz
from molgeo.chem.molecule import BadRow, Molecule, check_bonds, check_geometry
from molgeo.units import COORDINATE_UNITS

WATER = "O 0.0 0.0 0.1\nH 0.0 0.76 -0.47\nH 0.0 -0.76 -0.47\n"
FRAME = f"3\nwater\n{WATER}"


def xyz(text):
    return list(read_xyz(Lines(io.StringIO(text)), "a.xyz", DEFAULT))


def test_xyz_frame():
    (water,) = xyz(FRAME)
    assert water.z.tolist() == [8, 1, 1]
    np.testing.assert_array_equal(water.pos[1], [0.0, 0.76, -0.47])
    assert (water.name, water.input, water.geometry) == ("water", "a.xyz:1", "given")
    assert water.smiles is None


def test_xyz_takes_numbers_any_case_and_extra_columns():
    (water,) = xyz("3\n\n8 0 0 0.1 -0.8\nh 0 0.76 -0.47 0.4\nH 0 -0.76 -4.7e-1 0.4\n")
    assert water.z.tolist() == [8, 1, 1]
    assert water.pos[2, 2] == -0.47


@pytest.mark.parametrize(
    ("comment", "charge"),
    [("charge=-1", -1), ("x Charge: +2", 2), ("total_charge=2", 2), ("recharge=2", 0), ("x", 0)],
)
def test_xyz_charge_in_the_comment(comment, charge):
    (water,) = xyz(FRAME.replace("water", comment))
    assert water.charge == charge


def test_xyz_truncated_at_the_end_keeps_good_frames():
    first, second, last = xyz(FRAME + FRAME + "\n".join(FRAME.splitlines()[:4]))
    assert isinstance(first, Molecule)
    assert isinstance(second, Molecule)
    assert last == BadRow(
        "a.xyz:3",
        message="line 11: truncated frame, expected 3 atoms, the file ends after 2",
    )


def test_xyz_truncated_in_the_middle_goes_on_with_the_next_frame():
    cut = "3\ncut\nO 0 0 0\n"
    first, second, third = xyz(FRAME + cut + FRAME)
    assert isinstance(first, Molecule)
    assert "the next frame begins after 1" in second.message
    assert third.z.tolist() == [8, 1, 1]
    assert third.input == "a.xyz:3"


def test_xyz_with_more_atoms_than_announced_is_no_smaller_molecule():
    first, second = xyz(FRAME.replace("3", "2", 1) + FRAME)
    assert "more atoms follow than the 2" in first.message
    assert isinstance(second, Molecule)


@pytest.mark.parametrize("line", ["three", "3.0", "-3"])
def test_xyz_without_a_count(line):
    first, second = xyz(FRAME.replace("3", line, 1) + FRAME)
    assert f"line 1: expected the number of atoms, got '{line}'" == first.message
    assert isinstance(second, Molecule)


@pytest.mark.parametrize("line", ["Qq 0 0 0", "H 0 zero 0", "H 0 0"])
def test_xyz_malformed_atom_names_its_line(line):
    lines = FRAME.splitlines()
    lines[3] = line
    bad, good = xyz("\n".join(lines) + "\n" + FRAME)
    assert bad.message == f"line 4: expected 'element x y z', got {line!r}"
    assert isinstance(good, Molecule)


def test_xyz_zero_atoms_is_a_molecule_without_atoms():
    first, second = xyz("0\nnothing\n" + FRAME)
    assert first.n_atoms == 0
    assert second.n_atoms == 3


METHANE = """5
gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t
C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689
H\t 2.1997*^-6\t-0.0060313176\t 0.0019761204\t 0.133921
H\t 1.0117308433\t 1.4637511618\t 2.765*^-4\t 0.133922
H\t-0.5408150690\t 1.4475266138\t-0.8766437152\t 0.133923
H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 1.3392*^-6
1341\t1341.3284\t1341.365\t1562.6731
C\tC\t
InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4
"""


@pytest.mark.parametrize("copies", [1, 3])
def test_xyz_of_qm9(copies):
    molecules = xyz(METHANE * copies)
    assert [m.formula for m in molecules] == ["CH4"] * copies
    assert [m.input for m in molecules] == [f"a.xyz:{k + 1}" for k in range(copies)]
    assert molecules[0].name == "gdb 1 157.7118 157.70997 157.70699 0. 13.21 -0.3877 0.1171"
    assert molecules[-1].pos[1, 0] == 2.1997e-6
    assert molecules[-1].pos[2, 2] == 2.765e-4


def test_xyz_of_qm9_with_an_atom_too_many():
    (bad,) = xyz(METHANE.replace("5", "4", 1))
    assert "more atoms follow than the 4" in bad.message


def test_xyz_with_other_text_after_a_frame_is_an_error():
    good, bad = xyz(FRAME + "some text\n")
    assert isinstance(good, Molecule)
    assert bad.message == "line 6: expected the number of atoms, got 'some text'"


def test_extxyz_keeps_what_ase_reads(tmp_path):
    path = tmp_path / "a.extxyz"
    frames = [g2("H2O"), g2("CH3OH"), g2("NH3")]
    for k, atoms in enumerate(frames):
        atoms.info.update(name=f"frame {k}", charge=k - 1, smiles="X")
        atoms.arrays["forces"] = np.ones((len(atoms), 3))
    ase.io.write(path, frames)
    for k, (molecule, atoms) in enumerate(zip(read(path), frames, strict=True)):
        np.testing.assert_array_equal(molecule.z, atoms.numbers)
        np.testing.assert_allclose(molecule.pos, atoms.positions, atol=1e-8)
        assert (molecule.name, molecule.charge, molecule.smiles) == (f"frame {k}", k - 1, "X")


def test_extxyz_broken_frame_in_the_middle(tmp_path):
    path = tmp_path / "a.extxyz"
    ase.io.write(path, [g2("H2O")] * 3)
    lines = path.read_text().splitlines()
    lines[7] = lines[7].replace("0.0", "oops", 1)
    path.write_text("\n".join(lines) + "\n")
    first, second, third = read(path)
    assert isinstance(first, Molecule)
    assert second.message.startswith("line 6: malformed extxyz frame: ")
    assert isinstance(third, Molecule)


def water(comment, scale=1.0):
    atoms = g2("H2O")
    lines = [
        f"{s} {x} {y} {z}" for s, (x, y, z) in zip("OHH", scale * atoms.positions, strict=True)
    ]
    (row,) = xyz("\n".join(["3", comment, *lines, ""]))
    return row


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("D 0 0.76 -0.47", "isotope 2H (D): the models know the common isotopes only"),
        ("13C 0 0.76 -0.47", "isotope 13C: the models"),
        ("O1 0 0 0", "'O1' is a label, not an element: write O"),
        ("C_alpha 0 0 0", "'C_alpha' is a label, not an element: write C"),
        ("Du 0 0 0", "'Du' is a dummy atom"),
        ("X 0 0 0", "'X' is a dummy atom"),
        ("0 0 0 0", "'0' is a dummy atom"),
    ],
)
@pytest.mark.parametrize("comment", ["", "Properties=species:S:1:pos:R:3"])
def test_a_word_that_is_no_element_is_named(line, message, comment):
    lines = FRAME.splitlines()
    lines[1], lines[3] = comment, line
    (bad,) = xyz("\n".join(lines) + "\n")
    if comment and line[0] in "X0":
        message = "a dummy atom" if line[0] == "X" else "line 1"
    assert message in bad.message


@pytest.mark.parametrize("comment", ["", "Properties=species:S:1:pos:R:3"])
def test_exponents_of_fortran(comment):
    lines = FRAME.splitlines()
    lines[1], lines[3] = comment, "H 1.0D-03 7.6d-1 -.47D+00"
    (molecule,) = xyz("\n".join(lines) + "\n")
    np.testing.assert_array_equal(molecule.pos[1], [0.001, 0.76, -0.47])


@pytest.mark.parametrize(
    "comment",
    [
        "units=bohr",
        "Unit: Bohr",
        "water, units are a.u., energies Hartree",
        'units="Bohr radii"',
        "length_unit = bohr energy_unit=eV",
        "coordinates in bohr",
        "water (bohr)",
        "E = -76.4 a.u., positions in a.u.",
        "atomic units",
        "Properties=species:S:1:pos:R:3 units=bohr",
        "Properties=species:S:1:pos:R:3 length_unit=Bohr",
    ],
)
def test_units_that_a_comment_says(comment):
    molecule = water(comment, 1 / COORDINATE_UNITS["bohr"])
    np.testing.assert_allclose(molecule.pos, g2("H2O").positions, rtol=1e-7)
    assert check_bonds(molecule) is None


@pytest.mark.parametrize(
    "comment",
    [
        "units=Angstrom",
        "E = -76.4 a.u.",
        "energy units: hartree",
        "dipole unit: a.u.",
        "units=eV",
        "absorbs at 350 nm",
        "after Bohr",
        "coordinates (Å)",
        "Properties=species:S:1:pos:R:3 energy_unit=eV units=kcal/mol",
    ],
)
def test_what_is_no_unit_of_the_coordinates(comment):
    np.testing.assert_allclose(water(comment).pos, g2("H2O").positions, rtol=1e-12)


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("units=furlong", "unit of length 'furlong' is unknown: expected one of angstrom, bohr"),
        ("Properties=species:S:1:pos:R:3 length_unit=inch", "unit of length 'inch' is unknown"),
        ("units=bohr, length unit: nm", "two units of length, bohr and nm"),
    ],
)
def test_units_that_cannot_be_read(comment, message):
    assert message in water(comment).message


def test_a_unit_that_is_not_that_of_the_coordinates():
    assert "look like Å that were taken for bohr" in check_bonds(water("units=bohr"))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.sampled_from(["bohr", "nm", "pm"]),
    st.sampled_from(["unit", "units", "Units", "LENGTH_UNIT", "distance unit", "coordinate units"]),
    st.sampled_from(["=", ":", " = ", ": ", " is "]),
    st.sampled_from([str, str.upper, str.capitalize]),
    st.sampled_from(["{}", '"{}"', "({})", "some molecule {}, and more"]),
)
def test_any_spelling_of_a_unit(unit, key, separator, case, around):
    text = around.format(f"{key}{separator}{case(unit)}") if "some" in around else None
    text = text or f"{key}{separator}{around.format(case(unit))}"
    molecule = water(text, 1 / COORDINATE_UNITS[unit])
    np.testing.assert_allclose(molecule.pos, g2("H2O").positions, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("comment", "charge", "spin"),
    [
        ("Charge = 0, Multiplicity = 3", 0, "multiplicity is 3"),
        ("(2-)", -2, ""),
        ("water (+2)", 2, ""),
        ("q=2 mult=3", 2, "multiplicity is 3"),
        ("charge: -1 spin: 2", -1, "spin is 2"),
        ("0 1", 0, ""),
        ("0 3", 0, "multiplicity is 3"),
        ("-1, 2", -1, "multiplicity is 2"),
        ("* xyz 2 1", 2, ""),
        ("chrg 1 uhf 2", 1, "uhf is 2"),
        ("Charge/Multiplicity: -2 1", -2, ""),
        ("charge, spin multiplicity = 2, 3", 2, "multiplicity is 3"),
        ("net charge -2", -2, ""),
        ("total_charge=+1.0", 1, ""),
        ("charge of −2", -2, ""),
        ("charge 2-", -2, ""),
        ("charge='neutral', multiplicity: singlet", 0, ""),
        ("H2O+", 1, ""),
        ("[H2O]2+", 2, ""),
        ("H2O^2-", -2, ""),
        ("OH2(2+) in the gas phase", 2, ""),
        ("H2O 2-", -2, ""),
        ("dianion", -2, ""),
        ("triplet water", 0, "triplet"),
        ("radical cation of water", 0, "radical cation"),
        ("CSD_code = ABCDEF | q = 0 | S = 1 | MND = 2", 0, "S = 1"),
        ("unpaired electrons: 2", 0, "unpaired_electrons is 2"),
        ("spin=1/2", 0, "spin is 0.5"),
        ("C[NH3+] [OH2+2]", 2, ""),
    ],
)
def test_charge_and_spin_that_a_comment_says(comment, charge, spin):
    molecule = water(comment)
    assert molecule.charge == charge
    assert (spin in molecule.open_shell) if spin else not molecule.open_shell
    if spin and not charge:
        assert check_geometry(molecule) == f"open shell: {molecule.open_shell}"
    assert molecule.name == " ".join(comment.split())


@pytest.mark.parametrize(
    "comment",
    [
        "compound 0 1 2",
        "C2H5(+)-isomer",
        "(+)-limonene",
        "(-)",
        "gdb 1\t157.7118 157.70997 157.70699",
        "C[NH3+]",
        "[O-]C(=O)C[NH3+]",
        "NH4+",
        "supercharge=2 recharge=3",
        "mulliken charge: 0.3",
        "q=0.35",
        "charge-transfer complex",
        "charge model: CM5",
        "1 1",
        "1 2 3",
        "S=C=S",
        "multiwfn: 3",
        "spin-orbit 2",
        "anion receptor",
        "energy: -5.07 gnorm: 0.0004 xtb: 6.4.1 (5b07b)",
        "i = 10, time = 5.0, E = -17.16",
        "S = 0, spin=1, 2S+1 = 1",
        "[2.2]paracyclophane (2+2)",
    ],
)
def test_names_that_merely_look_like_charges(comment):
    molecule = water(comment)
    assert (molecule.charge, molecule.open_shell) == (0, "")


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("charge=inf", "charge must be a whole number of electrons; got 'inf'"),
        ("charge=1e400", "whole number"),
        ("charge = 0.5", "whole number of electrons; got '0.5'"),
        ("charge=" + "9" * 500, "whole number"),
        ("charge: unknown", "charge must be a number of electrons; got 'unknown'"),
        ("charge=0 (2-)", "two charges, 0 and -2"),
        ("charge=1 q=2", "two charges, +1 and +2"),
    ],
)
def test_charges_that_cannot_be(comment, message):
    bad = water(comment)
    assert isinstance(bad, BadRow)
    assert message in bad.message
    assert bad.message.startswith("line 2: the comment says ")
    assert len(bad.message) < 200


@settings(deadline=None, max_examples=80, derandomize=True)
@given(
    st.integers(-9, 9),
    st.sampled_from(["charge", "Charge", "total charge", "net_charge", "CHRG", "q"]),
    st.sampled_from(["=", ":", " = ", ": "]),
    st.sampled_from(["{:+d}", "{:d}", "{:.1f}", "trailing"]),
    st.sampled_from(["{}", "water {}", "water; {}; more", '"{}"', "energy=-1.5 {}"]),
)
def test_any_spelling_of_a_charge(charge, key, separator, form, around):
    trailing = f"{abs(charge)}{'-' if charge < 0 else '+'}"
    value = trailing if form == "trailing" else form.format(charge)
    assert water(around.format(f"{key}{separator}{value}")).charge == charge


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=60))
def test_no_comment_raises(comment):
    row = water(comment.replace("Properties=", "").replace("Lattice=", ""))
    assert isinstance(row, Molecule | BadRow)


@pytest.mark.parametrize(
    ("comment", "charge", "spin"),
    [
        ("water 2+", 2, ""),
        ("water 2−", -2, ""),
        ("H2O+2", 2, ""),
        ("H2O-2", -2, ""),
        ('{"charge": 0, "multiplicity": 1}', 0, ""),
        ('{"mult": 3}', 0, "multiplicity is 3"),
        ("two unpaired electrons", 0, "two unpaired electrons"),
        ("UKS, 2 unpaired electrons, converged", 0, "2 unpaired electrons"),
        ("0 unpaired electrons", 0, ""),
        ("conformer 1 -2", 0, ""),
        ("energy -2", 0, ""),
        ("C-2", 0, ""),
    ],
)
def test_other_spellings_of_charge_and_spin(comment, charge, spin):
    molecule = water(comment)
    assert molecule.charge == charge
    assert spin in molecule.open_shell
    assert bool(molecule.open_shell) == bool(spin)


def test_pairs_of_a_comment_come_along_if_asked_for(tmp_path):
    comment = 'water logS=-1.5 source="a b" E = 2e-3, note'
    path = tmp_path / "a.xyz"
    path.write_text(f"3\n{comment}\nO 0 0 0.12\nH 0 0.76 -0.47\nH 0 -0.76 -0.47\n")
    (row,) = read(path, ReadOptions(keep_columns=True))
    assert row.extra == {"logS": "-1.5", "source": "a b", "E": "2e-3"}
    (row,) = read(path)
    assert row.extra == {}
