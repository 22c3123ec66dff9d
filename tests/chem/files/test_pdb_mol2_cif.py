import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.build import molecule as g2
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molgeo.chem.files.readers import read
from molgeo.chem.molecule import BadRow, Molecule, check_bonds, check_geometry
from molgeo.runtime.errors import InputError


def embedded(smiles, n=1):
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMultipleConfs(mol, n, randomSeed=1)
    return mol


def test_pdb_of_ase(tmp_path):
    path = tmp_path / "a.pdb"
    ase.io.write(path, [g2("CH3CH2OH"), g2("CH3CH2OH")])
    ethanol, again = read(path)
    assert (ethanol.formula, again.formula) == ("C2H6O", "C2H6O")
    np.testing.assert_allclose(ethanol.pos, g2("CH3CH2OH").positions, atol=2e-3)
    assert (ethanol.input, ethanol.smiles, ethanol.geometry) == (f"{path}:1", None, "given")
    assert check_bonds(again) is None


@pytest.mark.parametrize("compressed", [False, True])
def test_pdb_of_rdkit_has_a_row_for_each_model(tmp_path, compressed):
    import gzip

    mol = embedded("CC(=O)Nc1ccccc1Cl", 3)
    mol.SetProp("_Name", "amide")
    path = tmp_path / ("a.pdb.gz" if compressed else "a.pdb")
    with (gzip.open if compressed else open)(path, "wt") as file:
        file.write(Chem.MolToPDBBlock(mol))
    rows = list(read(path))
    assert len(rows) == 3
    for row, conformer in zip(rows, mol.GetConformers(), strict=True):
        np.testing.assert_allclose(row.pos, conformer.GetPositions(), atol=2e-3)
        assert row.formula == "C8H8ClNO"
        assert check_bonds(row) is None
    assert rows[0].name == "amide"


def test_pdb_of_heavy_atoms_lacks_hydrogens(tmp_path):
    path = tmp_path / "a.pdb"
    path.write_text(Chem.MolToPDBBlock(Chem.RemoveHs(embedded("NCC(=O)NCC(=O)O"))))
    (row,) = read(path)
    assert "hydrogens are missing from the 3D coordinates" in check_bonds(row)


def test_pdb_with_waters_and_charges(tmp_path):
    path = tmp_path / "a.pdb"
    line = "HETATM{:5d} {:<4}{}HOH A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00          {:>2}{}"
    atoms = [("O", " ", 1, 0.0), ("H1", " ", 1, 0.96), ("O", "A", 2, 5.0), ("O", "B", 2, 5.1)]
    lines = [
        line.format(k, f" {name}", alt, residue, x, 0.0, 0.0, name[0], "1-" if name == "H1" else "")
        for k, (name, alt, residue, x) in enumerate(atoms, start=1)
    ]
    path.write_text("\n".join(["HEADER    WATER", *lines, "END", ""]))
    (row,) = read(path)
    assert row.z.tolist() == [8, 1, 8]  # of alternate locations the first
    assert row.charge == -1
    assert "atom 3 (O) is bonded to nothing" in check_bonds(row)


@pytest.mark.parametrize("text", ["", "ATOM  nonsense\n", "ATOM      1  O   HOH A   1     x\n"])
def test_a_broken_pdb(tmp_path, text):
    path = tmp_path / "a.pdb"
    path.write_text("REMARK\n" + text)
    if not text:
        with pytest.raises(InputError, match="no molecules"):
            list(read(path))
        return
    (bad,) = read(path)
    assert isinstance(bad, BadRow)
    assert "broken record" in bad.message


MOL2 = """# a comment
@<TRIPOS>MOLECULE
formate
4 3 0 0 0
SMALL
USER_CHARGES

@<TRIPOS>ATOM
  1 C1  0.000  0.000  0.000 C.2   1 RES  0.2000
  2 O1  1.100  0.590  0.000 O.co2 1 RES -0.7000
  3 O2 -1.100  0.590  0.000 O.co2 1 RES -0.7000
  4 H1  0.000 -1.110  0.000 H     1 RES  0.2000
@<TRIPOS>BOND
 1 1 2 ar
 2 1 3 ar
 3 1 4 1
"""
WATER = """@<TRIPOS>MOLECULE
*****
3 2
SMALL
NO_CHARGES
@<TRIPOS>ATOM
1 O 0.0 0.0 0.1 O.3
2 H1 0.0 0.76 -0.47 H
3 H2 0.0 -0.76 -0.47 H
@<TRIPOS>BOND
1 1 2 1
2 1 3 1
"""


def test_mol2(tmp_path):
    path = tmp_path / "a.mol2"
    dummy, cut = WATER.replace("O.3", "Du"), WATER.replace("0.1 O.3", "")
    path.write_text(WATER + MOL2 + dummy + cut + WATER)
    water, formate, odd, broken, last = read(path)
    assert "X, a dummy atom" in odd.message
    assert "broken record" in broken.message
    assert (water.formula, water.smiles, water.name, water.input) == ("H2O", "O", "", f"{path}:1")
    assert (formate.name, formate.charge, formate.n_atoms) == ("formate", -1, 4)
    assert isinstance(last, Molecule)


def test_a_closed_shell_tells_the_charge_of_a_mol2(tmp_path):
    """Open Babel calls oxygen of acids and amides O.co2, which is that of a carboxylate."""
    acid = MOL2.replace("4 3 0", "5 4 0").replace(
        "@<TRIPOS>BOND\n", "  5 H2  1.800 0.0 0.0 H 1 RES 1.0\n@<TRIPOS>BOND\n 4 2 5 1\n"
    )
    path = tmp_path / "a.mol2"
    path.write_text(acid)
    (row,) = read(path)
    assert (row.formula, row.charge) == ("CH2O2", 0)


@pytest.mark.parametrize("charge", ["inf", "nan", "1e300", "0.4"])
def test_partial_charges_that_are_no_charge(tmp_path, charge):
    path = tmp_path / "a.mol2"
    path.write_text(MOL2.replace("0.2000", charge, 1) + WATER)
    formate, water = read(path)
    assert formate.charge == -1
    assert water.formula == "H2O"


def boxed(tmp_path, name, format, shift=0.0, side=12.0):
    atoms = g2("CH3CH2OH")
    atoms.set_cell([side, side + 1, side + 2])
    atoms.pbc = True
    atoms.positions += shift
    atoms.wrap()
    ase.io.write(tmp_path / name, atoms, format=format)
    return tmp_path / name


@pytest.mark.parametrize("shift", [0.0, 6.0, -0.5])
@pytest.mark.parametrize(
    ("name", "format"),
    [("a.cif", "cif"), ("POSCAR", "vasp"), ("CONTCAR", "vasp"), ("a.vasp", "vasp")],
)
def test_a_molecule_in_a_box_is_one(tmp_path, name, format, shift):
    """Also where it lies across the boundary."""
    (row,) = read(boxed(tmp_path, name, format, shift))
    assert (row.formula, row.cell, row.pbc) == ("C2H6O", None, (False, False, False))
    assert check_geometry(row) is check_bonds(row) is None
    found, expected = (
        np.sort(np.linalg.norm(pos[:, None] - pos, axis=-1).ravel())
        for pos in (row.pos, g2("CH3CH2OH").positions)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["crystal", "packed", "two"])
def test_what_is_no_molecule_in_a_box_stays_periodic(tmp_path, kind):
    path = tmp_path / "a.cif"
    if kind == "crystal":
        ase.io.write(path, bulk("Si"))
    elif kind == "packed":
        path = boxed(tmp_path, "a.cif", "cif", side=5.0)
    else:
        pair = g2("H2O") + g2("H2O")
        pair.positions[3:] += 5.0
        pair.set_cell([20, 20, 20])
        pair.pbc = True
        ase.io.write(path, pair)
    (row,) = read(path)
    assert row.pbc == (True, True, True)
    assert "periodic structure" in check_geometry(row)


@pytest.mark.parametrize("name", ["a.cif", "POSCAR"])
def test_noise_is_no_cell(tmp_path, name):
    (tmp_path / name).write_text("noise\n" * 9)
    with pytest.raises(InputError, match=r"cannot be read as|no molecules"):
        list(read(tmp_path / name))
