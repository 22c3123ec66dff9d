"""Systems of which the energy and forces are computed one at a time: molecules and water boxes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from molgeo.data.molecules import MoleculeSet
from molgeo.graph import Graph, radius_graph
from molgeo.ops.segment import molecule_sum

WATER_VOLUME = 18.01528 / (0.997 * 0.602214076)
"""Å³ a molecule of liquid water at 0.997 g/cm³, its density at 298 K."""


@dataclass(frozen=True)
class System:
    """One molecule or box.

    Attributes:
        name: what it is.
        z: (atoms,) int64 atomic numbers.
        pos: (atoms, 3) float32, Å.
        cell: (1, 3, 3) lattice vectors in Å, as rows; None for a molecule.
    """

    name: str
    z: Tensor
    pos: Tensor
    cell: Tensor | None = None

    def to(self, device: torch.device) -> System:
        """The same system on another device."""
        cell = None if self.cell is None else self.cell.to(device)
        return replace(self, z=self.z.to(device), pos=self.pos.to(device), cell=cell)

    def graph(self, cutoff: float) -> Graph:
        """All edges within the cutoff, in Å."""
        batch = torch.zeros_like(self.z)
        if self.cell is None:
            return radius_graph(self.pos, cutoff, batch)
        pbc = torch.ones(1, 3, dtype=torch.bool, device=self.pos.device)
        return radius_graph(self.pos, cutoff, batch, self.cell, pbc)


def energy_and_forces(
    model: nn.Module, system: System, graph: Graph | None = None
) -> tuple[Tensor, Tensor]:
    """An MD step of molgeo's model: (1, 1) energy and (atoms, 3) forces.

    Args:
        model: with its published readout.
        system: the atoms.
        graph: the edges, where they are known; else they are found.
    """
    graph = graph or system.graph(model.cutoff)
    pos = system.pos.detach().requires_grad_()
    energy = molecule_sum(model.readout(model.atom_features(system.z, pos, graph)), graph)
    (gradient,) = torch.autograd.grad(energy.sum(), pos)
    return energy.detach(), -gradient


def molecule(source: MoleculeSet, n_atoms: int) -> System:
    """The first molecule of a set that has so many atoms."""
    size = source.ptr.diff()
    row = int((size == n_atoms).nonzero()[0])
    first, last = source.ptr[row : row + 2].tolist()
    return System(f"molecule, {n_atoms}", source.z[first:last].long(), source.pos[first:last])


def chain(n_atoms: int, seed: int = 0) -> System:
    """HO–(CH₂)ₙ–OH, stretched out, with 3n + 4 atoms.

    One length stands for all bonds of the backbone, and all atoms are displaced by some 0.02 Å so
    that nothing is exactly straight: a geometry for timings, not for energies.

    Raises:
        ValueError: no chain has so many atoms.
    """
    n, rest = divmod(n_atoms - 4, 3)
    if rest or n < 1:
        raise ValueError(f"n_atoms: expected 3n + 4 with n ≥ 1, got {n_atoms}")
    bond, angle = 1.53, math.radians(111.0)
    number = torch.arange(n + 4)  # H, O, n carbon atoms, O, H
    sign = 1.0 - 2.0 * (number % 2)
    backbone = torch.stack(
        [
            number * bond * math.sin(angle / 2),
            sign * 0.5 * bond * math.cos(angle / 2),
            torch.zeros(n + 4),
        ],
        dim=1,
    )
    out = sign[2:-2, None] * torch.tensor([0.0, 0.58, 0.0])
    up = torch.tensor([0.0, 0.0, 0.89])
    pos = torch.cat([backbone, backbone[2:-2] + out + up, backbone[2:-2] + out - up])
    z = torch.tensor([1, 8] + [6] * n + [8, 1] + [1] * 2 * n)
    generator = torch.Generator().manual_seed(seed)
    pos = pos + 0.02 * torch.randn(pos.shape, generator=generator)
    return System(f"molecule, {n_atoms}", z, pos)


def water_box(n_molecules: int, seed: int = 0) -> System:
    """A periodic cube with the density and composition of liquid water, not its structure.

    Molecules stand on a jittered cubic lattice, turned at random: the number of neighbours is what
    a time depends on.
    """
    generator = torch.Generator().manual_seed(seed)
    length = (n_molecules * WATER_VOLUME) ** (1 / 3)
    m = round(n_molecules ** (1 / 3) + 0.499)
    lattice = torch.cartesian_prod(*[torch.arange(float(m))] * 3)[:n_molecules] * (length / m)
    jitter = 0.2 * (torch.rand(n_molecules, 3, generator=generator) - 0.5)
    half = math.radians(104.52 / 2)
    hydrogens = 0.9572 * torch.tensor(
        [[math.sin(half), math.cos(half), 0.0], [-math.sin(half), math.cos(half), 0.0]]
    )
    rotation, _ = torch.linalg.qr(torch.randn(n_molecules, 3, 3, generator=generator))
    water = torch.cat([torch.zeros(1, 3), hydrogens])
    pos = (lattice + jitter).unsqueeze(1) + torch.einsum("ax,mxy->may", water, rotation)
    z = torch.tensor([8, 1, 1]).repeat(n_molecules)
    return System(f"water, {n_molecules}", z, pos.reshape(-1, 3), length * torch.eye(3)[None])
