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


def test_units_of_force():
    assert units.force_unit("eV/angstrom") == 1.0
    assert units.force_unit("hartree/bohr") == pytest.approx(51.42206747, rel=1e-9)
    assert units.force_unit("kcal/mol/angstrom") == pytest.approx(1 / 23.06054783, rel=1e-9)
    assert units.force_unit("kJ/mol/nm") == pytest.approx(0.1 * units.KJ_MOL)


@pytest.mark.parametrize("name", ["eV", "eV/mile", "angstrom/eV", "", "/bohr"])
def test_unknown_units_of_force(name):
    with pytest.raises(ValueError, match=f"force_unit: expected ENERGY/LENGTH .*got '{name}'"):
        units.force_unit(name)
