"""Charges whose dipoles are as long as labels say."""

import numpy as np
import torch
from compounds import compound

from molgeo.fitting.charges import LEAST_DIRECTIONS, fitted_charges, may_be_dipoles, mean_lengths
from molgeo.graph import radius_graph
from molgeo.predictor.heads import moment


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_dipoles_of_features_are_those_of_each_molecule_alone():
    (_, water), (_, benzene) = (compound(name) for name in ("H2O", "C6H6"))
    pos = torch.cat([water, benzene]).double()
    batch = torch.repeat_interleave(torch.arange(2), torch.tensor([len(water), len(benzene)]))
    h = drawn(len(pos), 4).double()
    found = moment(h, pos, radius_graph(pos, 3.0, batch))
    for m in range(2):
        own, where = h[batch == m].numpy(), pos[batch == m].numpy()
        np.testing.assert_allclose(found[m], (own - own.mean(0)).T @ where, atol=1e-9)


def test_lengths_are_means_over_conformers():
    dipoles = torch.tensor([[[3.0, 4.0, 0.0]], [[0.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]]])
    charges = torch.tensor([[1.0], [-2.0]])
    found = mean_lengths(dipoles, charges, torch.tensor([0, 0, 1]), 2)
    assert found.tolist() == [[3.0, 6.0], [0.0, 0.0]]


def test_charges_are_found_from_lengths():
    """Their sign is anybody's choice."""
    dipoles = drawn(600, 5, 3) * torch.tensor([1.0, 0.1, 3.0, 1.0, 0.0]).view(1, 5, 1)
    molecule = torch.arange(600) // 2
    charges = torch.tensor([0.5, -2.0, 0.3, -1.0, 0.0])
    labels = mean_lengths(dipoles, charges[None], molecule, 300)[:, 0]
    found = fitted_charges(dipoles, molecule, labels)
    own = found * (found @ charges).sign()
    torch.testing.assert_close(own, charges, rtol=0, atol=0.02)
    assert torch.equal(found, fitted_charges(dipoles, molecule, labels))


def test_charges_along_many_directions_are_found():
    """More of them than those of the random starts."""
    spread = torch.linspace(3.0, 0.5, 60)
    dipoles = drawn(4000, 60, 3) * spread.view(1, 60, 1)
    charges = drawn(60, seed=1) / spread
    molecule = torch.arange(4000) // 4
    labels = mean_lengths(dipoles, charges[None], molecule, 1000)[:, 0]
    found = fitted_charges(dipoles, molecule, labels)
    again = mean_lengths(dipoles, found[None], molecule, 1000)[:, 0]
    assert (again - labels).abs().mean() < 0.05 * labels.std()


def test_few_labels_have_charges_along_few_directions():
    dipoles = drawn(64, 30, 3) * torch.linspace(3.0, 0.5, 30).view(1, 30, 1)
    molecule = torch.arange(64)
    labels = mean_lengths(dipoles, drawn(1, 30, seed=1), molecule, 64)[:, 0]
    found = fitted_charges(dipoles, molecule, labels)
    columns = dipoles.transpose(1, 2).flatten(0, 1)
    along = torch.linalg.eigh(columns.T @ columns).eigenvectors.flip(1).T @ found
    assert along[:LEAST_DIRECTIONS].abs().min() > 1e-3
    torch.testing.assert_close(along[LEAST_DIRECTIONS:], torch.zeros(26), rtol=0, atol=1e-4)


def test_what_may_be_a_dipole():
    labels = np.array([0.0, 1.2, np.nan])
    assert may_be_dipoles("D", labels)
    assert may_be_dipoles("Debye", labels)
    assert not may_be_dipoles("eV", labels)
    assert not may_be_dipoles("D", np.array([-0.1, 1.0]))
    assert not may_be_dipoles("D", np.array([np.nan]))
