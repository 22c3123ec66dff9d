from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule
from compounds import compound

from molgeo.graph.bond_kinds import bond_kinds_of
from molgeo.graph.environments import environments_of, near_pairs
from molgeo.predictor.domain import Domain

QM9 = Domain(elements=(1, 6, 7, 8, 9), max_atoms=29, min_distance=0.96)


def test_inside():
    z, pos = compound("CH3CH2OH")
    assert QM9.check(z, pos) is None
    assert QM9.check(z.numpy(), pos.numpy()) is None
    assert QM9.check(z.tolist(), pos.tolist()) is None
    assert QM9.check([8]) is None
    assert QM9.check([8], [[0.0, 0.0, 0.0]]) is None


@pytest.mark.parametrize(
    ("z", "names"),
    [
        ([6, 14], "Si"),
        ([92, 17, 17, 1], "Cl, U"),
        ([0], "Z=0"),
        ([-1, 6], "Z=-1"),
        ([101], "Z=101"),
        ([100], "Fm"),
        ([118], "Z=118"),
    ],
)
def test_unknown_elements(z, names):
    message = f"element {names} is outside the model's domain: it was trained on H, C, N, O, F only"
    assert QM9.check(z) == message
    assert QM9.check(torch.tensor(z)) == message


@pytest.mark.parametrize(("charge", "written"), [(1, r"+1"), (-2, "-2")])
def test_charge(charge, written):
    message = QM9.check([6], charge=charge)
    assert message == (
        f"charge {written} is outside the model's domain: "
        "it was trained on molecules of charge 0 only"
    )


def test_a_model_of_ions():
    cations = Domain(elements=(1, 7), max_atoms=5, min_distance=1.0, charge=1)
    assert cations.check([7, 1], charge=1) is None
    assert "of charge 1 only" in cations.check([7, 1])


@pytest.mark.parametrize(
    ("distance", "ok"), [(0.0, False), (0.5, False), (0.71, False), (0.73, True), (3.4, True)]
)
def test_distance(distance, ok):
    """A quarter shorter than in training is still given; what is written is the distance itself."""
    z, pos = [6, 1, 1], [[10.0, 0, 0], [10.0, distance, 0], [10.0, 0, -3.0]]
    message = QM9.check(z, pos)
    if ok:
        assert message is None
    else:
        assert f"two atoms are {distance:.2f} Å apart" in message
        assert "the shortest distance it was trained on is 0.96 Å" in message


def test_distance_agrees_with_all_pairs():
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for n in (2, 3, 10, 60):
        for _ in range(20):
            pos = 2.0 * torch.rand(n, 3, generator=generator, dtype=torch.float64)
            shortest = float(torch.pdist(pos).min())
            message = QM9.check([6] * n, pos)
            seen.add(message is None)
            assert (message is None) == (shortest >= 0.72)
            if message:
                assert message.startswith(f"two atoms are {shortest:.2f} Å apart")
    assert seen == {True, False}


def test_size_is_no_reason():
    """Ten thousand atoms on a grid, whose distance matrix would take 800 MB."""
    axis = torch.arange(22.0) * 1.1
    pos = torch.cartesian_prod(axis, axis, axis)[:10_000]
    z = torch.full((len(pos),), 6)
    assert QM9.check(z, pos) is None
    pos[-1] = pos[17] + torch.tensor([0.0, 0.3, 0.0])
    assert "two atoms are 0.30 Å apart" in QM9.check(z, pos)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_coordinates_that_are_no_numbers(bad):
    assert QM9.check([6, 1], [[0.0, 0, 0], [0.0, bad, 2.0]]) == "a coordinate is NaN or infinite"


def test_no_atoms():
    assert QM9.check([]) == "the molecule has no atoms"
    assert QM9.check(torch.zeros(0, dtype=torch.long)) == "the molecule has no atoms"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_molecules_far_apart_are_fragments(axis):
    _, water = compound("H2O")
    pos = np.concatenate([water.numpy()] * 3)
    pos[3:6, axis] += 8.0
    pos[6:, axis] -= 9.0
    assert QM9.check([8, 1, 1] * 3, pos) == (
        "3 separate fragments, more than 3.5 Å apart: predict each on its own"
    )
    pos[3:, axis] = 0.0
    assert QM9.check([8, 1, 1], pos[:3]) is None


def test_a_chain_is_one_fragment_in_any_order():
    pos = np.zeros((500, 3))
    pos[:, 1] = 3.4 * np.random.default_rng(0).permutation(500)
    assert QM9.check([6] * 500, pos) is None
    assert "2 separate fragments" in QM9.check([6] * 499, np.delete(pos, 250, axis=0))


def g2(name):
    """Atomic numbers and positions of a molecule of ASE's."""
    atoms = molecule(name)
    return atoms.numbers.astype(np.int64), atoms.positions


def trained_on(*names, copies=200):
    """The domain of a set with each of some molecules that often."""
    found = [g2(name) for name in names] * copies
    z, pos = (np.concatenate(part) for part in zip(*found, strict=True))
    ptr = np.cumsum([0, *(len(one) for one, _ in found)])
    pairs = near_pairs(z, pos, ptr)
    return Domain(
        elements=(1, 6, 7, 8),
        max_atoms=9,
        min_distance=0.9,
        environments=replace(environments_of(z, ptr, pairs), formulas=()),
        bond_kinds=bond_kinds_of(z, ptr, pairs),
    )


ORGANIC = trained_on("CH3CH2OH", "C2H6", "CH3COOH")


def test_what_training_held_is_inside():
    for name in ("CH3CH2OH", "C2H6", "CH3COOH"):
        assert ORGANIC.judge(*g2(name)) == ()


def test_a_rare_atom_is_named_instead_of_its_bonds():
    assert ORGANIC.judge(*g2("H2O")) == (
        "rare atom O bonded to H, H alone (in none of 600 training molecules)",
    )


def test_a_rare_bond_between_known_atoms_is_named():
    known = trained_on("CH3CH2OH", "CH3COOH", "CH3CHO", "H2O2")
    assert known.judge(*g2("CH3CHO")) == ()
    z, pos = g2("C2H6")  # CH3 is known, but not beside CH3
    assert known.judge(z, pos) == (
        "rare bond C(H,H,H)-C(H,H,H) (in none of 800 training molecules)",
    )


def test_stretched_bonds_of_given_coordinates_alone_are_named():
    z, pos = g2("C2H6")
    (reason,) = ORGANIC.judge(z, 1.08 * pos)[:1]
    assert reason.startswith("bond length C-C of 1.6")
    assert ORGANIC.judge(z, 1.08 * pos, given=False) == ()


def test_far_more_atoms_are_outside_and_somewhat_more_are_not():
    z = [6] * 60
    assert QM9.judge(z[:58], np.zeros((58, 3))) == ()
    (reason,) = QM9.judge(z, np.zeros((60, 3)))
    assert reason == "far more atoms than any training molecule (60, the largest has 29)"


def test_phrases_hold_nothing_that_parts_phrases():
    for name in ("H2O", "C6H6", "N2H4", "CH3ONO"):
        assert not any("; " in reason for reason in ORGANIC.judge(*g2(name)))


def test_several_charges():
    ions = replace(QM9, charges=(-1, 0, 1))
    assert QM9.seen_charges == (0,)
    assert [ions.check([6], charge=q) for q in ions.seen_charges] == [None] * 3
    assert "was trained on molecules of charge -1, 0, 1 only" in ions.check([6], charge=2)


def test_joined_domains_are_those_of_both_sets():
    """Bonds are judged by the larger of both numbers, so that little of one set is enough."""
    names = ["C2H6", "CH3OH", "NH3"], ["H2O", "CH3OH"]
    one, two = (replace(trained_on(*each), charge=q) for each, q in zip(names, (0, 1), strict=True))
    both, whole = one.joined(two), trained_on(*names[0], *names[1])
    assert both.elements == whole.elements
    assert (both.max_atoms, both.min_distance) == (whole.max_atoms, whole.min_distance)
    assert both.seen_charges == (0, 1)
    assert both.environments.counts == whole.environments.counts
    assert both.bond_kinds.counts == whole.bond_kinds.counts
    assert both.bond_kinds.molecules == whole.bond_kinds.molecules
    assert both.bond_kinds.needed == max(one.bond_kinds.needed, two.bond_kinds.needed)
    assert one.joined(replace(two, bond_kinds=None)).bond_kinds is None
    assert one.joined(one).charges is None
