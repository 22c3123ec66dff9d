import dataclasses

import pytest

from molgeo.data.forces.properties import ENERGY
from molgeo.data.qm9.properties import NAMES, PROPERTIES, named

# The contract with users' scripts; a change here breaks them.
COLUMNS = (
    "mu_debye alpha_bohr3 homo_eV lumo_eV gap_eV r2_bohr2 zpve_eV u0_eV u298_eV h298_eV g298_eV "
    "cv_cal_mol_K"
)
ENERGIES = ("u0", "u298", "h298", "g298")


def test_columns_and_their_order():
    assert " ".join(one.column for one in PROPERTIES.values()) == COLUMNS
    assert ENERGY.column == "energy_eV"
    assert all(name == known.name for name, known in PROPERTIES.items())


def test_atomization_columns():
    energies = [*named(ENERGIES), ENERGY]
    assert [one.atomization.column for one in energies] == [
        f"{name}_atomization_eV" for name in (*ENERGIES, "energy")
    ]


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


def test_some_by_name():
    assert [one.name for one in named(["gap", "mu"])] == ["gap", "mu"]
    assert named(NAMES) == tuple(PROPERTIES.values())
    with pytest.raises(ValueError, match=r"properties: expected some of mu, .*, cv, got 'colour'"):
        named(["gap", "colour"])
