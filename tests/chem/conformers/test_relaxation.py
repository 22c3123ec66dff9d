"""Given coordinates minimised by a force field."""

import numpy as np
import pytest

from molgeo.chem.conformers import force_field
from molgeo.chem.conformers.force_field import relax
from molgeo.chem.molecule import BadRow, SmilesRow


def distances(pos):
    return np.linalg.norm(pos[:, None] - pos[None], axis=-1)


def test_every_molecule_of_the_fixture_is_relaxed(samples):
    for smiles, z, pos in samples.values():
        made = relax(SmilesRow(smiles), z, pos)
        assert made.geometry == "mmff"
        assert made.z is z
        assert made.pos.shape == (1, len(z), 3)
        assert made.number.tolist() == [0]
        assert np.abs(distances(made.pos[0]) - distances(pos)).max() < 2.0


def test_a_minimum_stays_where_it_is(samples):
    smiles, z, pos = samples["OC1CC2(O)CN3C1C23"]
    once = relax(SmilesRow(smiles), z, pos)
    twice = relax(SmilesRow(smiles), z, once.pos[0])
    assert twice.energy[0] == pytest.approx(once.energy[0], abs=1e-4)
    np.testing.assert_allclose(distances(twice.pos[0]), distances(once.pos[0]), atol=0.01)


def test_relaxing_is_deterministic_and_keeps_the_order_of_atoms(samples):
    smiles, z, pos = samples["CNC(=O)C1COC1"]
    first, second = (relax(SmilesRow(smiles), z, pos) for _ in range(2))
    np.testing.assert_array_equal(first.pos, second.pos)
    back = np.arange(len(z))[::-1]
    turned = relax(SmilesRow(smiles), z[back], pos[back])
    assert turned.energy[0] == pytest.approx(first.energy[0], abs=1e-3)
    np.testing.assert_allclose(distances(turned.pos[0][back]), distances(first.pos[0]), atol=0.05)


def test_bonds_from_the_coordinates_are_said_so(samples):
    _, z, pos = samples["CCO"]
    made = relax(SmilesRow("COC"), z, pos)
    assert made.geometry == "mmff (bonds from the coordinates)"


def test_uff_where_mmff_lacks_parameters():
    z = np.array([5, 1, 1, 1])
    pos = 1.19 * np.array([[0, 0, 0], [1, 0, 0], [-0.5, 0.866, 0], [-0.5, -0.866, 0]])
    assert relax(SmilesRow("B"), z, pos).geometry == "uff"


@pytest.mark.parametrize(
    ("smiles", "z", "distance", "reason"),
    [
        ("F[Xe]F", [9, 54, 9], 1.98, force_field.NO_FORCE_FIELD),
        ("FCF", [9, 6, 9], 100.0, force_field.NO_BONDS),
    ],
)
def test_failures_have_reasons(smiles, z, distance, reason):
    pos = distance * np.array([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]])
    row = relax(SmilesRow(smiles, "name", "input"), np.array(z), pos)
    assert isinstance(row, BadRow)
    assert (row.message, row.smiles, row.name, row.input) == (reason, smiles, "name", "input")


def test_a_broken_bond_is_a_failure(samples, monkeypatch):
    def explode(mol):
        mol.GetConformer().SetAtomPosition(0, (9.0, 9.0, 9.0))
        return [0.0], "mmff"

    monkeypatch.setattr(force_field, "minimise", explode)
    smiles, z, pos = samples["CCO"]
    assert relax(SmilesRow(smiles), z, pos).message == force_field.CHANGED


def test_a_crash_of_rdkit_is_a_bad_row(samples, monkeypatch):
    def crash(_):
        raise RuntimeError("Invariant\n\tViolation")

    monkeypatch.setattr(force_field, "minimise", crash)
    smiles, z, pos = samples["CCO"]
    assert relax(SmilesRow(smiles), z, pos).message == (
        "no conformer: RDKit failed with Invariant Violation"
    )
