"""Forces that a backbone gives itself, in place of the gradient of the energy."""

import pytest
import torch
from compounds import compound
from force_fields import with_direct_forces
from small_models import small

from molgeo.data.forces.properties import ENERGY
from molgeo.graph import radius_graph
from molgeo.models import SideBySide
from molgeo.predictor import Predictor
from molgeo.predictor.potential import standardised_forces
from molgeo.predictor.program import description, program_of
from molgeo.runtime.errors import SettingError


@pytest.fixture(scope="module")
def predictor():
    return with_direct_forces()


@pytest.fixture
def ethanol(predictor):
    z, pos = compound("CH3CH2OH")
    return z, pos, radius_graph(pos, predictor.cutoff)


def test_they_take_the_place_of_the_gradient(predictor, ethanol):
    z, pos, graph = ethanol
    found = predictor.potential(z, pos, graph)
    _, own = predictor.backbone.features_and_forces(z, pos, graph)
    torch.testing.assert_close(found.forces, 0.7 * own)
    x = pos.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(predictor(z, x)["energy"].sum(), x)
    assert (found.forces + gradient).abs().max() > 0.1
    energy, forces = predictor.energy_and_forces(z, pos)
    assert torch.equal(forces, found.forces)
    torch.testing.assert_close(energy, predictor(z, pos)["energy"])
    assert torch.equal(predictor.potential(z, pos, graph, derivatives=False).forces, forces)


def test_they_keep_momentum_and_angular_momentum(predictor, ethanol):
    z, pos, graph = ethanol
    forces = predictor.potential(z, pos, graph).forces
    assert forces.abs().max() > 0.1
    assert forces.sum(0).abs().max() < 1e-12
    assert torch.linalg.cross(pos, forces).sum(0).abs().max() < 1e-12


def test_a_strain_changes_the_energy_all_the_same(predictor, ethanol):
    """Its derivative is there for who asks; the calculator does not call it a stress."""
    z, pos, graph = ethanol
    found = predictor.potential(z, pos, graph, strain=True)
    torch.testing.assert_close(found.forces, predictor.potential(z, pos, graph).forces)
    stretched = [predictor(z, pos * (1 + step))["energy"] for step in (1e-5, -1e-5)]
    slope = (stretched[0] - stretched[1]).item() / 2e-5
    assert found.strain_gradient[0].trace().item() == pytest.approx(slope, rel=1e-4)


def test_training_takes_no_second_derivative(predictor, ethanol):
    z, pos, graph = ethanol
    energy, forces = standardised_forces(predictor, z, pos, graph)
    assert [energy.requires_grad, forces.requires_grad] == [False, False]
    torch.testing.assert_close(0.7 * forces, predictor.potential(z, pos, graph).forces)
    energy, forces = standardised_forces(predictor, z, pos, graph, create_graph=True)
    (forces.square().sum() + energy.square().sum()).backward()
    missing = [name for name, p in predictor.named_parameters() if p.grad is None]
    predictor.zero_grad()
    assert missing == []


def test_a_program_gives_them_and_no_stress(predictor, ethanol):
    z, pos, graph = ethanol
    pairs = torch.stack([graph.source, graph.target])[:, graph.forward]
    offset = torch.zeros(pairs.shape[1], 3, dtype=torch.float64)
    program = program_of(predictor, forces=True).module()
    found = program(z, pos, torch.tensor([len(z)]), pairs, offset)
    torch.testing.assert_close(found["forces"], predictor.potential(z, pos, graph).forces)
    told = description(predictor)["outputs"]
    assert told.keys() == found.keys()
    assert "strain_gradient" not in told
    assert told["forces"]["meaning"] == "direct, not the gradient of the energy"


def test_what_has_no_effect_on_them_is_refused():
    fields = small("gemnet").fields | {"direct_forces": True}
    with pytest.raises(SettingError, match=r"repulsion: .* direct, not the gradient"):
        Predictor("gemnet", fields, [ENERGY], repulsion=True)
    with pytest.raises(SettingError, match=r"members: the forces of gemnet are direct"):
        SideBySide(members=[{"model": "gemnet", **fields}])
