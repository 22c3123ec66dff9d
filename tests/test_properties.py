import dataclasses

import pytest

from molgeo.properties import ATOMIZATION, PROPERTIES, column

# The contract with users' scripts; a change here breaks them.
COLUMNS = (
    "mu_debye alpha_bohr3 homo_eV lumo_eV gap_eV r2_bohr2 zpve_eV u0_eV u298_eV h298_eV g298_eV "
    "cv_cal_mol_K energy_eV"
)
ENERGIES = ("u0", "u298", "h298", "g298", "energy")


def test_columns_and_their_order():
    assert " ".join(column(name) for name in PROPERTIES) == COLUMNS
    assert all(name == known.name for name, known in PROPERTIES.items())


def test_atomization_columns():
    assert [column(name + ATOMIZATION) for name in ENERGIES] == [
        "u0_atomization_eV",
        "u298_atomization_eV",
        "h298_atomization_eV",
        "g298_atomization_eV",
        "energy_atomization_eV",
    ]


@pytest.mark.parametrize(
    "key", ["colour", "", "U0", "u0_eV", "gap_atomization", "_atomization", "u0_atomization_eV"]
)
def test_unknown_keys(key):
    with pytest.raises(KeyError, match=rf"expected one of mu, .*, cv.* got '{key}'"):
        column(key)


def test_units_stand_in_the_column():
    written = {"D": "debye", "a0³": "bohr3", "a0²": "bohr2", "cal/mol/K": "cal_mol_K", "eV": "eV"}
    for known in PROPERTIES.values():
        assert known.column == f"{known.name}_{written[known.unit]}"


def test_heads_follow_physics():
    heads = {name: known.head for name, known in PROPERTIES.items()}
    assert [name for name in heads if heads[name] == "mean"] == ["homo", "lumo", "gap"]
    assert heads["mu"] == "dipole"
    assert heads["r2"] == "extent"
    assert all(heads[name] == "sum" for name in ("alpha", "zpve", "cv", *ENERGIES))
    assert tuple(name for name, known in PROPERTIES.items() if known.is_energy) == ENERGIES


def test_the_table_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROPERTIES["gap"].unit = "Hartree"
