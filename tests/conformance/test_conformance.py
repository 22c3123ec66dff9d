"""Every model, small and with random weights, by the checks that backbones from outside take."""

import pytest
import torch
from small_models import every_model, small

from molgeo import models
from molgeo.data.qm9.properties import PROPERTIES
from molgeo.graph import radius_graph
from molgeo.graph.padding import Capacity, load_of, padded, padded_atoms
from molgeo.predictor import Predictor
from molgeo.testing import CHECKS, Case
from molgeo.testing.case import MOLECULES, atoms_of, collated


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@every_model
def test_conforms(name, check, device):
    check(small(name, device))


AS_PUBLISHED = [name for name in models.names() if not models.model_class(name)().is_smooth]
"""Models that are smooth only if they are told to be."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_conforms_as_published(name, check, device):
    case = small(name, device)
    check(Case(case.cls, {**case.fields, "smooth": False}, device))


WITH_DIRECT_FORCES = [
    name for name in models.names() if hasattr(models.model_class(name)().config, "direct_forces")
]


@pytest.mark.parametrize("check", ["checkpoint", "direct_forces"])
@pytest.mark.parametrize("name", WITH_DIRECT_FORCES)
def test_conforms_with_direct_forces(name, check, device):
    case = small(name, device)
    (its,) = (one for one in CHECKS if one.__name__ == check)
    its(Case(case.cls, {**case.fields, "direct_forces": True}, device))


@pytest.fixture
def predictor(name, on_device):
    """All of QM9's properties, with references as a trained model has."""
    torch.manual_seed(0)
    made = Predictor(name, small(name).fields, tuple(PROPERTIES.values()), head_features=8)
    made.baseline.normal_()
    made.scale.uniform_(0.5, 2.0)
    made.atom_reference.normal_()
    return made.double().eval().to(on_device)


@pytest.fixture
def batch(on_device):
    return tuple(x.to(on_device) for x in collated([atoms_of(name) for name in MOLECULES]))


@every_model
def test_paper_defaults_give_one_number_a_molecule(name, device):
    z, pos = (x.to(device) for x in atoms_of("water"))
    assert models.model_class(name)().to(device)(z, pos.float()).shape == (1, 1)


@every_model
def test_an_isolated_atom_is_its_reference(predictor):
    """If the network adds nothing, the baseline is all there is."""
    torch.nn.init.zeros_(predictor.heads.out_weight)
    torch.nn.init.zeros_(predictor.heads.out_bias)
    for number in (1, 6, 9):
        out = predictor.unbounded(torch.tensor([number]), torch.full((1, 3), 5.0).double())
        for k, name in enumerate(predictor.property_names):
            if name in ("u298", "h298"):
                continue  # coupled by H = U + kT
            reference = predictor.baseline[k, 0, number] * (name != "mu")
            torch.testing.assert_close(out[name][0], reference, rtol=1e-14, atol=0)
        free = predictor.atom_reference[predictor.energy_index, number]
        assert out["u0_atomization"][0] == out["u0"][0] - free


@every_model
def test_potential_is_energy_forces_and_parts(predictor, batch):
    z, pos, molecule = batch
    graph = radius_graph(pos, predictor.cutoff, molecule)
    found = predictor.potential(z, pos, graph, strain=True)
    energy, forces = predictor.energy_and_forces(*batch, allow_untrained_forces=True)
    torch.testing.assert_close(found.energy, energy)
    torch.testing.assert_close(found.forces, forces)
    parts = torch.zeros_like(energy).index_add(0, molecule, found.energies)
    torch.testing.assert_close(parts, energy)
    mu = predictor.property_names.index("mu")
    norm = torch.linalg.vector_norm(found.dipole, dim=-1)
    rest = predictor(*batch)["mu"].detach() - predictor.baseline_of(z, pos, graph)[:, mu]
    torch.testing.assert_close(norm, rest)
    alone = predictor.potential(z, pos, graph, derivatives=False)
    torch.testing.assert_close(alone.energy, energy)
    assert alone.forces is None
    assert alone.strain_gradient is None
    net = torch.zeros(len(energy), 3).double().index_add(0, molecule, forces)
    torque = torch.linalg.cross(pos, forces)
    torque = torch.zeros(len(energy), 3).double().index_add(0, molecule, torque)
    for sums in (net, torque):
        torch.testing.assert_close(sums, torch.zeros_like(sums), rtol=0, atol=1e-9)


@every_model
def test_padding_reaches_no_property_and_no_derivative(predictor, batch):
    z, pos, molecule = batch
    graph = radius_graph(pos, predictor.cutoff, molecule)
    atoms, edges, *beyond = load_of(graph.degree.cpu(), 1).tolist()
    capacity = Capacity((atoms + 5, edges + 8, *beyond))
    more = padded(graph, capacity)
    found, expected = (
        predictor(*padded_atoms(z, pos, capacity), more.batch, more),
        predictor(*batch, graph),
    )
    m = graph.n_molecules
    assert found.keys() == expected.keys() == predictor.outputs.keys()
    for name, values in found.items():
        assert values.isfinite().all(), name
        torch.testing.assert_close(values[:m], expected[name], rtol=1e-10, atol=1e-10)
    weights = dict(predictor.named_parameters())
    slopes = [
        torch.autograd.grad(sum(v[:m].square().sum() for v in out.values()), [*weights.values()])
        for out in (found, expected)
    ]
    for name, got, wanted in zip(weights, *slopes, strict=True):
        scale = float(wanted.abs().max())
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10 * scale, msg=name)
    potential = predictor.potential(*padded_atoms(z, pos, capacity), more, strain=True)._asdict()
    expected = predictor.potential(z, pos, graph, strain=True)._asdict()
    told = {name for name, value in expected.items() if value is not None}
    assert told >= {"energy", "energies", "forces", "strain_gradient"}
    for name in told:
        value = expected[name]
        assert potential[name].isfinite().all(), name
        torch.testing.assert_close(potential[name][: len(value)], value, rtol=1e-9, atol=1e-9)
    assert not potential["forces"][len(z) :].any()


@every_model
def test_a_graph_of_other_atoms_is_refused(name, predictor, batch):
    z, pos, _ = batch
    for module in (predictor, small(name, pos.device).model()):
        with pytest.raises(ValueError, match=f"graph: expected one of {len(z)} atoms, got 5"):
            module(*batch, radius_graph(pos[:5], 4.0))
        with pytest.raises(ValueError, match="graph: expected one of the same batch"):
            module(*batch, radius_graph(pos, 4.0))


@every_model
def test_forces_with_a_graph_inside_inference_mode(predictor):
    z, pos = (x.to(predictor.scale.device) for x in atoms_of("methanol"))
    expected = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    with torch.inference_mode():
        graph = radius_graph(pos, predictor.cutoff)
        found = predictor.energy_and_forces(z, pos, allow_untrained_forces=True, graph=graph)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other)


@every_model
def test_an_element_without_features_is_refused_before_it_is_looked_up(name, predictor):
    """On a card the look-up would end the process."""
    model = small(name, predictor.scale.device).model()
    for module in (predictor, model):
        for number in (-1, model.n_elements):
            z = torch.tensor([8, number])
            expected = f"z: expected atomic numbers, 1 to {model.n_elements - 1}, got {number}"
            with pytest.raises(ValueError, match=expected):
                module(z, torch.eye(3).double()[:2])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_conforms_with_charges(check, device):
    case = small("spectrum_net", device)
    check(Case(case.cls, {**case.fields, "charges": True}, device))
