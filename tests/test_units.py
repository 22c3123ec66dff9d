import ase.units
import pytest
from scipy import constants

from molgeo import units

# scipy has a later CODATA and ASE an earlier one: constants that are measured differ a little.
HARTREE = constants.value("Hartree energy in eV")
BOHR = constants.value("Bohr radius") / constants.angstrom


@pytest.mark.parametrize(
    ("ours", "scipys", "tolerance", "ases", "ase_tolerance"),
    [
        (units.HARTREE, HARTREE, 1e-11, ase.units.Hartree, 1e-8),
        (units.BOHR, BOHR, 1e-9, ase.units.Bohr, 1e-9),
        (
            units.KCAL_MOL,
            constants.calorie * 1000 / constants.N_A / constants.e,
            1e-12,
            ase.units.kcal / ase.units.mol,
            1e-7,
        ),
        (units.DEBYE, 1e-11 / constants.c / constants.e, 1e-14, ase.units.Debye, 1e-7),
        (units.BOLTZMANN, constants.k / constants.e, 1e-15, ase.units.kB, 1e-5),
    ],
    ids=["hartree", "bohr", "kcal_mol", "debye", "boltzmann"],
)
def test_constants(ours, scipys, tolerance, ases, ase_tolerance):
    assert ours == pytest.approx(scipys, rel=tolerance)
    assert ours == pytest.approx(ases, rel=ase_tolerance)


@pytest.mark.parametrize("other", [ase.units.Hartree, 27.211386246, HARTREE])
def test_hartrees_differ_by_less_than_0_2_mev_over_the_largest_energy_of_qm9(other):
    assert abs(19_444 * (units.HARTREE / other - 1)) < 2e-4
