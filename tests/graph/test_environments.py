"""Environments are counted as a chemist would, whatever the order, noise or boundaries."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from molgeo.graph.environments import (
    Environments,
    bonds,
    environments,
    environments_of,
    formula,
    near_pairs,
)
from molgeo.predictor.domain import Domain

NAMES = ["CH3CH2OH", "CH3OCH3", "C2H4", "HCN", "CH3NO2", "C6H6", "H2O"]


def flat(structures):
    z = np.concatenate([s.numbers for s in structures])
    pos = np.concatenate([s.positions for s in structures])
    return z, pos, np.concatenate([[0], np.cumsum([len(s) for s in structures])])


def record(structures):
    z, pos, ptr = flat(structures)
    return environments_of(z, ptr, near_pairs(z, pos, ptr))


def rattled(name, n, seed=0, stdev=0.03):
    rng = np.random.default_rng(seed)
    made = [molecule(name) for _ in range(n)]
    for atoms in made:
        atoms.positions += rng.normal(0.0, stdev, atoms.positions.shape)
    return made


def test_names():
    z, pos, ptr = flat([molecule("CH3CH2OH")])
    assert sorted(environments(z, bonds(z, near_pairs(z, pos, ptr)))) == sorted(
        ["C(C,H,H,H)", "C(C,H,H,O)", "O(C,H)", "H(O)", *["H(C)"] * 5]
    )


def test_counts_are_of_configurations():
    """Six carbons of benzene are one configuration that holds them."""
    found = record([molecule(name) for name in NAMES])
    assert found.configurations == len(NAMES)
    assert found.counts["H(C)"] == 6
    assert found.counts["C(C,C,H)"] == 1
    assert found.counts["O(H,H)"] == 1
    assert found.counts["N(C,O,O)"] == 1
    assert found.counts["C(H,H,H,O)"] == 1
    assert "N(N)" not in found.counts


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.permutations(NAMES), st.integers(0, 2**32 - 1))
def test_neither_order_nor_place_matters(names, seed):
    rng = np.random.default_rng(seed)
    moved = []
    for name in names:
        atoms = molecule(name)[rng.permutation(len(molecule(name)))]
        atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
        atoms.translate(rng.normal(0.0, 10.0, 3))
        moved.append(atoms)
    assert record(moved).counts == record([molecule(name) for name in NAMES]).counts


def test_what_was_never_held_is_named():
    found = record([atoms for name in NAMES for atoms in rattled(name, 30)])
    for name in NAMES:
        z, pos, ptr = flat([molecule(name)])
        assert found.unfamiliar(z, near_pairs(z, pos, ptr)) == [], name
    z, pos, ptr = flat([molecule("N2")])
    assert found.unfamiliar(z, near_pairs(z, pos, ptr))[:1] == [
        "N bonded to N alone (in none of 210 training configurations)"
    ]
    for name, atom in [("CO2", "C"), ("H2O2", "O"), ("CH4", "C"), ("NH3", "N"), ("CO", "C")]:
        z, pos, ptr = flat([molecule(name)])
        reasons = found.unfamiliar(z, near_pairs(z, pos, ptr))
        assert any(reason.startswith(f"{atom} bonded to") for reason in reasons), name


def test_what_chance_makes_stays_unknown():
    """Strong noise tears C–H bonds and makes CH2 of CH3; no =CH2 is learned from that."""
    found = record(rattled("C2H6", 2000, stdev=0.12))
    z, pos, ptr = flat([molecule("C2H6")])
    assert found.unfamiliar(z, near_pairs(z, pos, ptr)) == []
    z, pos, ptr = flat([molecule("C2H4")])
    reasons = found.unfamiliar(z, near_pairs(z, pos, ptr))
    assert any(reason.startswith("C bonded to C, H, H alone") for reason in reasons)


def test_an_atom_alone_is_unfamiliar():
    found = record(rattled("H2O", 50))
    z = np.array([8, 1, 1])
    pos = np.array([[0.0, 0, 0], [0.96, 0, 0], [-3.0, 0, 0]])
    reasons = found.unfamiliar(z, near_pairs(z, pos, np.array([0, 3])))
    assert any(reason.startswith("H bonded to nothing") for reason in reasons)


def test_unusual_lengths_are_named():
    found = record(rattled("CH4", 200))
    atoms = molecule("CH4")
    atoms.positions[1] *= 1.25
    z, pos, ptr = flat([atoms])
    (reason,) = found.unfamiliar(z, near_pairs(z, pos, ptr))
    length = np.linalg.norm(pos[1] - pos[0])
    assert reason.startswith(f"a bond C-H of {length:.2f} Å (")


def test_a_set_of_one_molecule_knows_its_formula_alone():
    found = record(rattled("CH3CH2OH", 40))
    assert found.formulas == ("C2H6O",)
    z, pos, ptr = flat([molecule("CH3CH2OH")])
    assert found.unfamiliar(z, near_pairs(z, pos, ptr)) == []
    z, pos, ptr = flat([molecule("C3H8")])
    reasons = found.unfamiliar(z, near_pairs(z, pos, ptr))
    assert reasons[-1] == "the formula C3H8 (training held C2H6O alone)"


def test_small_sets_need_fewer():
    assert Environments(8).fewest == 1
    assert Environments(55).fewest == 6
    assert Environments(10**6).fewest == 20


def test_metals_are_not_judged():
    """No distance tells the first shell of a hot metal from the second."""
    crystal = bulk("Cu", cubic=True).repeat(3)
    crystal.pbc = False
    found = record([crystal])
    assert found.counts == {}
    z, pos, ptr = flat([crystal])
    assert found.unfamiliar(z, near_pairs(z, pos, ptr)) == []


def test_large_and_small_configurations_agree():
    """Beyond some thousand atoms the search is another one."""
    lattice = np.array([[x, y, z] for x in range(13) for y in range(13) for z in range(13)])
    water = molecule("H2O")
    z = np.tile(water.numbers, len(lattice))
    pos = (8.0 * lattice[:, None] + water.positions).reshape(-1, 3)
    whole = environments_of(z, np.array([0, len(z)]), near_pairs(z, pos, np.array([0, len(z)])))
    ptr = np.arange(0, len(z) + 1, 3)
    parts = environments_of(z, ptr, near_pairs(z, pos, ptr))
    assert whole.counts == {"O(H,H)": 1, "H(O)": 1}
    assert parts.counts == {"O(H,H)": 2197, "H(O)": 2197}
    assert whole.bonds == parts.bonds


@pytest.mark.parametrize("name", [*NAMES, "SiH4", "CH3Cl", "CF3CN", "LiF", "O3", "CH3SH"])
def test_formulas_are_ases(name):
    atoms = molecule(name)
    assert formula(atoms.numbers) == atoms.get_chemical_formula()


def test_joined_records_are_those_of_both_sets():
    one = [atoms for name in NAMES[:4] for atoms in rattled(name, 3)]
    two = [atoms for name in NAMES[3:] for atoms in rattled(name, 3, seed=1)]
    joined, whole = record(one).joined(record(two)), record(one + two)
    assert joined.counts == whole.counts
    assert joined.formulas == whole.formulas
    assert joined.configurations == whole.configurations
    assert joined.bonds.keys() == whole.bonds.keys()


def test_record_survives_json():
    found = record([atoms for name in NAMES for atoms in rattled(name, 3)])
    domain = Domain((1, 6, 7, 8), max_atoms=12, min_distance=0.9, environments=found)
    adapter = TypeAdapter(Domain)
    assert adapter.validate_json(adapter.dump_json(domain)) == domain


def test_a_domain_without_a_record_calls_nothing_unfamiliar():
    domain = Domain((1, 7), max_atoms=4, min_distance=0.9)
    assert domain.unfamiliar([7, 7], [[0.0, 0, 0], [0, 0, 1.1]]) == []


def test_a_domain_finds_the_pairs_itself():
    found = record([atoms for name in NAMES for atoms in rattled(name, 30)])
    domain = Domain((1, 6, 7, 8), max_atoms=12, min_distance=0.9, environments=found)
    for name in [*NAMES, "N2", "H2O2"]:
        atoms = molecule(name)
        z, pos, ptr = flat([atoms])
        expected = found.unfamiliar(z, near_pairs(z, pos, ptr))
        assert domain.unfamiliar(atoms.numbers.tolist(), atoms.positions) == expected


def test_atoms_that_hot_molecules_lose_make_no_long_bond_familiar():
    """F2 is 1.42 Å long: by the strict reading two atoms bonded to nothing."""
    held = Environments(10_000, counts={"F()": 60, "H()": 500, "F(C)": 5000})
    z, pos, ptr = flat([molecule("F2")])
    pairs = near_pairs(z, pos, ptr)
    assert held.strange(z, pairs).all()
    alone = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    assert held.strange(np.array([9]), alone).all()
    assert not held.strange(np.array([1]), alone).any()
