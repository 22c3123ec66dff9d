"""What a backbone makes of the charges of molecules: nothing, or what their physics allows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import gradcheck

from molgeo.graph import radius_graph
from molgeo.graph.padding import Capacity, load_of, padded, padded_atoms
from molgeo.testing.case import MOLECULES, Atoms, Case, atoms_of, collated, distorted, same

CHARGES = (1, 0, -1)
"""Of the molecules of a batch, again and again."""


def charges(case: Case) -> None:
    """Charges count only in a backbone that takes them; there zero is what no charge is."""
    z, pos = atoms_of("methanol")
    for subject in case.subjects():
        neutral = subject(z, pos)
        zero, *others = (subject(z, pos, charge=torch.tensor([q])) for q in (0, 1, -1))
        same(f"charge 0: outputs of {subject.name}", zero, neutral, case.exactly)
        for one in others:
            if case.model().takes_charge:
                change = (one - neutral).abs() / neutral.abs().max()
                assert (change > 1e-9).all(), f"{subject.name} does not depend on the charge"
            else:
                same(f"charges: outputs of {subject.name}", one, neutral, case.exactly)
        if case.model().takes_charge:
            assert not torch.equal(*others), f"{subject.name} takes no notice of a charge's sign"


def charged_batches(case: Case) -> None:
    """Charged molecules give the same alone, in any order of atoms and company, and padded."""
    molecules = [_atoms(case, name) for name in MOLECULES]
    z, pos, batch = collated(molecules)
    charge = torch.tensor(CHARGES).repeat(len(molecules))[: len(molecules)]
    order = torch.rand(len(z), generator=torch.Generator().manual_seed(3)).add(batch).argsort()
    for subject in case.subjects():
        ones = zip(molecules, charge.split(1), strict=True)
        alone = torch.cat([subject(*one, charge=q) for one, q in ones])
        together = subject(z, pos, batch, charge=charge)
        same(f"a charged batch: outputs of {subject.name}", together, alone)
        mixed = subject(z[order], pos[order], batch, charge=charge)
        same(f"charges and order of atoms: outputs of {subject.name}", mixed, alone)
        graph = radius_graph(pos, subject.module.cutoff, batch).with_known(charge)
        atoms, edges, *beyond = load_of(graph.degree).tolist()
        capacity = Capacity((atoms + 5, edges + 6, *beyond))
        more = padded(graph, capacity)
        spare = subject(*padded_atoms(z, pos, capacity), more.batch, more)[: len(molecules)]
        same(f"charges and padding: outputs of {subject.name}", spare, alone, 1e-10)


def charged_gradients(case: Case) -> None:
    """Forces on the atoms of an ion are the exact derivative of its energy."""
    z, pos = _atoms(case, "ammonia")
    for subject in case.subjects():
        for q in (1, -1):

            def energy(x: Tensor, subject=subject, q=q) -> Tensor:  # type: ignore[no-untyped-def]
                return subject(z, x, charge=torch.tensor([q]))[:, 0]

            gradcheck(energy, pos.requires_grad_(), fast_mode=True, nondet_tol=1e-10)


CHECKS = (charges, charged_batches, charged_gradients)


def _atoms(case: Case, name: str) -> Atoms:
    """A molecule, without symmetry if a backbone has to choose among atoms."""
    z, pos = atoms_of(name)
    return z, pos if case.model().is_smooth else distorted(pos)
