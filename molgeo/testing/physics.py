"""What no backbone may depend on, and derivatives: exact, continuous, and always finite."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from molgeo.graph import Graph, radius_graph
from molgeo.graph.padding import Capacity, load_of, padded, padded_atoms
from molgeo.testing.case import (
    MOLECULES,
    Atoms,
    Case,
    Subject,
    atoms_of,
    collated,
    distorted,
    same,
)

Inputs = tuple[Any, ...]


def geometry(case: Case) -> None:
    """Outputs depend on positions and elements: a constant would pass most other checks."""
    z, pos = atoms_of("methanol")
    moved, other = pos.clone(), z.clone()
    moved[0, 0] += 0.1
    other[1] = 16
    for subject in case.subjects():
        for what, inputs in (("positions", (z, moved)), ("elements", (other, pos))):
            before = subject(z, pos)
            change = (subject(*inputs) - before).abs() / before.abs().max()
            assert (change > 1e-9).all(), f"{subject.name} does not depend on {what}"


def translation(case: Case) -> None:
    """Outputs are the same wherever a molecule is."""
    z, pos, batch = _all(case)
    shift = torch.tensor([17.0, -4.0, 0.3]) * (1 + batch.unsqueeze(-1))
    _unchanged(case, "translation", (z, pos, batch), (z, pos + shift, batch))


def rotation(case: Case) -> None:
    """Outputs are the same however a molecule is turned, and forces turn with it."""
    z, pos, batch = _all(case)
    q = _turn()
    _unchanged(case, "rotation", (z, pos, batch), (z, pos @ q, batch), lambda f: f @ q)


def reflection(case: Case) -> None:
    """Mirror images have the same outputs, unless a backbone says that it tells them apart."""
    z, pos, batch = _all(case)
    pos = distorted(pos)
    q = -_turn()
    if not case.model().tells_mirror_images:
        _unchanged(case, "reflection", (z, pos, batch), (z, pos @ q, batch), lambda f: f @ q)
        return
    for subject in case.subjects():
        image, own = subject(z, pos @ q, batch), subject(z, pos, batch)
        change = (image - own)[0].abs() / own[0].abs().max()  # of methanol
        assert (change > 1e-9).any(), f"{subject.name} does not tell mirror images apart"


def order_of_atoms(case: Case) -> None:
    """Outputs do not depend on the order of atoms, and forces follow it."""
    z, pos, batch = _all(case)
    order = torch.rand(len(z), generator=_random()).add(batch).argsort()  # within each molecule
    new = z[order], pos[order], batch
    _unchanged(case, "order of atoms", (z, pos, batch), new, lambda f: f[order])


def batches(case: Case) -> None:
    """A molecule's outputs are the same alone and in any company."""
    molecules = [atoms_of(name) for name in MOLECULES]
    for subject in case.subjects():
        alone = torch.cat([subject(*each) for each in molecules])
        same(f"a batch: outputs of {subject.name}", subject(*collated(molecules)), alone)
        backwards = subject(*collated(molecules[::-1])).flip(0)
        same(f"order of molecules: outputs of {subject.name}", backwards, alone)


def fragments(case: Case) -> None:
    """Of two molecules far apart, sums are the sum and means the mean by size."""
    for subject in case.subjects():
        for (z, pos), (other, near) in pairwise(map(atoms_of, MOLECULES)):
            far = near + torch.tensor([0.0, 1000.0, 0.0])
            together = subject(torch.cat([z, other]), torch.cat([pos, far]))[0]
            a, b, n, m = subject(z, pos)[0], subject(other, near)[0], len(z), len(other)
            expected = {"sum": a + b, "mean": (n * a + m * b) / (n + m)}
            for k, kind in enumerate(subject.kinds):
                if kind in expected:
                    same(f"far fragments: {subject.name}", together[k], expected[kind][k])


def isolated_atoms(case: Case) -> None:
    """Atoms without neighbours have energies of their elements, and no forces."""
    for subject in case.subjects():
        for n in range(4):
            z = torch.tensor([6, 1, 8])[:n]
            pos = 1000.0 * torch.eye(3, dtype=torch.float64)[:n]
            energy = subject(z, pos)[:, 0].sum()
            alone = sum((subject(z[k : k + 1], pos[k : k + 1])[0, 0] for k in range(n)), energy * 0)
            same(f"energy of {n} isolated atoms in {subject.name}", energy, alone)
            assert (subject.forces(z, pos) == 0).all(), f"{n} isolated atoms have forces"


def skin(case: Case) -> None:
    """Edges beyond the cutoff contribute nothing: steps of a simulation share a graph."""
    z, pos, batch = _all(case)
    near, far = (radius_graph(pos, case.model().cutoff + skin, batch) for skin in (0.0, 1.5))
    for graph in (near, far):
        old, new = (z, pos, batch), (z, pos, batch, graph)
        _unchanged(case, f"{graph.n_edges - near.n_edges} edges beyond the cutoff", old, new)


def forces(case: Case) -> None:
    """Forces are the energy's negative gradient: finite differences in float64."""
    is_smooth = case.model().is_smooth
    for subject in case.subjects():
        for name in ("methanol", "ammonia", "water", "carbon dioxide", "acetylene", "ethylene"):
            z, pos = atoms_of(name)
            _exact(subject, f"forces on {name}", z, pos if is_smooth else distorted(pos))
        step = (
            2e-5  # displaced copies cross the cutoff, where the second derivative may have a step
        )
        for gap in (-0.5 * step, 0.5 * step) if is_smooth else ():
            atoms = _leaving(subject.module.cutoff + gap)
            _exact(subject, "forces at the cutoff", *atoms, step)


def cutoff(case: Case) -> None:
    """Energy and forces go on without a step when an atom leaves the cutoff of another.

    That is what a backbone promises that says `is_smooth`.
    """
    if not case.model().is_smooth:
        return
    for subject in case.subjects():
        c = subject.module.cutoff
        places = [_leaving(distance) for distance in (c - 1e-6, c + 1e-6, 0.6 * c, 3 * c)]
        inner, outer, near, far = (subject(*atoms)[0, 0].item() for atoms in places)
        f_inner, f_outer, f_near, _ = (subject.forces(*atoms) for atoms in places)
        scale, f_scale = abs(near - far), float(f_near.abs().max())
        assert scale > 1e-9 * abs(far), f"{subject.name} does not see an atom at {0.6 * c:g} Å"
        for what, jump, all_of_it, part in (
            ("energy", abs(inner - outer), scale, 1e-6),
            ("force", float((f_inner - f_outer).abs().max()), f_scale, 1e-4),
        ):
            assert jump < part * all_of_it, (
                f"the {what} of {subject.name} jumps by {jump:.2g} at the cutoff of {c:g} Å, "
                f"expected less than {part:.0e} of {all_of_it:.2g}"
            )


def gradients(case: Case) -> None:
    """First and second derivatives are right, away from symmetry and on a line."""
    on_a_line = 0.0 if case.model().is_smooth else 0.1
    for name, noise in (("ammonia", 0.1), ("carbon dioxide", on_a_line)):
        z, pos = atoms_of(name)
        pos += noise * torch.randn(pos.shape, generator=_random())
        for subject in case.subjects():
            energy = lambda x, z=z, subject=subject: subject(z, x)[:, 0]  # noqa: E731
            for what, check in (("first", gradcheck), ("second", gradgradcheck)):
                try:
                    # On a card sums may differ in their last digits from run to run.
                    check(energy, pos.requires_grad_(), fast_mode=True, nondet_tol=1e-10)
                except RuntimeError as error:
                    reason = " ".join(str(error).split())[:200]
                    about = f"{what} derivatives of {subject.name} for {name}"
                    raise AssertionError(f"{about}: {reason}") from error


def training(case: Case) -> None:
    """Training on forces has finite gradients at every geometry, in float32 too."""
    z, pos, batch = collated([atoms_of(name) for name in MOLECULES])
    for dtype in (torch.float64, torch.float32):
        for subject in case.subjects():
            module = subject.module.to(dtype)
            x = pos.detach().to(dtype).requires_grad_()
            energy = subject(z, x, batch)[:, 0].sum()
            (gradient,) = torch.autograd.grad(energy, x, create_graph=True)
            gradient.square().sum().backward()
            found = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
            assert found, f"training on forces gives no weight of {subject.name} a gradient"
            bad = [n for n, g in {**found, "pos": x.grad}.items() if not g.isfinite().all()]
            assert not bad, f"training on forces: not finite in {subject.name}: {', '.join(bad)}"


def periodic(case: Case) -> None:
    """Atoms see their images, and the stress is the derivative of the energy by a strain."""
    predictor = case.predictor()
    rand = partial(torch.rand, generator=_random(), dtype=torch.float64)
    # Two skewed cells smaller than the cutoff.
    cell = 0.875 * predictor.cutoff * torch.eye(3).double() + 0.5 * rand(2, 3, 3)
    z, batch = torch.tensor([6, 8, 1, 6, 1]), torch.tensor([0, 0, 0, 1, 1])
    pos = torch.einsum("as,asx->ax", rand(5, 3), cell[batch])
    pbc = torch.ones(2, 3, dtype=torch.bool)

    def potential(deform: Tensor, strain: bool = False) -> Any:
        graph = radius_graph(pos @ deform, predictor.cutoff, batch, cell @ deform, pbc)
        there = z.to(case.device), (pos @ deform).to(case.device), graph.to(case.device)
        return predictor.potential(*there, strain=strain)

    unit, expected = torch.eye(3).double(), torch.zeros(2, 3, 3).double()
    for i, j in torch.cartesian_prod(torch.arange(3), torch.arange(3)).tolist():
        strain = torch.zeros(3, 3).double()
        strain[i, j] = 0.5e-5
        strain = strain + strain.T
        after, before = (potential(unit + sign * strain).energy for sign in (1, -1))
        expected[:, i, j] = ((after - before) / 2e-5).cpu()
    same("stress of a crystal", potential(unit, strain=True).strain_gradient.cpu(), expected, 1e-6)


def direct_forces(case: Case) -> None:
    """Direct forces, if there are any, turn with a molecule and depend on nothing but it.

    They are each molecule's own, whatever the order and the padding, and go on without a step at
    the cutoff.
    """
    model = case.model()
    if not model.direct_forces:
        return

    def of_graph(z: Tensor, pos: Tensor, graph: Graph) -> Tensor:
        there = z.to(case.device), pos.to(case.device), graph.to(case.device)
        _, forces = model.features_and_forces(*there)
        assert forces is not None, "direct forces: expected some, got None"
        return forces.to(pos.device)

    def found(z: Tensor, pos: Tensor, batch: Tensor | None = None, skin: float = 0.0) -> Tensor:
        return of_graph(z, pos, radius_graph(pos, model.cutoff + skin, batch))

    z, pos, batch = _all(case)
    pos = distorted(pos)
    expected, q = found(z, pos, batch), _turn()
    assert (expected[batch == 0].abs() > 1e-9).all(), "direct forces: expected other than zero"
    for what, turn in (("turned", q), ("reflected", -q)):
        same(
            f"direct forces of {what} molecules", found(z, pos @ turn + 3.0, batch), expected @ turn
        )
    alone = [found(z[batch == k], pos[batch == k]) for k in range(len(MOLECULES))]
    same("direct forces of each molecule alone", torch.cat(alone), expected)
    order = torch.rand(len(z), generator=_random()).add(batch).argsort()
    same("direct forces in another order", found(z[order], pos[order], batch), expected[order])
    same("direct forces with edges beyond the cutoff", found(z, pos, batch, 1.5), expected)
    graph = radius_graph(pos, model.cutoff, batch)
    capacity = Capacity.around(load_of(graph.degree), 0.5, 4)
    more = of_graph(*padded_atoms(z, pos, capacity), padded(graph, capacity))
    same("direct forces beside padding", more, torch.cat([expected, 0 * more[len(z) :]]))
    inner, outer = (found(*_leaving(model.cutoff + gap)) for gap in (-1e-6, 1e-6))
    same("direct forces at the cutoff", inner, outer, 1e-4)


CHECKS = (geometry, translation, rotation, reflection, order_of_atoms, batches, fragments)
CHECKS += (isolated_atoms, skin, forces, cutoff, gradients, training, periodic, direct_forces)  # type: ignore[assignment]


def _all(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """A batch of all molecules; without symmetry if a backbone has to choose among atoms."""
    z, pos, batch = collated([atoms_of(name) for name in MOLECULES])
    return z, pos if case.model().is_smooth else distorted(pos), batch


def _turn() -> Tensor:
    """A rotation."""
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, generator=_random(), dtype=torch.float64))
    return matrix * matrix.det()


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def _unchanged(
    case: Case, what: str, old: Inputs, new: Inputs, of: Callable[..., Tensor] = lambda f: f
) -> None:
    """Assert that outputs are the same for new inputs, and forces the same function of the old."""
    for subject in case.subjects():
        same(f"{what}: outputs of {subject.name}", subject(*new), subject(*old))
        same(f"{what}: forces of {subject.name}", subject.forces(*new), of(subject.forces(*old)))


def _leaving(distance: float) -> Atoms:
    """Water, and a carbon atom at a distance from its oxygen."""
    z, pos = atoms_of("water")
    direction = torch.tensor([[0.3, 0.5, 1.0]], dtype=torch.float64)
    carbon = pos[:1] + distance * direction / direction.norm()
    return torch.cat([z, torch.tensor([6])]), torch.cat([pos, carbon])


def _exact(subject: Subject, what: str, z: Tensor, pos: Tensor, step: float = 5e-5) -> None:
    """Compare forces with −dE/dpos to fourth order in the step, from one batch of copies."""
    n = pos.numel()
    unit = step * torch.eye(n, dtype=pos.dtype).view(n, *pos.shape)
    copies = torch.cat([pos + k * unit for k in (-2, -1, 1, 2)])
    batch = torch.arange(4 * n).repeat_interleave(len(z))
    with torch.no_grad():
        energy = subject(z.repeat(4 * n), copies.view(-1, 3), batch)[:, 0]
    before2, before, after, after2 = energy.view(4, *pos.shape)
    expected = -(8 * (after - before) - (after2 - before2)) / (12 * step)
    same(f"{what} in {subject.name}", subject.forces(z, pos), expected, 1e-6)
