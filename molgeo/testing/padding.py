"""Whether padding counts nowhere: a graph that is padded to a fixed shape gives what it gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from molgeo.graph import Graph, radius_graph
from molgeo.graph.padding import Capacity, load_of, padded, padded_atoms
from molgeo.testing.case import MOLECULES, Case, Subject, atoms_of, collated, same

SPARES: Final = ((2, 2), (37, 250))
"""Atoms and edges of padding: as little as there can be, and more than the molecules have."""

TOLERANCES: Final = {torch.float64: 1e-10, torch.float32: 4e-6}


@dataclass(frozen=True)
class _System:
    """Some molecules and their graph."""

    name: str
    z: Tensor
    pos: Tensor
    graph: Graph

    def padded(self, spare: tuple[int, int]) -> _System:
        """The same with so many padding atoms and edges."""
        atoms, edges, *beyond = load_of(self.graph.degree.cpu()).tolist()
        capacity = Capacity((atoms + spare[0], edges + spare[1], *beyond))
        z, pos = padded_atoms(self.z, self.pos, capacity)
        return _System(self.name, z, pos, padded(self.graph, capacity))


def padding(case: Case) -> None:
    """Padding to a fixed shape changes neither values nor first and second derivatives."""
    for system in _systems(case):
        for subject in case.subjects():
            exact: dict[str, Tensor] = {}
            for dtype, tolerance in TOLERANCES.items():
                subject.module.to(dtype)
                expected = _results(subject, system, system, dtype)
                exact = exact or expected
                for spare in SPARES:
                    found = _results(subject, system.padded(spare), system, dtype)
                    for name, value in expected.items():
                        what = f"padding of {system.name}: {name} of {subject.name} in {dtype}"
                        # Some numbers have a larger rounding error, padded or not.
                        rounding = _relative(value - exact[name], value)
                        same(what, found[name], value, max(tolerance, 4 * rounding))


CHECKS = (padding,)


def _relative(difference: Tensor, value: Tensor) -> float:
    """The largest difference over the largest value."""
    if not value.numel() or not value.any():
        return 0.0
    return float(difference.detach().abs().max() / value.detach().abs().max())


def _systems(case: Case) -> list[_System]:
    """Many molecules, one, atoms without neighbours, and crystals."""
    cutoff = case.model().cutoff
    found, generator = [], torch.Generator().manual_seed(5)
    for name, chosen in (
        ("molecules", [*MOLECULES]),
        ("one molecule", ["methanol"]),
        ("isolated atoms", ["two atoms apart", "one atom"]),
    ):
        z, pos, batch = collated([atoms_of(one) for one in chosen])
        # Of atoms that are alike rounding says which has the largest feature, and so the slope.
        pos = pos + 0.05 * torch.randn(pos.shape, generator=generator, dtype=pos.dtype)
        found.append(_System(name, z, pos, radius_graph(pos, cutoff, batch)))
    cell = 0.9 * cutoff * torch.eye(3).double() + 0.5 * torch.rand(2, 3, 3, generator=generator)
    z, batch = torch.tensor([6, 8, 1, 6]), torch.tensor([0, 0, 0, 1])
    pos = cutoff * torch.rand(4, 3, generator=generator, dtype=torch.float64)
    pbc = torch.ones(2, 3, dtype=torch.bool)
    found.append(_System("crystals", z, pos, radius_graph(pos, cutoff, batch, cell, pbc)))
    return [
        _System(s.name, s.z.to(case.device), s.pos.to(case.device), s.graph.to(case.device))
        for s in found
    ]


def _results(
    subject: Subject, system: _System, real: _System, dtype: torch.dtype
) -> dict[str, Tensor]:
    """All that training takes of the real atoms; of padding, that nothing comes from it."""
    n, m = len(real.z), real.graph.n_molecules
    module, graph = subject.module, system.graph
    pos = system.pos.to(dtype).requires_grad_()
    backbone: Any = getattr(module, "backbone", module)
    features = backbone.atom_features(system.z, pos, graph)
    values = subject(system.z, pos, graph.batch, graph)
    (slope,) = torch.autograd.grad(values[:, 0].sum(), pos, create_graph=True)
    weights = dict(module.named_parameters())
    # As losses are: of what has labels, and linear in what is large.
    loss = torch.stack([(1 + x.square()).sqrt().mean() for x in (values[:m], slope[:n])]).sum()
    *gradients, by_pos = torch.autograd.grad(
        loss, [*weights.values(), pos], allow_unused=True, materialize_grads=True
    )
    where = f"padding of {real.name} in {subject.name}"
    for what, x in (("features", features), ("outputs", values), ("forces", slope)):
        assert x.isfinite().all(), f"{where}: {what} are not finite"
    for what, x in (("forces", slope), ("gradients of a loss", by_pos)):
        assert not x[n:].any(), f"{where}: {what} on padding atoms are not zero"
    found = {"features": features[:n], "forces": -slope[:n], "loss": loss, "second": by_pos[:n]}
    found |= {f"output {k}": values[:m, k] for k in range(values.shape[1])}
    found["gradients"] = torch.cat([gradient.flatten() for gradient in gradients])
    return found
