import math

import ase.data
import pytest

from molgeo.elements import COVALENT_RADII, MASSES, SYMBOLS


def test_symbols_are_those_of_ase():
    assert list(SYMBOLS) == ase.data.chemical_symbols[:101]


def test_masses_are_those_of_ase_to_four_digits():
    assert len(MASSES) == len(SYMBOLS)
    for number in range(1, 101):
        exact = ase.data.atomic_masses[number]
        # Half a unit of the fourth digit; a unit where the standard weight has since been revised.
        digit = 10.0 ** (math.floor(math.log10(exact)) - 3)
        tolerance = (0.5 if number in (1, 6, 7, 8, 9) else 1.0) * digit
        assert MASSES[number] == pytest.approx(exact, abs=tolerance * 1.001)


def test_radii_are_those_of_ase():
    assert ase.data.covalent_radii[:101].tolist() == list(COVALENT_RADII)
