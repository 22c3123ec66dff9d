import itertools
import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.build import molecule as g2
from ase.collections import g2 as g2_names
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from molgeo.chem.plausible import fragments, implausible, missing_hydrogens, unfit_to_move
from molgeo.units import COORDINATE_UNITS

CARBENES = {"SiH2_s1A1d", "CH2_s1A1d"}
CLOSED = [
    name
    for name in g2_names.names
    if not g2(name).get_initial_magnetic_moments().any() and len(g2(name)) > 1
]
RNG = np.random.default_rng(0)


def of(atoms):
    return atoms.numbers.astype(np.int64), atoms.positions


@pytest.mark.parametrize("name", CLOSED)
def test_real_molecules_are_plausible(name):
    """G2's molecules: rings, cages, ions of alkali metals, hypervalent sulfur, CO, O3, N2O."""
    z, pos = of(g2(name))
    assert implausible(z, pos) is None
    assert len(fragments(z, pos)) == 1
    assert (missing_hydrogens(z, pos) > 0) == (name in CARBENES)


def chain(symbols, lengths):
    """A linear molecule."""
    return of(Atoms(symbols, [[x, 0.0, 0.0] for x in np.cumsum([0.0, *lengths])]))


@pytest.mark.parametrize(
    ("symbols", "lengths"),
    [
        ("OCO", [1.16, 1.16]),
        ("OCCCO", [1.16, 1.28, 1.28, 1.16]),  # carbon suboxide
        ("NCCN", [1.16, 1.38, 1.16]),
        ("OCCO", [1.19, 1.37, 1.19]),
        ("CO", [1.128]),
        ("CNCH", [1.17, 1.30, 1.07]),
        ("HCN", [1.07, 1.16]),
        ("HNC", [0.99, 1.17]),
        ("NNO", [1.13, 1.19]),
        ("FF", [1.412]),
        ("HH", [0.741]),
        ("PP", [1.89]),
        ("FXeF", [1.98, 1.98]),
    ],
)
def test_molecules_with_few_or_no_hydrogens(symbols, lengths):
    z, pos = chain(symbols, lengths)
    assert implausible(z, pos) is None
    assert missing_hydrogens(z, pos) == 0


def test_hexafluorobenzene_and_c60():
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    z, pos = np.repeat([6, 9], 6), np.concatenate([1.39 * ring, (1.39 + 1.33) * ring])
    assert missing_hydrogens(z, pos) == 0
    assert missing_hydrogens(z[:6], pos[:6]) == 6
    assert missing_hydrogens(*of(g2("C60"))) == 0


def test_all_of_the_fixture_is_plausible(some_qm9):
    first = np.concatenate([[0], some_qm9.n_atoms.cumsum()])
    for a, b in itertools.pairwise(first):
        z, pos = some_qm9.z[a:b].astype(np.int64), some_qm9.pos[a:b]
        assert implausible(z, pos) is None
        assert len(fragments(z, pos)) == 1
        assert missing_hydrogens(z, pos) == 0


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.sampled_from(CLOSED), st.sampled_from(sorted(COORDINATE_UNITS)), st.booleans(), st.data())
def test_a_wrong_unit_is_named_with_its_factor(name, unit, inverse, data):
    z, pos = of(g2(name))
    factor = COORDINATE_UNITS[unit]
    assume(factor != 1.0)
    shift = np.array(data.draw(st.lists(st.floats(-50, 50), min_size=3, max_size=3)))
    written = (pos * factor if inverse else pos / factor) + shift
    message = implausible(z, written)
    assert message is not None
    mend = 1 / factor if inverse else factor
    assert f"multiply them by {mend:.4g}" in message
    assert ("taken for " if inverse else "look like ") + unit in message
    assert ("units=" in message) == (not inverse)


@pytest.mark.parametrize("scale", [1.4, 3.0, 0.7])
def test_another_scale_is_refused_too(scale):
    z, pos = of(g2("C6H6"))
    message = implausible(z, scale * pos)
    assert "not in Å" in message
    assert "no usual unit explains" in message


def test_fractions_of_a_cell():
    z, pos = of(g2("CH3CH2OH"))
    message = implausible(z, pos / [13.0, 4.0, 31.0] + 0.5)
    assert "fractions of a cell" in message


def test_two_atoms_in_one_place():
    z, pos = of(g2("H2O"))
    pos[2] = pos[1] + 0.01
    assert implausible(z, pos).startswith("atoms 2 (H), 3 (H) are 0.017 Å apart")
    assert "0.000 Å apart" in implausible(z, 0 * pos)


def test_an_atom_bonded_to_nothing():
    z, pos = of(g2("CH3CH2OH"))
    pos[4] += 3.0 * (pos[4] - pos.mean(0))
    message = implausible(z, pos)
    assert message.startswith("atom 5 (H) is bonded to nothing: its nearest, atom ")
    assert "and 1 more" in implausible(*of(g2("CH4") + spread("HF")))


def spread(symbols):
    return Atoms(symbols, [[9.0 + 4.0 * k, 0, 0] for k in range(len(symbols))])


@pytest.mark.parametrize("symbols", ["C", "He", "HeHe", "ArNe"])
def test_single_atoms_and_noble_gases_are_fine(symbols):
    z, pos = of(spread(re.findall("[A-Z][a-z]?", symbols)))
    assert implausible(z, pos) is None
    assert missing_hydrogens(z, pos) == 0


@pytest.mark.parametrize(
    "atoms", [bulk("Si"), bulk("Cu"), bulk("NaCl", "rocksalt", a=5.64), bulk("Cs")]
)
def test_crystals(atoms):
    cell, pbc = atoms.cell.array, atoms.pbc.tolist()
    assert implausible(*of(atoms), cell, pbc) is None
    message = implausible(atoms.numbers, atoms.positions / 0.529177, cell / 0.529177, pbc)
    assert "look like bohr" in message


def test_molecules_across_a_boundary():
    water = g2("H2O")
    water.set_cell([6.0, 7.0, 8.0])
    water.pbc = True
    for shift in RNG.uniform(-20, 20, (20, 3)):
        moved = water.copy()
        moved.translate(shift)
        moved.wrap()
        args = *of(moved), moved.cell.array, [True] * 3
        assert implausible(*args) is None
        assert unfit_to_move(*args) is None
        broken = moved.positions.copy()
        broken[1] += 2.5
        assert implausible(moved.numbers, broken, moved.cell.array, [True] * 3) is not None


def test_a_large_box_in_the_wrong_unit():
    water = g2("H2O")
    water.set_cell([3.1] * 3)
    water.pbc = True
    box = water.repeat((5, 5, 5))
    box = box[np.argsort(-box.numbers, kind="stable")]  # all oxygen first, as POSCAR has it
    args = box.cell.array, [True] * 3
    assert implausible(*of(box), *args) is None
    message = implausible(box.numbers, box.positions / 0.529177, args[0] / 0.529177, args[1])
    assert "look like bohr" in message


def test_fragments_are_the_molecules():
    waters = g2("H2O") + g2("H2O")
    waters.positions[3:] += [0.0, 0.0, 3.0]
    pair = fragments(*of(waters))
    assert [part.tolist() for part in pair] == [[0, 1, 2], [3, 4, 5]]


@settings(deadline=None, max_examples=20, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_stripped_hydrogens_are_missed(seed):
    """Any even number of them, from molecules of QM9's kind; fewer than a tenth escapes."""
    rng = np.random.default_rng(seed)
    names = [n for n in CLOSED if (g2(n).numbers == 1).sum() >= 4 and n not in CARBENES]
    found = []
    for name in rng.choice(names, 10):
        z, pos = of(g2(name))
        hydrogens = np.flatnonzero(z == 1)
        dropped = rng.choice(hydrogens, 2 * rng.integers(1, len(hydrogens) // 2 + 1), replace=False)
        kept = np.setdiff1d(np.arange(len(z)), dropped)
        if len(kept) > 1:
            found.append(missing_hydrogens(z[kept], pos[kept]))
    assert np.mean(np.array(found) > 0) >= 0.9


def test_a_charge_takes_a_valence():
    z, pos = of(g2("CH3COOH"))
    from_oxygen = np.linalg.norm(pos[z == 1][:, None] - pos[z == 8], axis=-1).min(1)
    acid = np.flatnonzero(z == 1)[from_oxygen.argmin()]
    z, pos = np.delete(z, acid), np.delete(pos, acid, 0)
    assert missing_hydrogens(z, pos, charge=-1) == 0
    assert missing_hydrogens(z, pos) == 1


def test_hot_molecules_are_no_radicals():
    """Bonds of a molecule in motion are of any length: two missing hydrogens may not show."""
    z, pos = of(g2("C6H6"))
    for _ in range(50):
        moved = pos + 0.04 * RNG.standard_normal(pos.shape)
        assert unfit_to_move(z, moved) is None
    carbons = z == 6
    assert "6 hydrogens are missing" in unfit_to_move(z[carbons], pos[carbons])


def test_any_two_hydrogens_of_the_methyls_of_an_amide():
    """Amide nitrogen, whose bonds are more than single, does not account for those of a methyl."""
    mol = Chem.AddHs(Chem.MolFromSmiles("CN1C(=O)N(C)C=C1"))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    z = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    pos = mol.GetConformer().GetPositions()
    assert missing_hydrogens(z, pos) == 0
    methyls = [x.GetIdx() for x in mol.GetAtoms() if x.GetTotalNumHs(includeNeighbors=True) == 3]
    bonded = [atom.GetNeighbors()[0].GetIdx() for atom in mol.GetAtoms()]
    hydrogens = [k for k in np.flatnonzero(z == 1) if bonded[k] in methyls]
    assert len(hydrogens) == 6
    for pair in itertools.combinations(hydrogens, 2):
        assert missing_hydrogens(np.delete(z, pair), np.delete(pos, pair, axis=0)) == 2
