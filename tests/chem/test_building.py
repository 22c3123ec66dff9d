"""Where the coordinates of a row come from."""

import itertools

import numpy as np
import pytest
from rdkit import Chem

from molgeo.chem.building import build
from molgeo.chem.conformers import conformers
from molgeo.chem.conformers.conformers import embed
from molgeo.chem.molecule import BadRow, Molecule, SmilesRow
from molgeo.runtime.errors import InputError

IBUPROFEN = "CC(C)Cc1ccc(cc1)C(C)C(=O)O"
SERINE = "N[C@@H](CO)C(=O)O"


def distorted(smiles, with_smiles=False):
    """A conformer with noise of 0.05 Å, as a file might hold it."""
    (molecule,) = embed(SmilesRow(smiles))
    noise = np.random.default_rng(5).normal(0.0, 0.05, molecule.pos.shape)
    own = smiles if with_smiles else None
    return Molecule(molecule.z, molecule.pos + noise, smiles=own, name="name", input="f.xyz:1")


def built(row, geometry, n=1):
    (made,) = build([row], n, 1, geometry)
    return made


@pytest.mark.parametrize("geometry", ["auto", "given"])
def test_given_coordinates_stay(geometry):
    molecule = distorted("CCO")
    assert built(molecule, geometry) == [molecule]


@pytest.mark.parametrize("with_smiles", [True, False])
def test_minimised_from_where_they_are(with_smiles):
    molecule = distorted("OCCCO", with_smiles)
    (relaxed,) = built(molecule, "mmff")
    assert (relaxed.geometry, relaxed.name, relaxed.input) == ("given+mmff", "name", "f.xyz:1")
    np.testing.assert_array_equal(relaxed.z, molecule.z)
    (minimum,) = embed(SmilesRow("OCCCO"))
    distances = [np.linalg.norm(p[:, None] - p, axis=-1) for p in (relaxed.pos, minimum.pos)]
    assert np.abs(distances[0] - distances[1]).max() < 0.02


@pytest.mark.parametrize("with_smiles", [True, False])
def test_conformers_of_the_molecule_in_the_coordinates(with_smiles):
    molecules = built(distorted(SERINE, with_smiles), "smiles", 3)
    assert 1 < len(molecules) <= 3
    assert {m.geometry for m in molecules} == {"etkdg+mmff"}
    assert molecules[0].input == "f.xyz:1"
    assert Chem.CanonSmiles(molecules[0].smiles) == Chem.CanonSmiles(SERINE)


def test_a_smiles_without_stereo_takes_that_of_the_coordinates():
    molecule = distorted(SERINE)
    flat = Molecule(molecule.z, molecule.pos, smiles="NC(CO)C(=O)O")
    (made,) = built(flat, "smiles")
    assert Chem.CanonSmiles(made.smiles) == Chem.CanonSmiles(SERINE)


def test_a_smiles_has_no_given_coordinates():
    bad = built(SmilesRow("CCO", "name", "CCO"), "given")
    assert isinstance(bad, BadRow)
    assert "has no coordinates" in bad.message
    assert (bad.smiles, bad.name) == ("CCO", "name")


@pytest.mark.parametrize("geometry", ["auto", "mmff", "smiles"])
def test_a_smiles_is_made_into_conformers(geometry):
    (molecule,) = built(SmilesRow("CCO"), geometry)
    assert molecule.geometry == "etkdg+mmff"


@pytest.mark.parametrize("geometry", ["mmff", "smiles"])
def test_coordinates_without_a_molecule_are_a_bad_row(geometry):
    pos = 9.0 * np.arange(15.0).reshape(5, 3)
    scattered = Molecule(np.array([6, 1, 1, 1, 1]), pos, input="f.xyz:2")
    bad = built(scattered, geometry)
    assert isinstance(bad, BadRow)
    assert "bonds" in bad.message
    assert (bad.formula, bad.n_atoms, bad.input) == ("CH4", 5, "f.xyz:2")


@pytest.mark.parametrize("geometry", ["mmff", "smiles"])
@pytest.mark.parametrize("smiles", ["c1ccccc1", "COC"])
def test_a_smiles_of_another_molecule_is_a_bad_row(geometry, smiles):
    ethanol = distorted("CCO")
    bad = built(Molecule(ethanol.z, ethanol.pos, smiles=smiles), geometry)
    assert isinstance(bad, BadRow)
    assert "not the molecule in its coordinates" in bad.message
    assert bad.formula == "C2H6O"


@pytest.mark.parametrize("geometry", ["mmff", "smiles"])
def test_what_is_no_molecule_is_left_for_the_model_to_refuse(geometry):
    broken = Molecule(np.array([6, 8]), np.array([[0.0, 0.0, np.nan], [0.0, 0.0, 1.1]]))
    assert built(broken, geometry) == [broken]


@pytest.mark.parametrize("workers", [1, 3])
def test_build_keeps_order_and_passes_rows_through(workers):
    given = Molecule(np.array([2]), np.zeros((1, 3)))
    broken = BadRow("x", message="why")
    rows = [SmilesRow(IBUPROFEN), broken, SmilesRow("C"), given, SmilesRow("C1")]
    built = list(build(rows, workers=workers))
    assert built[0][0].formula == "C13H18O2"
    assert built[1] is broken
    assert built[2][0].formula == "CH4"
    assert built[3] == [given]
    assert "unclosed ring" in built[4].message


def test_threads_give_the_same_coordinates_as_one():
    rows = [SmilesRow(s) for s in ("CCO", IBUPROFEN, "c1ccccc1", "OC1CC1")] * 2
    for one, many in zip(build(rows, workers=1), build(rows, workers=4), strict=True):
        np.testing.assert_array_equal(one[0].pos, many[0].pos)


def test_build_reads_a_bounded_number_of_rows_ahead():
    consumed = itertools.count()

    def endless():
        while True:
            next(consumed)
            yield SmilesRow("C")

    built = build(endless(), workers=2)
    for _ in range(3):
        next(built)
    built.close()
    assert next(consumed) <= 20


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_before_an_error_of_the_source_are_kept(workers):
    def source():
        yield SmilesRow("C")
        yield SmilesRow("O")
        raise InputError("gone")

    built = build(source(), workers=workers)
    assert [next(built)[0].formula, next(built)[0].formula] == ["CH4", "H2O"]
    with pytest.raises(InputError, match="gone"):
        next(built)


def test_spellings_and_mirror_images_are_embedded_once(monkeypatch):
    embedded = []
    original = conformers.conformers
    monkeypatch.setattr(
        conformers,
        "conformers",
        lambda mol, n, clock: embedded.append(n) or original(mol, n, clock),
    )
    same = ["C[C@H](N)C(=O)O", "C[C@@H](C(O)=O)N", "C[C@@H](N)C(=O)O"]
    built = list(build([SmilesRow(smiles) for smiles in [*same, "CCO", "OCC"]], 3, 2))
    assert sorted(embedded) == [3, 3]
    assert len({one[0].frame.smiles for one in built}) == 2
    embedded.clear()
    list(build([SmilesRow("CC(N)C(=O)O"), SmilesRow("C(C(O)=O)(C)N"), *map(SmilesRow, same)], 3))
    assert sorted(embedded) == [1, 3]  # one to see an isomer


def test_what_a_model_refuses_is_not_embedded(monkeypatch):
    monkeypatch.setattr(conformers, "conformers", None)

    def refuse(z, charge):
        return f"elements {sorted(set(z))}, charge {charge}"

    for geometry in ("auto", "smiles"):
        (bad,) = build([SmilesRow("C[S-]", "name", "input")], refuse=refuse, geometry=geometry)
        assert bad.message == "elements [1, 6, 16], charge -1"
        assert (bad.formula, bad.n_atoms, bad.name, bad.input) == ("CH3S-", 5, "name", "input")
