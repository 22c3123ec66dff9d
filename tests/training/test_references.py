"""Baselines: exact where the law is linear, blind to all but the training part."""

import dataclasses

import pytest
import torch

from molgeo.data.forces.properties import ENERGY
from molgeo.data.molecules import MoleculeSet
from molgeo.data.qm9.dataset import QM9, atom_references
from molgeo.data.qm9.properties import named
from molgeo.predictor import Predictor
from molgeo.properties import Property
from molgeo.training.references import domain_of, fit_references

NAMES = ("mu", "gap", "r2", "u0")
BACKBONE = {"n_features": 8, "n_filters": 8, "n_blocks": 1, "n_gaussians": 4, "cutoff": 3.0}
LAW = {1: -13.6, 6: -1030.0, 7: -1488.0, 8: -2045.0, 9: -2717.0}


@pytest.fixture
def predictor():
    torch.manual_seed(0)
    return Predictor("schnet", BACKBONE, named(NAMES), 4)


@pytest.fixture
def molecules(small_data):
    """Real molecules whose u0 obeys a linear law of their composition, the gap its average."""
    whole = QM9(small_data / "qm9").molecules.select(NAMES)
    y = whole.y.clone()
    for m in range(len(whole)):
        energies = [LAW[z] for z in whole.z[whole.ptr[m] : whole.ptr[m + 1]].tolist()]
        y[m, 1] = sum(energies) / len(energies)
        y[m, 3] = sum(energies)
    return dataclasses.replace(whole, y=y)


def test_linear_laws_are_recovered(predictor, molecules):
    fit_references(predictor, molecules, torch.arange(61), {})
    for row in (1, 3):
        got = predictor.baseline[row, 0, list(LAW)].tolist()
        assert got == pytest.approx(list(LAW.values()), rel=1e-9)
        assert predictor.scale[row] < 1e-6 or predictor.scale[row] == 1.0


def test_what_is_left_has_unit_spread(predictor, small_data):
    whole = QM9(small_data / "qm9").molecules.select(NAMES)
    fit_references(predictor, whole, torch.arange(61), {})
    batch = whole.batch(torch.arange(61))
    from molgeo.graph import radius_graph

    graph = radius_graph(batch.pos, 3.0, batch.batch)
    labels = predictor.to_standardised(batch.y, batch.z, batch.pos, graph)
    assert labels.std(0).tolist() == pytest.approx([1.0] * 4, rel=1e-3)
    back = predictor.to_units(labels, batch.z, batch.pos, graph)
    assert (back - batch.y).abs().max() < 1e-5


def test_the_baseline_of_moments_is_the_mean(molecules):
    """For all elements: of those that few molecules have, a fit would say much about little."""
    own = Property("own", "", "moments")
    whole = dataclasses.replace(molecules, y=molecules.y[:, :1], properties=("own",))
    made = Predictor("schnet", BACKBONE, [own], 4)
    fit_references(made, whole, torch.arange(61), {})
    batch = whole.batch(torch.arange(61))
    found = made.baseline_of(batch.z.long(), batch.pos, batch.graph(3.0))
    torch.testing.assert_close(found, whole.y[:61].mean().expand(61, 1))
    assert made.scale[0] == pytest.approx(float(whole.y[:61].std()))


def test_a_dipole_has_no_baseline(predictor, molecules):
    fit_references(predictor, molecules, torch.arange(61), {})
    assert predictor.baseline[0].abs().max() == 0
    assert float(predictor.scale[0]) == pytest.approx(float(molecules.y[:, 0].std()))


def test_other_rows_are_not_looked_at(predictor, molecules):
    """Labels outside of the training part may be anything, NaN included."""
    train = torch.arange(0, 61, 2)
    fit_references(predictor, molecules, train, {})
    expected = (predictor.baseline.clone(), predictor.scale.clone())
    y = molecules.y.clone()
    y[1::2] = torch.nan
    fit_references(predictor, dataclasses.replace(molecules, y=y), train, {})
    assert torch.equal(predictor.baseline, expected[0])
    assert torch.equal(predictor.scale, expected[1])


def test_unseen_elements_have_no_baseline(predictor, molecules):
    fit_references(predictor, molecules, torch.tensor([0, 1, 2]), {})  # CH4, NH3, H2O
    seen = torch.zeros(predictor.baseline.shape[-1], dtype=torch.bool)
    seen[[1, 6, 7, 8]] = True
    assert predictor.baseline[:, :, ~seen].abs().max() == 0


def test_free_atoms(predictor, molecules):
    fit_references(predictor, molecules, torch.arange(61), atom_references())
    assert predictor.atom_reference[3, 6].item() == pytest.approx(-1029.863, abs=1e-3)
    assert predictor.atom_reference[:3].isnan().all()


def test_domain(molecules):
    domain = domain_of(molecules, torch.arange(61))
    assert domain.elements == (1, 6, 7, 8, 9)
    assert domain.max_atoms == int(molecules.ptr.diff().max())
    assert 0.9 < domain.min_distance < 1.05  # the O–H bond
    assert domain_of(molecules, torch.tensor([0, 1, 2])).elements == (1, 6, 7, 8)  # CH4, NH3, H2O


def test_nan_labels(predictor, molecules):
    y = molecules.y.clone()
    y[3, 1] = torch.nan
    with pytest.raises(ValueError, match=r"labels: .*NaN"):
        fit_references(predictor, dataclasses.replace(molecules, y=y), torch.arange(61), {})


def test_labels_of_another_model(predictor, molecules):
    with pytest.raises(ValueError, match="labels"):
        fit_references(predictor, molecules.select(("gap", "u0")), torch.arange(61), {})


def force_data(z, energies, force=None, **fields):
    """Molecules of the same atoms, 1 Å apart on a line."""
    n = len(energies)
    return MoleculeSet(
        z=torch.tensor(z * n, dtype=torch.uint8),
        pos=torch.arange(len(z)).float().repeat(n).unsqueeze(-1) * torch.tensor([1.0, 0, 0]),
        ptr=torch.arange(n + 1) * len(z),
        y=torch.tensor(energies, dtype=torch.float64).unsqueeze(-1),
        idx=torch.arange(n),
        properties=("energy",),
        force=torch.ones(n * len(z), 3, dtype=torch.float64) if force is None else force,
        **fields,
    )


@pytest.fixture
def force_field():
    torch.manual_seed(0)
    return Predictor("schnet", BACKBONE, [ENERGY], 4)


def test_energies_are_scaled_by_the_forces(force_field):
    force = torch.tensor([[1.0, -3.0, 2.0]] * 6, dtype=torch.float64)
    fit_references(force_field, force_data([8, 1, 1], [-5.0, -5.5], force), torch.arange(2), {})
    assert float(force_field.scale) == pytest.approx((14 / 3) ** 0.5)


def test_one_composition_departs_least_from_its_free_atoms(force_field):
    """Water alone does not tell H from O: the fit keeps what is known of them."""
    molecules = force_data([8, 1, 1], [-2081.0, -2079.0])
    free = {"energy": {1: -13.6, 8: -2045.0}}
    fit_references(force_field, molecules, torch.arange(2), free)
    row = force_field.baseline[0, 0]
    assert float(row[8] + 2 * row[1]) == pytest.approx(-2080.0)
    assert abs(float(row[8]) + 2045.0) < 3
    assert abs(float(row[1]) + 13.6) < 4
    assert force_field.atom_reference[0, [1, 8]].tolist() == [-13.6, -2045.0]


def test_the_shortest_distance_may_cross_a_boundary():
    cell = torch.diag(torch.tensor([2.7, 20.0, 20.0], dtype=torch.float64)).expand(2, 3, 3)
    pbc = torch.tensor([[True, False, False], [False] * 3])
    molecules = force_data([8, 1, 1], [-5.0, -5.5], cell=cell, pbc=pbc)
    assert domain_of(molecules, torch.arange(2)).min_distance == pytest.approx(0.7)
    assert domain_of(molecules, torch.tensor([1])).min_distance == pytest.approx(1.0)


def test_environments_are_of_the_training_part(molecules):
    domain = domain_of(molecules, torch.tensor([0, 1, 2]))  # CH4, NH3, H2O
    assert domain.environments.configurations == 3
    assert set(domain.environments.counts) == {
        *("C(H,H,H,H)", "N(H,H,H)", "O(H,H)", "H(C)", "H(N)", "H(O)"),
    }
    assert domain.environments.formulas == ("CH4", "H2O", "H3N")


def test_bonds_across_boundaries_are_counted(molecules):
    """A molecule in a box is cut by its faces in one place and in none in another."""
    rows = torch.arange(20)
    ptr = molecules.ptr
    shift = torch.linspace(0.0, 12.0, len(molecules))[
        torch.repeat_interleave(torch.arange(len(molecules)), ptr.diff())
    ]
    cell = torch.eye(3, dtype=torch.float64).mul(12.0).repeat(len(molecules), 1, 1)
    boxed = dataclasses.replace(
        molecules,
        pos=(molecules.pos + shift[:, None]).remainder(12.0),
        cell=cell,
        pbc=(torch.arange(len(molecules)) % 2 == 0)[:, None].expand(-1, 3),
    )
    even = rows[::2]
    found, expected = domain_of(boxed, even).environments, domain_of(molecules, even).environments
    assert found.periodic == 10
    assert found.counts == expected.counts
    for pair, lengths in expected.bonds.items():
        assert found.bonds[pair] == pytest.approx(lengths, abs=2e-3)


def test_conformers_of_a_molecule_count_once_in_its_domain(small_data) -> None:
    """Else a bond of three molecules with four conformers each would count as a common one."""
    molecules = QM9(small_data / "qm9").molecules
    thrice = dataclasses.replace(molecules, idx=torch.arange(len(molecules)) // 3)
    own, firsts = domain_of(thrice, torch.arange(24)), domain_of(molecules, torch.arange(0, 24, 3))
    assert own.bond_kinds == firsts.bond_kinds
    assert own.environments == firsts.environments
    assert own.bond_kinds.molecules == 8
    assert own.elements == domain_of(molecules, torch.arange(24)).elements
