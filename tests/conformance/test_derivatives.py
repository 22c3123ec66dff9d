"""Forces: exact, continuous, and finite where angles and norms degenerate."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from molgeo.graph import radius_graph

DEGENERATE = ["CO2", "HCN", "C2H2", "C6H6"]


def central_differences(predictor, z, pos, step):
    """−dE/dpos to fourth order in the step, from one batch of displaced copies."""
    n = pos.numel()
    unit = step * torch.eye(n, dtype=pos.dtype).view(n, *pos.shape)
    copies = torch.cat([pos + k * unit for k in (-2, -1, 1, 2)])
    batch = torch.arange(4 * n).repeat_interleave(len(z))
    with torch.no_grad():
        energy = predictor(z.repeat(4 * n), copies.view(-1, 3), batch)["u0"]
    before2, before, after, after2 = energy.view(4, *pos.shape)
    return -(8 * (after - before) - (after2 - before2)) / (12 * step)


def assert_forces_are_exact(predictor, z, pos, step=1e-4):
    energy, forces = predictor.energy_and_forces(z, pos, allow_untrained_forces=True)
    assert energy.isfinite().all()
    assert forces.abs().max() > 1e-3
    expected = central_differences(predictor, z, pos, step)
    torch.testing.assert_close(forces, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("formula", ["CH3CH2OH", "NH3", "OH", *DEGENERATE])
def test_forces_are_central_differences(predictor, atoms_of, formula):
    assert_forces_are_exact(predictor, *atoms_of(formula))


@pytest.mark.parametrize("gap", [-0.5, 0.5], ids=["inside", "outside"])
def test_forces_at_the_cutoff(predictor, atoms_of, gap):
    """An atom that some displaced copies take across the cutoff of another."""
    z, pos = atoms_of("H2O")
    step = 2e-5  # The second derivative may have a step at the cutoff.
    away = pos[1] - pos[0]
    extra = pos[0] + (predictor.cutoff + gap * step) * away / away.norm()
    z, pos = torch.cat([z, torch.tensor([6])]), torch.cat([pos, extra.unsqueeze(0)])
    assert_forces_are_exact(predictor, z, pos, step)


def test_smooth_at_the_cutoff(predictor, atoms_of):
    """Energy and force go on without a step when an atom leaves, and so do the other atoms'."""
    z, pos = atoms_of("H2O")
    z = torch.cat([z, torch.tensor([6])])
    direction = torch.nn.functional.normalize(torch.tensor([0.3, 0.5, 1.0]).double(), dim=0)

    def at(distance):
        x = torch.cat([pos, (pos[0] + distance * direction).unsqueeze(0)])
        return predictor.energy_and_forces(z, x, allow_untrained_forces=True)

    c, epsilon = predictor.cutoff, 1e-6
    (inner, f_inner), (outer, f_outer) = at(c - epsilon), at(c + epsilon)
    (near, f_near), (far, _) = at(0.6 * c), at(3 * c)
    assert (near - far).abs() > 1e-4
    assert (inner - outer).abs() < 1e-6 * (near - far).abs()
    assert (f_inner - f_outer).abs().max() < 1e-4 * f_near.abs().max()


def test_gradients_of_a_pair_vanish_at_the_cutoff(predictor):
    z = torch.tensor([6, 8])

    def force(d):
        pos = torch.tensor([[0.0, 0, 0], [d, 0, 0]], dtype=torch.float64)
        return predictor.energy_and_forces(z, pos, allow_untrained_forces=True)[1]

    scale = max(force(0.25 * k).abs().max() for k in range(4, 16))
    assert force(predictor.cutoff - 1e-6).abs().max() < 1e-5 * scale
    assert (force(predictor.cutoff + 1e-6) == 0).all()


def test_forces_without_neighbours_are_zero(build_with_heads, name):
    predictor = build_with_heads(name, ("u0",)).double()
    pos = torch.tensor([[0.0, 0, 0], [20, 0, 0], [0, 20, 0]], dtype=torch.float64)
    for n in (1, 2, 3):
        z = torch.tensor([6, 1, 8])[:n]
        energy, forces = predictor.energy_and_forces(z, pos[:n], allow_untrained_forces=True)
        assert energy.isfinite().all()
        assert (forces == 0).all()


def as_function(module, z, batch=None):
    def call(pos):
        out = module(z, pos, batch)
        return out["u0"] if isinstance(out, dict) else out

    return call


@pytest.mark.parametrize("formula", ["NH3", "CO2"])
def test_first_and_second_derivatives(subject, atoms_of, formula):
    """Away from symmetry and on a line; the second serves training on forces."""
    z, pos = atoms_of(formula)
    if formula == "NH3":
        pos = pos + 0.1 * torch.randn(pos.shape, generator=torch.Generator().manual_seed(5))
    call = as_function(subject.module, z)
    pos.requires_grad_()
    assert gradcheck(call, pos, fast_mode=True)
    assert gradgradcheck(call, pos, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_on_forces_has_finite_gradients(subject, collate, atoms_of, mixture, dtype):
    molecules = [*mixture, *(atoms_of(formula) for formula in DEGENERATE)]
    z, pos, batch = collate(molecules)
    module = subject.module.to(dtype)
    pos = pos.to(dtype).requires_grad_()
    energy = as_function(module, z, batch)(pos)
    (gradient,) = torch.autograd.grad(energy.sum(), pos, create_graph=True)
    gradient.square().sum().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert len(gradients) > 5
    assert all(g.isfinite().all() for g in gradients)
    assert pos.grad is not None
    assert pos.grad.isfinite().all()


def test_edges_beyond_the_cutoff_contribute_nothing(subject, collate, mixture):
    """So that steps of a simulation can share a graph with a skin."""
    z, pos, batch = collate(mixture)
    found = []
    for skin in (0.0, 1.5):
        pos = pos.detach().requires_grad_()
        graph = radius_graph(pos, subject.module.cutoff + skin, batch)
        out = subject.module(z, pos, batch, graph)
        energy = out["u0"] if isinstance(out, dict) else out
        found.append((graph.n_edges, energy, *torch.autograd.grad(energy.sum(), pos)))
    (few, *expected), (many, *own) = found
    assert many > few
    for a, b in zip(own, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_potential_is_energy_forces_and_parts(predictor, mixture, collate):
    z, pos, batch = collate(mixture)
    graph = radius_graph(pos, predictor.cutoff, batch)
    found = predictor.potential(z, pos, graph)
    energy, forces = predictor.energy_and_forces(z, pos, batch, allow_untrained_forces=True)
    torch.testing.assert_close(found.energy, energy)
    torch.testing.assert_close(found.forces, forces)
    parts = torch.zeros_like(energy).index_add(0, batch, found.energies)
    torch.testing.assert_close(parts, energy)
    mu = predictor(z, pos, batch)["mu"]
    baseline = predictor.baseline_of(z, pos, graph)[:, predictor.dipole_index]
    norm = torch.linalg.vector_norm(found.dipole, dim=-1)
    torch.testing.assert_close(norm, mu.detach() - baseline)
    alone = predictor.potential(z, pos, graph, derivatives=False)
    torch.testing.assert_close(alone.energy, energy)
    assert alone.forces is None
    assert found.strain_gradient is None


def test_strain_derivative_is_a_central_difference(predictor):
    """Two skewed cells smaller than the cutoff, so that atoms see their own images."""
    torch.manual_seed(3)
    cell = 3.5 * torch.eye(3).double() + 0.5 * torch.rand(2, 3, 3).double()
    batch = torch.tensor([0, 0, 0, 1, 1])
    z = torch.tensor([6, 8, 1, 6, 1])
    pos = torch.einsum("as,asx->ax", torch.rand(5, 3).double(), cell[batch])
    pbc = torch.ones(2, 3, dtype=torch.bool)
    graph = radius_graph(pos, predictor.cutoff, batch, cell, pbc)
    found = predictor.potential(z, pos, graph, strain=True)
    plain = predictor.potential(z, pos, graph)
    torch.testing.assert_close(found.energy, plain.energy)
    torch.testing.assert_close(found.forces, plain.forces)

    def energy(i, j, step):
        strain = torch.zeros(3, 3).double()
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        deform = torch.eye(3).double() + strain
        strained = radius_graph(pos @ deform, predictor.cutoff, batch, cell @ deform, pbc)
        return predictor.potential(z, pos @ deform, strained, derivatives=False).energy

    expected = torch.zeros(2, 3, 3).double()
    for i in range(3):
        for j in range(3):
            expected[:, i, j] = (energy(i, j, 1e-5) - energy(i, j, -1e-5)) / 2e-5
    assert expected.abs().max() > 1e-2
    scale = float(expected.abs().max())
    torch.testing.assert_close(found.strain_gradient, expected, rtol=0, atol=1e-6 * scale)
