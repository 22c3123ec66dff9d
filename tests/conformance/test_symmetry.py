"""What no model may depend on: frame, order of atoms, company in the batch."""

from itertools import pairwise

import pytest
import torch

TOLERANCE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture
def rotation():
    generator = torch.Generator().manual_seed(3)
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    return q * torch.linalg.det(q)


def test_depends_on_geometry(subject, atoms_of):
    """The tests below would pass for a constant."""
    z, pos = atoms_of("CH3CH2OH")
    moved = pos.clone()
    moved[0, 0] += 0.1
    assert ((subject(z, pos) - subject(z, moved)).abs() > 1e-6).all()


def test_translation(subject, collate, mixture):
    z, pos, batch = collate(mixture)
    shift = torch.tensor([17.0, -4.0, 0.3]) * (1 + batch.unsqueeze(-1))
    torch.testing.assert_close(subject(z, pos + shift, batch), subject(z, pos, batch), **TOLERANCE)


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["rotation", "reflection"])
def test_rotation_and_reflection(subject, collate, mixture, rotation, sign):
    z, pos, batch = collate(mixture)
    turned = subject(z, pos @ (sign * rotation), batch)
    torch.testing.assert_close(turned, subject(z, pos, batch), **TOLERANCE)


def test_forces_turn_with_the_molecule(predictor, collate, mixture, rotation):
    z, pos, batch = collate(mixture)
    _, forces = predictor.energy_and_forces(z, pos, batch, allow_untrained_forces=True)
    _, turned = predictor.energy_and_forces(z, pos @ rotation, batch, allow_untrained_forces=True)
    torch.testing.assert_close(turned, forces @ rotation, **TOLERANCE)


def test_no_net_force_or_torque(predictor, collate, mixture):
    z, pos, batch = collate(mixture)
    _, forces = predictor.energy_and_forces(z, pos, batch, allow_untrained_forces=True)
    for number in range(len(mixture)):
        f, r = forces[batch == number], pos[batch == number]
        torch.testing.assert_close(f.sum(0), torch.zeros(3).double(), **TOLERANCE)
        torque = torch.linalg.cross(r, f).sum(0)
        torch.testing.assert_close(torque, torch.zeros(3).double(), **TOLERANCE)


def test_order_of_atoms(subject, predictor, collate, mixture):
    generator = torch.Generator().manual_seed(4)
    orders = [torch.randperm(len(z), generator=generator) for z, _ in mixture]
    z, pos, batch = collate(mixture)
    shuffled = collate([(z[o], x[o]) for o, (z, x) in zip(orders, mixture, strict=True)])
    torch.testing.assert_close(subject(*shuffled), subject(z, pos, batch), **TOLERANCE)
    _, forces = predictor.energy_and_forces(z, pos, batch, allow_untrained_forces=True)
    _, moved = predictor.energy_and_forces(*shuffled, allow_untrained_forces=True)
    start = torch.tensor([0, *(len(o) for o in orders[:-1])]).cumsum(0)
    order = torch.cat([o + s for o, s in zip(orders, start, strict=True)])
    torch.testing.assert_close(moved, forces[order], **TOLERANCE)


def test_batch_equals_singles(subject, collate, mixture):
    together = subject(*collate(mixture))
    alone = torch.cat([subject(z, pos) for z, pos in mixture])
    torch.testing.assert_close(together, alone, **TOLERANCE)


def test_order_of_molecules(subject, collate, mixture):
    forwards = subject(*collate(mixture))
    backwards = subject(*collate(mixture[::-1]))
    torch.testing.assert_close(backwards.flip(0), forwards, **TOLERANCE)


def test_far_fragments_add(subject, collate, mixture):
    """Sums add, means average by size; other kinds depend on how far apart the fragments are."""
    for a, b in pairwise(mixture):
        z = torch.cat([a[0], b[0]])
        pos = torch.cat([a[1], b[1] + torch.tensor([0.0, 50.0, 0.0])])
        together = subject(z, pos)[0]
        first, second = subject(*a)[0], subject(*b)[0]
        n, m = len(a[0]), len(b[0])
        expected = {"sum": first + second, "mean": (n * first + m * second) / (n + m)}
        for k, kind in enumerate(subject.kinds):
            if kind in expected:
                torch.testing.assert_close(together[k], expected[kind][k], **TOLERANCE)


def test_an_isolated_atom_is_its_reference(predictor):
    """Where the network adds nothing, the baseline is all there is."""
    torch.nn.init.zeros_(predictor.heads.out_weight)
    torch.nn.init.zeros_(predictor.heads.out_bias)
    for number in (1, 6, 9):
        out = predictor(torch.tensor([number]), torch.full((1, 3), 5.0).double())
        for k, name in enumerate(predictor.property_names):
            if name in ("u298", "h298"):
                continue  # coupled by H = U + kT
            reference = predictor.baseline[k, 0, number] * (name != "mu")
            torch.testing.assert_close(out[name][0], reference, rtol=1e-14, atol=0)
        free = predictor.atom_reference[predictor.energy_index, number]
        assert out["u0_atomization"][0] == out["u0"][0] - free
