"""Every model is a program, with the forces and the stress of a crystal."""

import torch
from neighbourhoods import arguments
from small_models import every_model, small

from molgeo.graph import radius_graph
from molgeo.predictor.header import Facts
from molgeo.predictor.program import description, program_of
from molgeo.testing import Case
from molgeo.testing.case import atoms_of, collated


def crystal(seed, device):
    """Three atoms in a small cell: every atom is its own neighbour."""
    generator = torch.Generator().manual_seed(seed)
    pos, skew = torch.rand(2, 3, 3, dtype=torch.float64, generator=generator)
    cell = (2.6 * torch.eye(3, dtype=torch.float64) + 0.3 * skew)[None]
    return torch.tensor([6, 8, 1]), (pos @ cell[0]).to(device), cell.to(device)


@every_model
def test_a_program_gives_forces_and_strain_of_a_crystal(name, device):
    predictor = small(name, device).predictor()
    predictor.header = Facts(trained_on_forces=True)
    program = program_of(predictor).module()
    for seed in range(2):
        z, pos, cell = crystal(seed, device)
        z, n_atoms = z.to(device), torch.tensor([3], device=device)
        periodic = torch.ones(1, 3, dtype=torch.bool, device=device)
        graph = radius_graph(pos, predictor.cutoff, None, cell, periodic)
        expected = predictor.potential(z, pos, graph, strain=True)
        found = program(*arguments(z, pos, n_atoms, graph))
        assert {"energy", "energies", "forces", "strain_gradient"} <= set(found)
        for key, value in found.items():
            wanted = getattr(expected, key)
            size = float(wanted.abs().max())
            torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-9 * size)


def test_a_program_of_a_model_that_takes_charges(device):
    case = small("spectrum_net", device)
    predictor = Case(case.cls, {**case.fields, "charges": True}, device).predictor()
    predictor.header = Facts(trained_on_forces=True)
    program = program_of(predictor).module()
    assert [*description(predictor)["inputs"]][-1] == "charge"
    z, pos, batch = (x.to(device) for x in collated([atoms_of("water"), atoms_of("ammonia")]))
    graph = radius_graph(pos, predictor.cutoff, batch)
    n_atoms = torch.tensor([3, 4], device=device)
    for charges in ([0, 1], [-1, 0]):
        charge = torch.tensor(charges, device=device)
        expected = predictor.potential(z, pos, graph.with_known(charge), strain=True)
        found = program(*arguments(z, pos, n_atoms, graph), charge)
        for key in ("energy", "forces"):
            torch.testing.assert_close(found[key], getattr(expected, key), rtol=1e-9, atol=1e-9)
